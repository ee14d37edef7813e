"""``citycam compare``: runs and sweeps beside each other, at any time, completed or not."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from citycam.sweep.runs import RunRow


def add(commands: Any) -> None:
    """Add ``citycam compare`` to the command line."""
    compare = commands.add_parser(
        "compare",
        help="runs and sweeps beside each other",
        description="Print a table of runs and write it with figures and a page, as the end of a sweep does: "
        "comparison.csv, .md and .html, curves.png and overlays.png. Runs that are unfinished, failed or damaged stay "
        "in it; runs of different data, classes or split are kept apart; differences smaller than their noise are not "
        "ranked.",
    )
    compare.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="a sweep, a run, or a folder of sweeps such as multirun"
    )
    compare.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where the files go; default: DIR, and for a run or several DIR the folder comparison-NAMES beside the "
        "first one",
    )
    compare.set_defaults(run=_compare)


def _compare(given: argparse.Namespace) -> int:
    from rich.console import Console

    from citycam.report.compare import check_folder, summary
    from citycam.report.comparison import write_all
    from citycam.report.ranking import arrange
    from citycam.sweep.runs import read_all

    rows = read_all(given.folders)
    out = given.out or _place(given.folders, rows)
    check_folder(out)
    comparables = arrange(rows)
    console = Console()
    console.print(summary(comparables, console.width))
    print(write_all(out, comparables))
    return 0


def _place(folders: Sequence[Path], rows: Sequence[RunRow]) -> Path:
    """Where the files go without --out: a run's own folder stays as it is."""
    if len(folders) == 1 and rows[0].folder != folders[0]:
        return folders[0]
    names = "-".join(folder.resolve().name for folder in folders)
    return folders[0].resolve().parent / f"comparison-{names[:80]}"
