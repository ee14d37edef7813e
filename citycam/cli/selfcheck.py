"""``citycam selfcheck``: can maps of this network on these pictures be believed?"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from citycam.errors import CitycamError
from citycam.files import at_home, check_writable
from citycam.report.verdicts import NAME
from citycam.selfcheck.text import print_check
from citycam.sweep.gate import read_request
from citycam.words import say

if TYPE_CHECKING:
    from citycam.selfcheck.subject import Subject

_WHAT = """Plant marks in copies of your pictures, train a head on them, and see which methods' maps find the mark that
the network uses: a cue in 70 % of one city's pictures, and a decoy of equal size in as many of all cities. The body
stays as it is, and no file of a run is changed. A verdict needs 60 held-out pictures of the city."""
_EXAMPLES = """examples:
  citycam selfcheck                                              toytown, and the network that learned it
  citycam selfcheck multirun/NAME/RUN                            the body, settings and pictures of a trained run
  citycam selfcheck multirun/NAME/RUN data.root=PHOTOS           the same, where its pictures were moved
  citycam selfcheck data=folder data.root=PHOTOS data.target=CITY image_size=96
  citycam selfcheck multirun/NAME/RUN --all                      weak marks and a smaller one, too

exit codes: 0 a method of the run finds the planted mark, 1 none does, 2 the request is wrong, 130 Ctrl-C"""


def run(arguments: Sequence[str]) -> int:
    """Check maps by a command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="citycam selfcheck",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=_WHAT,
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="RUN | SETTING=VALUE",
        help="a run's folder, or a checkpoint in it; or settings as for citycam train. Without any: toytown",
    )
    parser.add_argument(
        "--all", action="store_true", help="also weak marks (square, lettering, ring) and a smaller one"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where selfcheck.json and selfcheck.html go; default: a folder selfcheck/BODY beside the run's, or in "
        "multirun, where comparisons look for it",
    )
    given = parser.parse_intermixed_args(list(arguments))
    from citycam.selfcheck.page import write_files
    from citycam.selfcheck.run import selfcheck

    if given.output is not None:
        _check_output(given.output)
    subject = subject_of(given.what)
    folder = given.output or subject.folder
    check_writable(folder)
    outcome = selfcheck(subject, every_mark=given.all, command=shlex.join(["citycam", "selfcheck", *arguments]))
    write_files(folder, outcome)
    print_check(outcome.check, folder)
    return 0 if outcome.check.any_finds else 1


def subject_of(what: Sequence[str]) -> Subject:
    """Return the body that the words name: a run's, or that of settings."""
    from citycam.selfcheck.subject import of_run

    runs = [word for word in what if "=" not in word]
    settings = [word for word in what if "=" in word]
    if not runs:
        return _of_settings(settings)
    moved = [word for word in settings if word.startswith("data.root=")]
    if len(runs) > 1 or len(moved) > 1:
        raise CitycamError(f"selfcheck takes one run, and {' and '.join((runs, moved)[len(runs) < 2][:2])} were given.")
    if settings != moved:
        other = next(word for word in settings if word not in moved)
        raise CitycamError(f"{other} changes the settings of {runs[0]}, which has its own; leave out one of the two.")
    from citycam.inference.runs import find_run

    root = moved[0].partition("=")[2].strip("'\"") if moved else None
    return of_run(find_run(at_home(runs[0])), root)


def _of_settings(settings: Sequence[str]) -> Subject:
    """Return the frozen body of settings."""
    request = read_request([*settings, "sweep.name=selfcheck"])
    if request is None:
        raise CitycamError("A selfcheck takes settings as NAME=VALUE; see citycam selfcheck --help.")
    config = request.jobs[0].config
    from citycam.explain.grid import check_network
    from citycam.jobs.resolve import resolve
    from citycam.selfcheck.planting import enough_held_out
    from citycam.selfcheck.subject import of_settings

    check_network(config)
    config, inputs = enough_held_out(config)
    return of_settings(config, inputs, resolve(config, inputs, say))


def _check_output(folder: Path) -> None:
    """Refuse a folder that holds anything but a result of this command.

    Raises:
        CitycamError: it does.
    """
    if folder.is_file():
        raise CitycamError(f"--output {folder} is a file; give a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / NAME).is_file():
        raise CitycamError(f"--output {folder} holds something else, which is not written over; give another folder.")
