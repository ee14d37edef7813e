"""Train one run, or a sweep with -m. See python train.py --help."""

from __future__ import annotations

import sys

from citycam.doors import door, leave
from citycam.jobs.launch import launch, run_hydra
from citycam.sweep.gate import read_request


@door
def main() -> int:
    """The light gate, then what the jobs share, then the jobs, then the table; returns the exit code."""
    request = read_request(sys.argv[1:])
    if request is None:
        run_hydra(sys.argv[1:])
        return 0
    from citycam.jobs import prepare, summary

    with summary.summary_on_interrupt(request):
        prepared = prepare.prepare(request)
        if prepared.jobs:
            launch(request.commands, prepared.at_once)
    return summary.conclude(request)


if __name__ == "__main__":
    leave(main())
