"""``citycam study``: the elements by which a trained network tells each city."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from citycam.errors import CitycamError
from citycam.files import at_home, check_writable
from citycam.report.elements import DISTINCTIVE, FOLDER, NEITHER, City, Element, Study
from citycam.report.names import named, read_names
from citycam.report.page import write_page
from citycam.study_config import read_settings
from citycam.words import counted, decimal, say, text_table

if TYPE_CHECKING:
    from citycam.inference.runs import TrainedRun

_WHAT = """Find the things by which a network tells each city: where its maps point in training pictures, grouped by
what looks alike, and tested on validation walks that had no part in it: how often they occur here and elsewhere, and
what the network loses where they are blurred. No file of a run is changed."""
_EXAMPLES = """examples:
  citycam study multirun/NAME                          the best run of a sweep with partition=multi
  citycam study multirun/NAME/RUN study.pictures=100   at most 100 pictures of each city in each part
  citycam study multirun/NAME/RUN data.root=PHOTOS     where its pictures were moved

Give names to elements in the study's names.csv, and run the same command again: maps are kept.

settings: study.pictures=200  study.seed=0
exit codes: 0 done, 2 the request is wrong, 130 Ctrl-C"""
# Rows of a city on the terminal.
_SHOWN = 5


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
    trained = _best(at_home(places[0]))
    from citycam.study.run import study
    from citycam.study.subject import make_subject
    from citycam.study.write import check_output, write_files

    folder = given.output or trained.folder.parent / FOLDER / trained.folder.name
    check_output(folder)
    check_writable(folder.parent)
    root = at_home(moved[0].partition("=")[2].strip("'\"")) if moved else None
    names = read_names(folder)
    subject = make_subject(trained, settings, root)
    done = named(study(subject, command=shlex.join(["citycam", "study", *arguments])), names)
    write_files(folder, done, subject)
    _print(done, folder)
    if given.output is None:
        _link(trained.folder.parent)
    return 0


def _best(place: Path) -> TrainedRun:
    """Return the run that a place names; of a sweep the one with the best balanced accuracy of all with a logit for
    each city.

    Raises:
        CitycamError: it holds no completed run of that kind.
    """
    from citycam.inference.runs import find_runs

    runs = find_runs(place)
    multi = [one for one in runs if one.config.partition.name == "multi"]
    if not multi:
        raise CitycamError(
            f"{place} holds no completed run with partition=multi, and a study needs a logit for each city; train one."
        )
    best = max(multi, key=lambda one: float(one.record.final.get("val_balanced_accuracy") or 0.0))
    if len(runs) > 1:
        say(f"study of {best.folder.name}, the best of {len(multi)} runs with partition=multi")
    return best


def _link(sweep: Path) -> None:
    """Write the page of the sweep's comparison again, if there is one, since it links to studies.

    Raises:
        CitycamError: the comparison is not ours, or cannot be written.
    """
    from citycam.report.compare import check_folder
    from citycam.report.comparison import PAGE
    from citycam.report.ranking import arrange
    from citycam.sweep.runs import read_all

    if (sweep / PAGE).is_file():
        check_folder(sweep)
        comparables = arrange(read_all([sweep]))
        write_page(sweep / PAGE, [row for comparable in comparables for row in comparable.rows], comparables)
        say(f"{sweep / PAGE} links to it")


def _print(study: Study, folder: Path) -> None:
    for sentence in study.suspicious:
        print(f"suspicious: {sentence}")
    for note in study.notes:
        say(f"note: {note}")
    for city in study.cities:
        print(_heading(city, study))
        for note in city.notes:
            print(f"  {note}")
        shown = [element for element in city.elements if element.verdict != NEITHER][:_SHOWN]
        if shown:
            print("\n".join(f"  {line}" for line in text_table([_HEAD, *map(_row, shown)])))
        else:
            print("  Nothing that could be tested tells it from the others.")
    count = sum(element.verdict == DISTINCTIVE for element in study.elements)
    print(f"{count} distinctive elements in {len(study.cities)} cities: {folder}")


_HEAD = [
    *("element", "verdict", "here", "elsewhere", "q", "costs more than", "the network loses", "shared with"),
    *("label", "suspicious"),
]


def _heading(city: City, study: Study) -> str:
    tested = f"{counted(city.testing, 'picture')}{study.of_walks(city.walks)}"
    return f"{city.name}: {decimal(city.recall.value, 2)} of {tested} told right"


def _row(element: Element) -> list[str]:
    lost = element.loss
    interval = f" [{decimal(lost.low, 1)}, {decimal(lost.high, 1)}]" if lost.low is not None else ""
    label = f"{element.label} {decimal(element.label_share, 2)}" if element.label else ""
    above = element.superiority.value
    return [
        f"{element.number} {element.name}" if element.name else str(element.number),
        element.verdict,
        decimal(element.here.value, 2),
        decimal(element.elsewhere.value, 2),
        decimal(element.q, 4),
        "–" if above is None else f"{100 * above:.0f} % of places",
        f"{decimal(lost.value, 1)}{interval}",
        ", ".join(element.shared_with),
        label,
        " ".join(element.suspicious),
    ]
