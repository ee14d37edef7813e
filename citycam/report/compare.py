"""Runs beside each other as tables: one for each set of comparable runs.

The settings that differ come first. Beside each accuracy are its interval, its rank, the majority class's accuracy, the
number of pictures, and marks for what the accuracy does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citycam.doors import as_called
from citycam.errors import CitycamError
from citycam.files import write_csv, write_text
from citycam.report.ranking import BALANCED, BEST, FEW, SAME, UNTESTED, Comparable, Entry
from citycam.statistics import FEW_GROUPS
from citycam.sweep.runs import RunRow, differing, warnings_of
from citycam.words import decimal

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

# The files of a comparison.
FILES = ("comparison.md", "comparison.csv", "comparison.html", "curves.png", "overlays.png")
_HEAD = "# Comparison"
# Widths in characters: the narrowest setting, the columns that are always shown, and the optional ones.
_NARROW, _NUMBERS_WIDE, _TEST_WIDE, _SEEDS_WIDE, _MARKS_WIDE = 5, 54, 19, 6, 11
_MOST_WARNINGS = 20
_SIGNS = {
    "balanced_accuracy_reaches_chance": "chance",
    "accuracy_not_above_majority": "≤ majority",
    "few_groups": "few walks",
    "split_leaky": "leaky",
    "split_unknown": "leaky?",
}
_OVER_SEEDS = (
    "With several seeds, accuracy is their mean, and its interval covers other seeds (Student's) and other pictures "
    "(the runs' own intervals): their arms are added as squares."
)
_BY_BALANCED = (
    "Ranked by balanced accuracy, since the loss of a run weights its classes: accuracy alone favours runs that answer "
    "the most frequent class."
)
_APART = "Runs with different data, classes or split are in separate tables, since their accuracies cannot be compared."


def comparison_table(comparable: Comparable, width: int = 80) -> Table:
    """Return the table of one set of comparable runs; settings that do not fit in ``width`` characters are left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    header, lines = _cells(comparable)
    settings, shown = len(comparable.settings), _room(comparable, width)
    marked = any(line[-1] for line in lines)
    for column, title in enumerate(header):
        if 0 < column <= shown:
            # With marks, the numbers fit into 80 characters only if long names of settings fold.
            table.add_column(title, min_width=_NARROW if marked else min(12, len(title)), overflow="fold")
        elif title == "marks":
            table.add_column(title if marked else "", min_width=10 if marked else 0, overflow="fold")
        elif not 0 < column <= settings:
            folds = title == "rank" and any(entry.rank == FEW for entry in comparable.entries)
            table.add_column(title, justify="left" if title == "rank" else "right", no_wrap=not folds)
    for entry, line in zip(comparable.entries, lines, strict=True):
        completed = "yellow" if any(row.marks for row in entry.rows) else ""
        style = {"completed": completed, "running": "cyan"}.get(entry.status, "red")
        values = [value.rpartition("/")[2][-24:] for value in line[1 : 1 + shown]]
        # Without the no-break space a line could fold after the sign.
        cells = [Text(cell.replace("≤ ", "≤\u00a0")) for cell in (line[0], *values, *line[1 + settings :])]
        table.add_row(*cells, style=style)
    return table


def _room(comparable: Comparable, width: int) -> int:
    """Return how many settings fit beside the numbers and marks."""
    taken = _NUMBERS_WIDE + _SEEDS_WIDE * any(len(entry.rows) > 1 for entry in comparable.entries)
    taken += _TEST_WIDE * comparable.tested
    taken += _MARKS_WIDE * any(_marks(entry) for entry in comparable.entries)
    return min(len(comparable.settings), max(1, (width - taken) // (_NARROW + 1)))


def summary(comparables: Sequence[Comparable], width: int = 80) -> RenderableType:
    """Return a `comparison_table` for each set and what its ranks mean, then the errors and the warnings."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for comparable in comparables:
        if len(comparables) > 1:
            parts.append(Text(f"\n{comparable.title}", style="bold"))
        parts.append(comparison_table(comparable, width))
        more = comparable.settings[_room(comparable, width) :]
        parts += [Text(f"They also differ in {', '.join(more)} (see comparison.md).")] if more else []
        parts += [Text(line) for line in rank_lines(comparable)]
    parts += [Text(line) for line in _reading_lines(comparables)]
    parts += [Text(as_called(line), style="red") for line in _error_lines(comparables)]
    warnings = _warning_lines(comparables)
    parts += [Text(line, style="yellow") for line in warnings[:_MOST_WARNINGS]]
    if len(warnings) > _MOST_WARNINGS:
        parts.append(Text(f"{len(warnings) - _MOST_WARNINGS} more warnings are in comparison.md.", style="yellow"))
    return Group(*parts)


def check_folder(folder: Path) -> None:
    """Refuse a folder into which a comparison must not be written.

    Raises:
        CitycamError: it is a run's own, or holds files of a comparison's names that another program wrote.
    """
    if (folder / "run.json").exists():
        raise CitycamError(f"{folder} is a run's own folder; give --out FOLDER to write the comparison elsewhere.")
    existing = [name for name in FILES if (folder / name).exists()]
    if not existing:
        return
    try:
        with (folder / FILES[0]).open(encoding="utf-8") as file:
            ours = file.readline().strip() == _HEAD
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours:
        raise CitycamError(
            f"{folder / existing[0]} was not written by a comparison and is not written over; move it away, or write "
            "into another folder with citycam compare DIR --out FOLDER."
        )


def write_comparison(folder: Path, comparables: Sequence[Comparable]) -> None:
    """Write ``comparison.md``, the tables with errors and warnings, and ``comparison.csv``, a row per run.

    Raises:
        CitycamError: see `check_folder`, and `citycam.files.write_whole`.
    """
    check_folder(folder)
    write_text(folder / "comparison.md", _markdown(comparables))
    header, lines = table_of_runs(comparables)
    write_csv(folder / "comparison.csv", header, lines)


def table_of_runs(comparables: Sequence[Comparable]) -> tuple[list[str], list[list[Any]]]:
    """Return the header and the rows of comparison.csv: every number of a run, and those of its row in the table."""
    rows = [row for comparable in comparables for row in comparable.rows]
    keys = differing(rows)
    constant = sorted({key for row in rows for key in row.overrides} - set(keys))
    final, best = _columns(row.final for row in rows), _columns(row.record.best for row in rows)
    header = ["run", *keys, "status", *_STANDING, *final, "marks", "split", "leaky", "weights", "seconds"]
    header += [*(f"best_{key}" for key in best), *constant, "warnings", "error", "command"]
    lines = []
    for comparable, entry, row in _runs(comparables):
        record, last, at_best = row.record, _flat(row.final), _flat(row.record.best)
        line = [row.name, *map(row.overrides.get, keys), row.status, *_standing(comparable, entry)]
        line += [*map(last.get, final), " ".join(mark.code for mark in row.marks), record.split.kind or None, row.leaky]
        line += [record.backbone.weights.origin or None, record.total_seconds]
        line += [*map(at_best.get, best), *map(row.overrides.get, constant)]
        line += [" ".join(mark.code for mark in row.warnings), row.error, record.command]
        lines.append(line)
    return header, lines


_STANDING = (
    "row", "compared_among", "rank", "p_against_best", "seeds", "row_accuracy", "row_low", "row_high",
    "ranked_by", "row_balanced_accuracy", "row_balanced_low", "row_balanced_high",
)  # fmt: skip


def _standing(comparable: Comparable, entry: Entry) -> list[Any]:
    """Return the values of the columns `_STANDING`."""
    rank = entry.rank if entry.rank != SAME else "not told from best"
    standing = [entry.number, comparable.title, rank, entry.p, len(entry.counted), *_numbers_of(entry, "val_accuracy")]
    by = f"val_{comparable.measure}" if entry.rank else None
    return [*standing, by, *_numbers_of(entry, f"val_{BALANCED}")]


def _numbers_of(entry: Entry, measure: str) -> list[float | None]:
    """Return the mean of a measure over seeds, and its interval."""
    return [entry.mean(measure), *(entry.interval_of(measure) or (None, None))]


def _runs(comparables: Sequence[Comparable]) -> list[tuple[Comparable, Entry, RunRow]]:
    """Return every run with its comparable and its entry."""
    return [
        (comparable, entry, row) for comparable in comparables for entry in comparable.entries for row in entry.rows
    ]


def _cells(comparable: Comparable) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table; optional columns are left out where they would be empty.

    The measure that ranks the rows comes first, with its interval.
    """
    ranked, seeds = bool(comparable.ranked), any(len(entry.rows) > 1 for entry in comparable.entries)
    tested = comparable.tested
    by_balanced = comparable.measure == BALANCED
    first, other = ("balanced", "accuracy") if by_balanced else ("accuracy", "balanced")
    by, beside = ("balanced_accuracy", "accuracy") if by_balanced else ("accuracy", "balanced_accuracy")
    header = ["#", *comparable.settings, f"{first} [95 %]", *["test [95 %]"] * tested]
    header += [*["rank"] * ranked, *["seeds"] * seeds, "majority", other, "n", "marks"]
    lines = []
    for entry in comparable.entries:
        cells = [str(entry.number), *comparable.values(entry), _with_interval(entry, f"val_{by}")]
        cells += [_with_interval(entry, f"test_{by}")] * tested
        cells += [*[_rank(entry)] * ranked, *[str(len(entry.counted))] * seeds]
        cells += [decimal(entry.mean("majority_accuracy")), decimal(entry.mean(f"val_{beside}"))]
        lines.append([*cells, decimal(entry.mean("n_val"), 0), _marks(entry)])
    return header, lines


def _with_interval(entry: Entry, measure: str) -> str:
    interval = entry.interval_of(measure)
    bounds = "" if interval is None else f" [{decimal(interval[0], 2)} {decimal(interval[1], 2)}]"
    return decimal(entry.mean(measure)) + bounds


def _rank(entry: Entry) -> str:
    """Return a rank in a table: the best has a star where its accuracy shows nothing."""
    return f"{entry.rank}*" if entry.rank == BEST and entry.shows_nothing else entry.rank


def _marks(entry: Entry) -> str:
    codes = dict.fromkeys(mark.code for row in entry.rows for mark in row.marks)
    states = dict.fromkeys(row.status for row in entry.rows if row.status != "completed")
    return ", ".join([*states, *(_SIGNS[code] for code in codes)])


def rank_lines(comparable: Comparable) -> list[str]:
    """Return sentences that say what the ranks of a table mean."""
    if not comparable.ranked:
        return []
    best = comparable.ranked[0]
    same, untested, few = (
        [entry for entry in comparable.ranked if entry.rank == rank] for rank in (SAME, UNTESTED, FEW)
    )
    tested = len(comparable.ranked) - len(untested) - len(few) - 1
    lines = [_BY_BALANCED] if comparable.measure == BALANCED else []
    if tested:
        what = f"{best.number} is significantly above every row tested against it"
        if same:
            verb = "is" if len(same) == 1 else "are"
            what = f"{_numbers(same)} {verb} not significantly different from {best.number}"
        correction = f", corrected for {tested} tests and for choosing the best" if tested > 1 else ""
        lines.append(f"{what} (paired test over {comparable.over}, level 5 %{correction}).")
    if few:
        lines.append(
            f"Too few walks to tell {_numbers(few)} from {best.number} over {comparable.over}: that takes {FEW_GROUPS} "
            "groups of equal size, or more of unequal ones."
        )
    if untested:
        reason = "predictions.csv is missing, damaged or of other pictures, or no split.csv can be read"
        lines.append(f"{_numbers(untested)} could not be tested against {best.number}: {reason}.")
    if best.shows_nothing:
        lines.append(f"* {best.number} is the best of these rows, and no more: {' '.join(best.shows_nothing)}")
    return lines


def _reading_lines(comparables: Sequence[Comparable]) -> list[str]:
    """Return sentences about reading the tables."""
    with_numbers = sum(any(entry.counted for entry in comparable.entries) for comparable in comparables)
    lines = [_APART] if with_numbers > 1 else []
    if any(len(entry.counted) > 1 for comparable in comparables for entry in comparable.entries):
        lines.append(_OVER_SEEDS)
    return lines


def _numbers(entries: Iterable[Entry]) -> str:
    return _spans([entry.number for entry in entries])


def _spans(numbers: Sequence[int]) -> str:
    """Return ``1, 3-5`` for 1, 3, 4, 5."""
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
    for _, entry, row in _runs(comparables):
        if row.status not in ("completed", "running"):
            reason = row.error or "no reason was recorded."
            log = row.folder / "run.log"
            where = f" Log: {log}." if log.exists() else ""
            again = f" Again: {row.record.command}" if row.record.command else ""
            lines.append(f"{entry.number} ({row.name}) {row.status}: {reason}{where}{again}")
    return lines


def _warning_lines(comparables: Sequence[Comparable]) -> list[str]:
    """Return each warning once, after the numbers of its rows unless it holds for all."""
    runs = _runs(comparables)
    numbers = {row.name: entry.number for _, entry, row in runs}
    # A run that stopped before its split could not warn, so it does not count here.
    able = {row.name for _, _, row in runs if row.record.split.kind or row.warnings}
    lines = []
    for warning in warnings_of([row for _, _, row in runs]):
        where = _spans([numbers[name] for name in warning.runs])
        lines.append(warning.sentence if able <= set(warning.runs) else f"{where}: {warning.sentence}")
    return lines


def _markdown(comparables: Sequence[Comparable]) -> str:
    text = [_HEAD]
    for comparable in comparables:
        header, lines = _cells(comparable)
        names = (", ".join(row.name for row in entry.rows) for entry in comparable.entries)
        table = [[*header, "folder"], ["---"] * (len(header) + 1)]
        rows = ([*line, name] for line, name in zip(lines, names, strict=True))
        table += [[" ".join(cell.splitlines()) for cell in row] for row in rows]
        text += ["", f"## {comparable.title}"] if len(comparables) > 1 else []
        text += ["", *("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table)]
        text += [part for line in rank_lines(comparable) for part in ("", line)]
    text += [part for line in _reading_lines(comparables) for part in ("", line)]
    for title, sentences in (("Not completed", _error_lines(comparables)), ("Warnings", _warning_lines(comparables))):
        if sentences:
            text += ["", f"## {title}", "", *(f"- {sentence}" for sentence in sentences)]
    return "\n".join(text) + "\n"


def _columns(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the flat keys of all records in order of appearance."""
    return list(dict.fromkeys(key for record in records for key in _flat(record)))


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``record`` with each interval as two numbers."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, (list, tuple)):
            flat[f"{key}_low"], flat[f"{key}_high"] = value
        else:
            flat[key] = value
    return flat
