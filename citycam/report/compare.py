"""Runs beside each other as one table.

The settings in which the runs differ come first; beside each accuracy stand its interval, the majority's accuracy and
the number of pictures, and marks that say what an accuracy does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citycam.files import write_csv, write_text
from citycam.report.runs import RunRow, differing, warnings_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_SIGNS = {
    "balanced_accuracy_reaches_chance": "chance",
    "accuracy_not_above_majority": "≤ majority",
    "split_leaky": "leaky",
    "split_unknown": "leaky?",
}


def comparison_table(rows: Sequence[RunRow]) -> Table:
    """The table at the end of a sweep, for a terminal; runs are numbered from 1 in the order of ``rows``."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    header, lines = _cells(rows)
    numbers = {"#", "majority", "balanced", "n"}
    marked = any(row.marks for row in rows)
    for title in header:
        if title in numbers or title.startswith("accuracy"):
            table.add_column(title, justify="right", no_wrap=True)
        else:
            # With marks, 80 columns hold the numbers only if long names of settings fold.
            narrow = 5 if marked else min(12, len(title))
            if title == "marks":
                title, narrow = (title, 10) if marked else ("", 0)
            table.add_column(title, min_width=narrow, overflow="fold")
    for row, line in zip(rows, lines, strict=True):
        style = {"completed": "yellow" if row.marks else "", "running": "cyan"}.get(row.status, "red")
        table.add_row(*map(Text, line), style=style)
    return table


def summary(rows: Sequence[RunRow]) -> RenderableType:
    """`comparison_table`, below it the errors and the warnings."""
    from rich.console import Group
    from rich.text import Text

    errors = [Text(line, style="red") for line in _error_lines(rows)]
    warnings = [Text(line, style="yellow") for line in _warning_lines(rows)]
    return Group(comparison_table(rows), *errors, *warnings)


def write_comparison(sweep_folder: Path, rows: Sequence[RunRow]) -> None:
    """``comparison.csv`` with every number, and ``comparison.md`` with the table, the errors and the warnings."""
    keys = differing(rows)
    constant = sorted({key for row in rows for key in row.overrides} - set(keys))
    final, best = _columns(row.final for row in rows), _columns(row.best for row in rows)
    header = ["run", *keys, "status", *final, "marks", "split", "leaky", "weights", "seconds"]
    header += [*(f"best_{key}" for key in best), *constant, "warnings", "error", "command"]
    table = []
    for row in rows:
        cells = [row.name, *map(row.overrides.get, keys), row.status, *(_flat(row.final).get(key) for key in final)]
        cells += [" ".join(mark.code for mark in row.marks), row.split.get("kind"), row.leaky, row.weights]
        cells += [row.seconds, *(_flat(row.best).get(key) for key in best), *map(row.overrides.get, constant)]
        cells += [" ".join(mark.code for mark in row.warnings), row.error, row.command]
        table.append(cells)
    write_csv(Path(sweep_folder) / "comparison.csv", header, table)
    write_text(Path(sweep_folder) / "comparison.md", _markdown(rows))


def _cells(rows: Sequence[RunRow]) -> tuple[list[str], list[list[str]]]:
    keys = differing(rows)
    header = ["#", *keys, "accuracy [95 %]", "majority", "balanced", "n", "marks"]
    lines = []
    for number, row in enumerate(rows, 1):
        signs = [_SIGNS[mark.code] for mark in row.marks]
        lines.append(
            [
                str(number),
                *(row.overrides.get(key, "") for key in keys),
                _decimal(row.final.get("val_accuracy")) + _interval(row.final.get("val_accuracy_interval")),
                _decimal(row.final.get("majority_accuracy")),
                _decimal(row.final.get("val_balanced_accuracy")),
                str(row.final.get("n_val", "")),
                ", ".join(signs if row.status == "completed" else [row.status, *signs]),
            ]
        )
    return header, lines


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(value: Sequence[float] | None) -> str:
    return "" if value is None else f" [{value[0]:.2f} {value[1]:.2f}]"


def _error_lines(rows: Sequence[RunRow]) -> list[str]:
    lines = []
    for number, row in enumerate(rows, 1):
        if row.status not in ("completed", "running"):
            again = f" Again: {row.command}" if row.command else ""
            lines.append(f"{number} ({row.name}) {row.status}: {row.error or 'no reason was recorded.'}{again}")
    return lines


def _warning_lines(rows: Sequence[RunRow]) -> list[str]:
    numbers = {row.name: number for number, row in enumerate(rows, 1)}
    # A run that stopped before its split has told nothing, and is no exception from what all others say.
    telling = {row.name for row in rows if row.split or row.warnings}
    lines = []
    for warning in warnings_of(rows):
        where = ", ".join(str(numbers[name]) for name in warning.runs)
        lines.append(warning.sentence if telling <= set(warning.runs) else f"{where}: {warning.sentence}")
    return lines


def _markdown(rows: Sequence[RunRow]) -> str:
    header, lines = _cells(rows)
    header, lines = [*header, "folder"], [[*line, row.name] for line, row in zip(lines, rows, strict=True)]
    table = [header, ["---"] * len(header), *lines]
    text = ["# Comparison", ""]
    text += ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table]
    for title, sentences in (("Not completed", _error_lines(rows)), ("Warnings", _warning_lines(rows))):
        if sentences:
            text += ["", f"## {title}", "", *(f"- {sentence}" for sentence in sentences)]
    return "\n".join(text) + "\n"


def _columns(records: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for record in records for key in _flat(record)))


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, (list, tuple)) and len(value) == 2:
            flat[f"{key}_low"], flat[f"{key}_high"] = value
        elif isinstance(value, (int, float, str)) or value is None:
            flat[key] = value
    return flat
