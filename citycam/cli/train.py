"""``citycam train``, and train.py: one run, or a sweep with -m, and its study."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from citycam.doors import door
from citycam.errors import CitycamError
from citycam.jobs.launch import answer, launch
from citycam.report.study_text import study_text
from citycam.study_config import StudyRuns
from citycam.sweep.gate import Request, read_request
from citycam.sweep.ledger import job_row
from citycam.words import say


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
    code = summary.conclude(request)
    return max(code, _study(request))


def _study(request: Request) -> int:
    """Study the runs that the settings of the sweep ask for; return 1 if one of them cannot be studied, else 0."""
    settings = request.jobs[-1].config.study
    done = [job.folder for job in request.jobs if job_row(job.folder, job.hash, job.overrides).state == "done"]
    if settings.runs is StudyRuns.none or not done:
        return 0
    from citycam.inference.runs import find_runs
    from citycam.study.studies import able, folder_of, link, make_study

    try:
        runs = able([run for folder in done for run in find_runs(folder)], request.sweep_folder)
        for trained in runs if settings.runs is StudyRuns.each else runs[:1]:
            say(f"study of {trained.folder.name}")
            folder = folder_of(trained)
            print(study_text(make_study(trained, settings, folder, command=request.commands[-1].line), folder))
            link(request.sweep_folder)
    except CitycamError as error:
        say(f"citycam: no study: {error}")
        return 1
    return 0


@door
def main() -> int:
    """Train by the command line of train.py; returns the exit code."""
    return run(sys.argv[1:])
