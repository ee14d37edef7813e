"""The end of a request: a table of its runs, every failure with the command that repeats it, and the exit code."""

from __future__ import annotations

import sys

from rich.console import Console

from citycam.gate import Request
from citycam.report.compare import summary, write_comparison
from citycam.report.runs import read_runs
from citycam.sweep.ledger import Ledger, job_row


def conclude(request: Request) -> int:
    """Print the table, write the sweep's comparison and ledger; 0 where every job of the request is done, else 1."""
    Ledger(request.sweep_folder).write()
    everything = read_runs(request.sweep_folder)
    write_comparison(request.sweep_folder, everything)
    folders = {job.folder for job in request.jobs}
    Console().print(summary([row for row in everything if row.folder in folders]))
    states = [job_row(job.folder, job.hash, job.overrides) for job in request.jobs]
    for job, found in zip(request.jobs, states, strict=True):
        if found.state == "missing":
            print(f"citycam: {job.folder.name} never started; the same command trains it.", file=sys.stderr)
    return 0 if all(found.state == "done" for found in states) else 1
