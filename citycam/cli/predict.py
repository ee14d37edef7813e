"""``citycam predict``: classify new pictures with a trained run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from citycam.errors import CitycamError
from citycam.files import read_header, write_cells, write_csv
from citycam.words import decimal, printable, say, text_table

if TYPE_CHECKING:
    from citycam.inference.predict import Predictions, Verdict

_SHOWN = 20
_NAMED = 10


def add(commands: Any) -> None:
    """Add ``citycam predict`` to the command line."""
    parser = commands.add_parser(
        "predict",
        help="classify new pictures with a trained run",
        description="Classify a folder of pictures (to any depth) or a single one. A row per picture: path, predicted "
        "class, a probability per class. Where folders below PATH are named like the run's classes, accuracy and "
        "confusion are printed, too. Exit codes: 0 all classified, 1 some pictures could not be read, 2 the "
        "request is wrong.",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder, or a checkpoint in it")
    parser.add_argument("path", type=Path, metavar="PATH", help="a folder of pictures, or one picture")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write the rows here; else they are printed")
    parser.add_argument("--weights", choices=("last", "best"), help="weights of the last (default) or the best epoch")
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    from citycam.inference.runs import find_run

    run = find_run(given.run_folder, given.weights)
    if given.out is not None:
        _check_out(given.out, _header(run.classes))
    from citycam.inference.new_pictures import find_pictures

    files = find_pictures(given.path)
    from citycam.inference.predict import predict, verify

    predictions = predict(run, files)
    words = sys.stderr if given.out is None and not sys.stdout.isatty() else sys.stdout
    _give(predictions, given.out)
    verdict = verify(predictions, run, files)
    if verdict is not None:
        _print_verdict(verdict, predictions.classes, words)
    for warning in files.warnings:
        say(f"note: {warning}")
    _print_unreadable(predictions.unreadable)
    counted = f"{len(predictions.names):,} of {len(files.names):,} pictures classified by {run.folder.name}"
    print(counted + (f": {given.out}" if given.out is not None else ""), file=words)
    return 1 if predictions.unreadable else 0


def _check_out(path: Path, header: Sequence[str]) -> None:
    """Refuse a file that is not a table of predictions of the same classes."""
    try:
        own = read_header(path) == list(header)
    except FileNotFoundError:
        return
    except IsADirectoryError as error:
        raise CitycamError(f"--out {path} is a folder; give a file, for example {path / 'predictions.csv'}.") from error
    except (OSError, ValueError):
        own = False
    if not own:
        raise CitycamError(f"--out {path} holds something else, which is not written over; give another file.")


def _give(predictions: Predictions, out: Path | None) -> None:
    """Write the rows to a file, or print them: as a table on a terminal, else as CSV."""
    from citycam.inference.predict import rows

    if out is not None:
        write_csv(out, _header(predictions.classes), rows(predictions))
    elif sys.stdout.isatty():
        _print_table(predictions)
    else:
        write_cells(sys.stdout, [_header(predictions.classes), *rows(predictions)])


def _print_table(predictions: Predictions) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name, side in (("picture", "left"), ("predicted", "left"), ("probability", "right")):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    answers = zip(predictions.names, predictions.predicted, predictions.probabilities, strict=True)
    for name, number, shares in list(answers)[:_SHOWN]:
        shown = (printable(name), printable(predictions.classes[number]))
        table.add_row(*map(escape, shown), decimal(shares[number]))
    console = Console()
    console.print(table)
    if len(predictions.names) > _SHOWN:
        console.print(f"… and {len(predictions.names) - _SHOWN:,} more; --out FILE.csv writes all, with every class.")


def _print_verdict(verdict: Verdict, classes: Sequence[str], words: TextIO) -> None:
    its = verdict.judgement
    print(f"\nBy the names of the folders ({verdict.note}):", file=words)
    if its is not None:
        print(
            f"accuracy {decimal(its.accuracy)} {_interval(its.accuracy_interval)}, balanced "
            f"{decimal(its.balanced_accuracy)} {_interval(its.balanced_accuracy_interval)}, majority "
            f"{decimal(its.majority_accuracy)}, n = {its.n:,}",
            file=words,
        )
        over = "over walks" if its.clustered else "as if pictures were independent; frames of one walk are not"
        print(f"Intervals: 95 %, {over}.", file=words)
        for mark in its.marks:
            print(f"note: {mark.sentence}", file=words)
    if verdict.trained:
        print(f"Not counted: {verdict.trained:,} pictures that trained this run.", file=words)
    if verdict.unknown:
        print(f"Not counted: {verdict.unknown:,} pictures in no folder of such a name.", file=words)
    if its is not None:
        print("\n" + "\n".join(_confusion(verdict, classes)) + "\n", file=words)


def _confusion(verdict: Verdict, classes: Sequence[str]) -> list[str]:
    """Lines of a table: true classes by row (those that occur), predicted ones by column."""
    table = [["true \\ predicted", *classes]]
    table += [[name, *map(str, row)] for name, row in zip(classes, verdict.confusion.tolist(), strict=True) if any(row)]
    return text_table(table, right=True)


def _print_unreadable(unreadable: dict[str, str]) -> None:
    for name, reason in list(unreadable.items())[:_NAMED]:
        say(f"cannot be read: {name}: {reason}")
    if len(unreadable) > _NAMED:
        say(f"… and {len(unreadable) - _NAMED:,} more that cannot be read")


def _header(classes: Sequence[str]) -> list[str]:
    return ["path", "predicted", *(f"p_{name}" for name in classes)]


def _interval(interval: tuple[float, float]) -> str:
    return f"[{decimal(interval[0])}, {decimal(interval[1])}]"
