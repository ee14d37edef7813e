"""``citycam train``, and train.py: one run, or a sweep with -m."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from citycam.doors import door
from citycam.jobs.launch import answer, launch
from citycam.sweep.gate import read_request


def run(arguments: Sequence[str]) -> int:
    """Pass the light gate, make what the jobs share, run the jobs, and print the table; returns the exit code."""
    request = read_request(arguments)
    if request is None:
        answer(arguments)
        return 0
    from citycam.jobs import prepare, summary

    with summary.summary_on_interrupt(request):
        prepared = prepare.prepare(request)
        if prepared.jobs:
            launch(request.commands, prepared.at_once)
    return summary.conclude(request)


@door
def main() -> int:
    """Train by the command line of train.py; returns the exit code."""
    return run(sys.argv[1:])
