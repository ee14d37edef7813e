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
    code = 0
    for job in request.jobs:
        found = job_row(job.folder, job.hash, job.overrides)
        if found.state != "done":
            code = 1
            print(f"citycam: {job.folder.name} is {found.state}: {found.error or 'it never started'}", file=sys.stderr)
            print(f"  again: python train.py {' '.join(job.overrides)}", file=sys.stderr)
    return code
