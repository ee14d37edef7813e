"""The end of a request: tables of its runs, the comparison's files, and the exit code."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from citycam.report.compare import check_folder, summary, write_comparison
from citycam.report.page import write_page
from citycam.report.panels import write_panels
from citycam.report.ranking import Comparable, arrange
from citycam.sweep.gate import Request
from citycam.sweep.ledger import STATES, Ledger, job_row
from citycam.sweep.runs import read_runs


@contextlib.contextmanager
def kept_up(request: Request) -> Iterator[None]:
    """Where Ctrl-C stops the jobs, the sweep's table, comparison and ledger tell of what was done until then.

    Raises:
        CitycamError: before anything starts, where the sweep's folder holds other things of a comparison's names.
    """
    check_folder(request.sweep_folder)
    try:
        yield
    except KeyboardInterrupt:
        if (request.sweep_folder / "sweep.json").exists():
            _write(request)
        raise


def conclude(request: Request) -> int:
    """Print the table, write the sweep's comparison and ledger; 0 where every job of the request is done, else 1."""
    _write(request)
    states = [job_row(job.folder, job.hash, job.overrides) for job in request.jobs]
    if all(found.state == "done" for found in states):
        return 0
    counts = Counter(found.state for found in states)
    told = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    print(f"citycam: {len(states)} runs: {told}; the same command goes on with what is not done.", file=sys.stderr)
    return 1


def write_all(folder: Path, comparables: list[Comparable]) -> None:
    """Every file of a comparison: tables, figures and page.

    Raises:
        CitycamError: ``folder`` holds other things of these names, or cannot be written.
    """
    from citycam.report.side_by_side import write_side_by_side

    write_comparison(folder, comparables)
    write_panels(folder / "curves.png", comparables)
    write_side_by_side(folder / "overlays.png", comparables)
    rows = [row for comparable in comparables for row in comparable.rows]
    write_page(folder / "comparison.html", rows, comparables)


def _write(request: Request) -> None:
    folders = {job.folder for job in request.jobs}
    everything = read_runs(request.sweep_folder)
    # What was asked for now is printed; earlier runs of the same sweep stand in its files.
    console = Console()
    console.print(summary(arrange([row for row in everything if row.folder in folders]), console.width))
    Ledger(request.sweep_folder).write()
    write_all(request.sweep_folder, arrange(everything))
