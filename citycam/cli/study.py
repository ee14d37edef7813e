"""``citycam study``: the elements by which a trained network tells each city."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from citycam.errors import CitycamError
from citycam.files import at_home
from citycam.report.elements import FOLDER
from citycam.report.study_text import study_text
from citycam.study_config import read_settings
from citycam.words import counted, say

_WHAT = """Find the things by which a network tells each city: where its maps point in training pictures, grouped by
what looks alike, and tested on validation walks that had no part in it: how often they occur here and elsewhere, and
what the network loses where they are blurred. No file of a run is changed."""
_EXAMPLES = """examples:
  citycam study multirun/NAME                          the best run of a sweep with partition=multi
  citycam study multirun/NAME/RUN study.pictures=100   at most 100 pictures of each city in each part
  citycam study multirun/NAME/RUN data.root=PHOTOS     where its pictures were moved
  citycam study multirun/NAME/RUN study.labels=LABELS  label maps (PNG, classes.txt) say what elements are
  python train.py -m seed=0,1,2 study=default          a study of the best run when a sweep has ended

Give names to elements in the study's names.csv, and run the same command again: maps are kept.

settings: study.pictures=200  study.seed=0  study.labels=FOLDER
exit codes: 0 done, 2 the request is wrong, 130 Ctrl-C"""


def run(arguments: Sequence[str]) -> int:
    """Study a run by a command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="citycam study",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=_WHAT,
        epilog=_EXAMPLES,
    )
    parser.add_argument("what", nargs="+", metavar="RUN | SWEEP | SETTING=VALUE", help="a trained run, and settings")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help=f"where the results go; default: {FOLDER}/RUN beside the run"
    )
    given = parser.parse_intermixed_args(list(arguments))
    places = [word for word in given.what if "=" not in word]
    moved = [word for word in given.what if word.startswith("data.root=")]
    settings = read_settings([word for word in given.what if "=" in word and word not in moved])
    if len(places) != 1:
        raise CitycamError(f"study takes one run or sweep, and {len(places)} were given; see citycam study --help.")
    if len(moved) > 1:
        raise CitycamError("data.root was given twice; give it once.")
    from citycam.inference.runs import find_runs
    from citycam.study.studies import able, folder_of, link, make_study

    place = at_home(places[0])
    runs = able(find_runs(place), place)
    trained = runs[0]
    if len(runs) > 1:
        say(f"study of {trained.folder.name}, the best of {counted(len(runs), 'run')} with partition=multi")
    folder = given.output or folder_of(trained)
    root = at_home(moved[0].partition("=")[2].strip("'\"")) if moved else None
    command = shlex.join(["citycam", "study", *arguments])
    done = make_study(trained, settings, folder, command=command, moved_to=root)
    print(study_text(done, folder))
    if given.output is None:
        link(trained.folder.parent)
    return 0
