"""Runs beside each other as tables: one for each set of runs that may be compared.

The settings in which the runs differ come first; beside each accuracy stand its interval, its rank, the majority's
accuracy and the number of pictures, and marks that say what an accuracy does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citycam.doors import as_called
from citycam.errors import CitycamError
from citycam.files import write_csv, write_text
from citycam.report.ranking import SAME, UNTESTED, Comparable, Entry
from citycam.sweep.runs import RunRow, differing, warnings_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

# What a comparison's folder holds of it.
FILES = ("comparison.md", "comparison.csv", "comparison.html", "curves.png", "overlays.png")
_HEAD = "# Comparison"
# Characters: the narrowest setting, the columns of numbers, and those that are not always there.
_NARROW, _NUMBERS_WIDE, _TEST_WIDE, _SEEDS_WIDE, _MARKS_WIDE = 5, 54, 19, 6, 11
_MOST_WARNINGS = 20
_SIGNS = {
    "balanced_accuracy_reaches_chance": "chance",
    "accuracy_not_above_majority": "≤ majority",
    "split_leaky": "leaky",
    "split_unknown": "leaky?",
}
_OVER_SEEDS = (
    "Where there are several seeds, accuracy is their mean and its interval Student's over seeds: how far chance in "
    "training moves it, not how far other pictures would."
)
_APART = "Runs of different data, classes or split stand apart, since their accuracies cannot be compared."


def comparison_table(comparable: Comparable, width: int = 80) -> Table:
    """One set of comparable runs, for a terminal of ``width`` characters. Settings that find no room are left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    header, lines = _cells(comparable)
    settings, shown = len(comparable.settings), _room(comparable, width)
    marked = any(line[-1] for line in lines)
    for place, title in enumerate(header):
        if 0 < place <= shown:
            # With marks, 80 columns hold the numbers only if long names of settings fold.
            table.add_column(title, min_width=_NARROW if marked else min(12, len(title)), overflow="fold")
        elif title == "marks":
            table.add_column(title if marked else "", min_width=10 if marked else 0, overflow="fold")
        elif not 0 < place <= settings:
            table.add_column(title, justify="left" if title == "rank" else "right", no_wrap=True)
    for entry, line in zip(comparable.entries, lines, strict=True):
        completed = "yellow" if any(row.marks for row in entry.rows) else ""
        style = {"completed": completed, "running": "cyan"}.get(entry.status, "red")
        told = [line[0], *(value.rpartition("/")[2][-24:] for value in line[1 : 1 + shown]), *line[1 + settings :]]
        # A sign at the end of a folded line would be lost.
        table.add_row(*(Text(cell.replace("≤ ", "≤\u00a0")) for cell in told), style=style)
    return table


def _room(comparable: Comparable, width: int) -> int:
    """How many settings have room beside the numbers and marks."""
    wide = _NUMBERS_WIDE + _SEEDS_WIDE * any(len(entry.rows) > 1 for entry in comparable.entries)
    wide += _TEST_WIDE * comparable.tested
    wide += _MARKS_WIDE * any(_marks(entry) for entry in comparable.entries)
    return min(len(comparable.settings), max(1, (width - wide) // (_NARROW + 1)))


def summary(comparables: Sequence[Comparable], width: int = 80) -> RenderableType:
    """A `comparison_table` for each, with what could not be told apart; below them the errors and the warnings."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for comparable in comparables:
        if len(comparables) > 1:
            parts.append(Text(f"\n{comparable.title}", style="bold"))
        parts.append(comparison_table(comparable, width))
        more = comparable.settings[_room(comparable, width) :]
        parts += [Text(f"They differ also in {', '.join(more)} (see comparison.md).")] if more else []
        parts += [Text(line) for line in _rank_lines(comparable)]
    parts += [Text(line) for line in _reading_lines(comparables)]
    parts += [Text(as_called(line), style="red") for line in _error_lines(comparables)]
    warnings = _warning_lines(comparables)
    parts += [Text(line, style="yellow") for line in warnings[:_MOST_WARNINGS]]
    if len(warnings) > _MOST_WARNINGS:
        parts.append(Text(f"{len(warnings) - _MOST_WARNINGS} more warnings are in comparison.md.", style="yellow"))
    return Group(*parts)


def check_folder(folder: Path) -> None:
    """That ``folder`` may take a comparison.

    Raises:
        CitycamError: it is a run's own, or holds files of these names that are no comparison's.
    """
    if (folder / "run.json").exists():
        raise CitycamError(f"{folder} is a run's own folder; give --out FOLDER, another place for the comparison.")
    there = [name for name in FILES if (folder / name).exists()]
    if not there:
        return
    try:
        with (folder / FILES[0]).open(encoding="utf-8") as file:
            ours = file.readline().strip() == _HEAD
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours:
        raise CitycamError(
            f"{folder / there[0]} was not written by a comparison and is not written over; move it away, or write to "
            "another folder with citycam compare DIR --out FOLDER."
        )


def write_comparison(folder: Path, comparables: Sequence[Comparable]) -> None:
    """``comparison.md`` with the tables, the errors and the warnings, and ``comparison.csv``: a row per run with every
    number, and what its row of the table says.

    Raises:
        CitycamError: see `check_folder`, and `citycam.files.write_whole`.
    """
    check_folder(folder)
    write_text(folder / "comparison.md", _markdown(comparables))
    rows = [row for comparable in comparables for row in comparable.rows]
    keys = differing(rows)
    constant = sorted({key for row in rows for key in row.overrides} - set(keys))
    final, best = _columns(row.final for row in rows), _columns(row.record.best for row in rows)
    header = ["run", *keys, "status", *_STANDING, *final, "marks", "split", "leaky", "weights", "seconds"]
    header += [*(f"best_{key}" for key in best), *constant, "warnings", "error", "command"]
    table = []
    for comparable, entry, row in _all(comparables):
        own, at_best = _flat(row.final), _flat(row.record.best)
        cells = [row.name, *map(row.overrides.get, keys), row.status, *_standing(comparable, entry)]
        cells += [
            *map(own.get, final),
            " ".join(mark.code for mark in row.marks),
            row.record.split.kind or None,
            row.leaky,
        ]
        cells += [
            row.record.backbone.weights.origin or None,
            row.record.total_seconds,
            *map(at_best.get, best),
            *map(row.overrides.get, constant),
        ]
        cells += [" ".join(mark.code for mark in row.warnings), row.error, row.record.command]
        table.append(cells)
    write_csv(folder / "comparison.csv", header, table)


_STANDING = ("row", "compared_among", "rank", "p_against_best", "seeds", "row_accuracy", "row_low", "row_high")


def _standing(comparable: Comparable, entry: Entry) -> list[Any]:
    low, high = entry.interval or (None, None)
    rank = entry.rank.removeprefix("≈ ") if entry.rank != SAME else "not told from best"
    seeds = len(entry.counted)
    return [entry.number, comparable.title, rank, entry.p, seeds, entry.mean("val_accuracy"), low, high]


def _all(comparables: Sequence[Comparable]) -> list[tuple[Comparable, Entry, RunRow]]:
    return [
        (comparable, entry, row) for comparable in comparables for entry in comparable.entries for row in entry.rows
    ]


def _cells(comparable: Comparable) -> tuple[list[str], list[list[str]]]:
    ranked, seeds = bool(comparable.ranked), any(len(entry.rows) > 1 for entry in comparable.entries)
    tested = comparable.tested
    header = [
        "#",
        *comparable.settings,
        "accuracy [95 %]",
        *["test [95 %]"] * tested,
        *["rank"] * ranked,
        *["seeds"] * seeds,
    ]
    header += ["majority", "balanced", "n", "marks"]
    lines = []
    for entry in comparable.entries:
        cells = [str(entry.number), *comparable.values(entry)]
        cells.append(_decimal(entry.mean("val_accuracy")) + _interval(entry.interval))
        cells += [_decimal(entry.mean("test_accuracy")) + _interval(entry.interval_of("test"))] * tested
        cells += [*[entry.rank] * ranked, *[str(len(entry.counted))] * seeds]
        cells += [_decimal(entry.mean("majority_accuracy")), _decimal(entry.mean("val_balanced_accuracy"))]
        number = entry.mean("n_val")
        lines.append([*cells, "" if number is None else f"{number:.0f}", _marks(entry)])
    return header, lines


def _marks(entry: Entry) -> str:
    codes = dict.fromkeys(mark.code for row in entry.rows for mark in row.marks)
    states = dict.fromkeys(row.status for row in entry.rows if row.status != "completed")
    return ", ".join([*states, *(_SIGNS[code] for code in codes)])


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(value: Sequence[float] | None) -> str:
    return "" if value is None else f" [{value[0]:.2f} {value[1]:.2f}]"


def _rank_lines(comparable: Comparable) -> list[str]:
    """What the ranks mean here, in a sentence or two."""
    if not comparable.ranked:
        return []
    best = comparable.ranked[0].number
    same = [entry for entry in comparable.ranked if entry.rank == SAME]
    untested = [entry for entry in comparable.ranked if entry.rank == UNTESTED]
    tested = len(comparable.ranked) - len(untested) - 1
    lines = []
    if tested:
        what = (
            f"{_numbers(same)} cannot be told from {best}" if same else f"{best} is above all that it was tested with"
        )
        times = f" after Holm for {tested} tests" if tested > 1 else ""
        lines.append(f"{what} (paired test over {comparable.over}, 5 %{times}).")
    if untested:
        lines.append(
            f"{_numbers(untested)} could not be tested against {best}: predictions.csv is missing or of other pictures."
        )
    return lines


def _reading_lines(comparables: Sequence[Comparable]) -> list[str]:
    lines = [_APART] if len([one for one in comparables if any(entry.counted for entry in one.entries)]) > 1 else []
    if any(len(entry.counted) > 1 for comparable in comparables for entry in comparable.entries):
        lines.append(_OVER_SEEDS)
    return lines


def _numbers(entries: Iterable[Entry]) -> str:
    return _spans([entry.number for entry in entries])


def _spans(numbers: Sequence[int]) -> str:
    """``1, 3-5`` for 1, 3, 4, 5."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    words = [str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans]
    return ", ".join(words)


def _error_lines(comparables: Sequence[Comparable]) -> list[str]:
    lines = []
    for _, entry, row in _all(comparables):
        if row.status not in ("completed", "running"):
            again = f" Again: {row.record.command}" if row.record.command else ""
            log = row.folder / "run.log"
            told = f" Log: {log}." if log.exists() else ""
            reason = row.error or "no reason was recorded."
            lines.append(f"{entry.number} ({row.name}) {row.status}: {reason}{told}{again}")
    return lines


def _warning_lines(comparables: Sequence[Comparable]) -> list[str]:
    everything = _all(comparables)
    numbers = {row.name: entry.number for _, entry, row in everything}
    # A run that stopped before its split has told nothing, and is no exception from what all others say.
    telling = {row.name for _, _, row in everything if row.record.split.kind or row.warnings}
    lines = []
    for warning in warnings_of([row for _, _, row in everything]):
        where = _spans([numbers[name] for name in warning.runs])
        lines.append(warning.sentence if telling <= set(warning.runs) else f"{where}: {warning.sentence}")
    return lines


def _markdown(comparables: Sequence[Comparable]) -> str:
    text = [_HEAD]
    for comparable in comparables:
        header, lines = _cells(comparable)
        names = (", ".join(row.name for row in entry.rows) for entry in comparable.entries)
        table = [[*header, "folder"], ["---"] * (len(header) + 1)]
        table += [[*line, name] for line, name in zip(lines, names, strict=True)]
        text += ["", f"## {comparable.title}"] if len(comparables) > 1 else []
        text += ["", *("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table)]
        text += [part for line in _rank_lines(comparable) for part in ("", line)]
    text += [part for line in _reading_lines(comparables) for part in ("", line)]
    for title, found in (("Not completed", _error_lines(comparables)), ("Warnings", _warning_lines(comparables))):
        if found:
            text += ["", f"## {title}", "", *(f"- {sentence}" for sentence in found)]
    return "\n".join(text) + "\n"


def _columns(records: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for record in records for key in _flat(record)))


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, (list, tuple)):
            flat[f"{key}_low"], flat[f"{key}_high"] = value
        else:
            flat[key] = value
    return flat
