"""The end of a request: tables of its runs, the comparison's files, and the exit code."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from rich.console import Console

from citycam.jobs.job import record_stop
from citycam.report.compare import check_folder, summary
from citycam.report.comparison import write_all
from citycam.report.ranking import arrange
from citycam.sweep.gate import Request
from citycam.sweep.ledger import STATES, Ledger, job_row
from citycam.sweep.recorder import now
from citycam.sweep.runs import read_runs
from citycam.words import counted, say


@contextlib.contextmanager
def summary_on_interrupt(request: Request) -> Iterator[None]:
    """Write the sweep's table, comparison and ledger if Ctrl-C stops the jobs in this context.

    Raises:
        CitycamError: before anything starts, if files of a comparison's names there are not ours.
    """
    check_folder(request.sweep_folder)
    since = now()
    try:
        yield
    except KeyboardInterrupt as stop:
        for job in request.jobs:
            record_stop(job.folder, since, stop)
        if (request.sweep_folder / "sweep.json").exists():
            _write(request)
        raise


def conclude(request: Request) -> int:
    """Print the table, write the comparison and the ledger; return the exit code, 0 if every job is done, else 1."""
    _write(request)
    counts = Counter(job_row(job.folder, job.hash, job.overrides).state for job in request.jobs)
    if set(counts) <= {"done"}:
        return 0
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    say(f"citycam: {counted(len(request.jobs), 'run')}: {states}; the same command resumes what is not done.")
    return 1


def _write(request: Request) -> None:
    folders = {job.folder for job in request.jobs}
    everything = read_runs(request.sweep_folder)
    # Only the runs of this request are printed; the files show the whole sweep.
    console = Console()
    console.print(summary(arrange([row for row in everything if row.folder in folders]), console.width))
    Ledger(request.sweep_folder).write()
    print(write_all(request.sweep_folder, arrange(everything)))
