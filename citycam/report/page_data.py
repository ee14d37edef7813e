"""The content of comparison.html as plain values for JSON, gathered from run folders."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citycam.report.compare import rank_lines
from citycam.report.page_gallery import gather_galleries
from citycam.report.page_maps import gather_maps
from citycam.report.page_scores import gather_scores
from citycam.report.page_thumbs import Thumbs
from citycam.report.ranking import ACCURACY, BALANCED, BEST
from citycam.sweep.runs import RunRow, differing, warnings_of
from citycam.sweep.stored import Columns
from citycam.words import decimal

if TYPE_CHECKING:
    from citycam.report.ranking import Comparable, Entry

MANY = 50
_POINTS, _SENTENCES = 20, 100
_CURVES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
_NUMBERS = {
    "accuracy": "val_accuracy",
    "majority": "majority_accuracy",
    "balanced": "val_balanced_accuracy",
    "loss": "val_loss",
    "n": "n_val",
    "n_test": "n_test",
    "chance": "chance",
}
_INTERVALS = {
    "interval": "val_accuracy_interval",
    "balanced_interval": "val_balanced_accuracy_interval",
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def gather(rows: Sequence[RunRow], comparables: Sequence[Comparable] = ()) -> dict[str, Any]:
    """Return the content of the page: runs in the order of ``rows``, findings, warnings, pictures, maps and galleries.

    Numbers that are read have their text beside them (``shown``), so that no other rounding shows another figure.

    With more than 50 runs the page has 10 explained pictures, and curves of at most 20 points.
    """
    keys = differing(rows)
    several = len({row.sweep for row in rows}) > 1
    many = len(rows) > MANY
    standings = _standings(comparables)
    thumbs = Thumbs()
    galleries = gather_galleries(rows, thumbs, small=many)
    maps = gather_maps(rows, thumbs, few=many)
    runs = []
    for number, row in enumerate(rows, 1):
        settings = [row.sweep] * several + [row.overrides.get(key, "") for key in keys]
        standing = standings.get(row.folder, {"number": str(number), "rank": "", "star": False, "among": 0})
        by = comparables[standing["among"]].measure if comparables else ACCURACY
        runs.append({**standing, "settings": settings, **_run(row, by, _POINTS if many else None)})
    return {
        "keys": ["sweep"] * several + keys,
        "same": _shared(rows, keys),
        "runs": runs,
        "subject": _subject(rows),
        "sets": [_set(comparable) for comparable in comparables],
        "seeds": _over_seeds(comparables),
        "warnings": _warnings(rows),
        "maps": maps,
        "scores": gather_scores(rows),
        "galleries": galleries,
        "thumbs": thumbs.encoded,
        "points": _POINTS if many else None,
    }


def _standings(comparables: Sequence[Comparable]) -> dict[Path, dict[str, Any]]:
    """Return number, rank and set of each run by its folder; ``3.1`` and ``3.2`` are two seeds of entry 3."""
    return {
        row.folder: {
            "number": f"{entry.number}.{seed}" if len(entry.rows) > 1 else str(entry.number),
            "rank": entry.rank,
            "star": entry.rank == BEST and bool(entry.shows_nothing),
            "among": among,
        }
        for among, comparable in enumerate(comparables)
        for entry in comparable.entries
        for seed, row in enumerate(entry.rows, 1)
    }


def _set(comparable: Comparable) -> dict[str, Any]:
    """Return title, measure and findings of a set of comparable runs."""
    first = next((entry for entry in comparable.entries if entry.counted), None)
    lines = [] if first is None else [_finding(comparable, first)]
    return {
        "title": comparable.title,
        "over": comparable.over,
        "measure": comparable.measure,
        "findings": [*lines, *rank_lines(comparable)],
    }


def _finding(comparable: Comparable, entry: Entry) -> str:
    """Return the numbers of the first row in words."""
    words = {ACCURACY: "accuracy", BALANCED: "balanced accuracy"}
    what = f"{words[comparable.measure]} {_with_interval(entry, f'val_{comparable.measure}')}"
    if comparable.measure == BALANCED:
        what += f", accuracy {decimal(entry.mean('val_accuracy'))}"
    known = {"majority": entry.mean("majority_accuracy"), "chance": entry.mean("chance")}
    beside = ", ".join(f"{name} {decimal(value)}" for name, value in known.items() if value is not None)
    label = comparable.label(entry)
    best = f"Best{'*' * bool(entry.shows_nothing)}" if entry.rank else "First"
    return f"{best}: #{entry.number}{f' ({label})' if label else ''}, {what}{f' ({beside})' if beside else ''}."


def _with_interval(entry: Entry, measure: str) -> str:
    return f"{decimal(entry.mean(measure))} {_between(entry.interval_of(measure))}".strip()


def _subject(rows: Sequence[RunRow]) -> dict[str, list[str]]:
    """Return the targets and cities of all runs, and the first and last day on which one started."""
    data = [row.record.data for row in rows]
    days = sorted(match[0] for row in rows if (match := _DATE.match(row.record.started)))
    return {
        "targets": sorted({its.target for its in data if its.target}),
        "cities": sorted({city for its in data for counts in its.counts.values() for city in counts}),
        "days": list(dict.fromkeys([*days[:1], *days[-1:]])),
    }


def _over_seeds(comparables: Sequence[Comparable]) -> list[dict[str, Any]]:
    """Return the means of entries with several seeds."""
    return [
        {
            "number": str(entry.number),
            "settings": " · ".join(filter(None, comparable.values(entry))),
            "seeds": len(entry.counted),
            "accuracy": _with_interval(entry, "val_accuracy"),
            "balanced": _with_interval(entry, "val_balanced_accuracy"),
            "majority": decimal(entry.mean("majority_accuracy")),
            "n": decimal(entry.mean("n_val"), 0),
            "rank": entry.rank,
        }
        for comparable in comparables
        for entry in comparable.entries
        if len(entry.counted) > 1
    ]


def _run(row: RunRow, by: str, points: int | None) -> dict[str, Any]:
    """Return a run of a set that is ranked ``by`` a measure, which is also that of its test part."""
    numbers = _NUMBERS | {"test": f"test_{by}"}
    return {
        "name": row.name,
        "status": row.status,
        "error": None if row.error is None else str(row.error).replace(str(row.folder), row.name),
        "command": None if row.status == "completed" else row.record.command,
        **{key: finite(row.final.get(name)) for key, name in numbers.items()},
        **{key: list(_pair(row.final.get(name))) for key, name in _INTERVALS.items()},
        "shown": _shown(row, numbers, _INTERVALS | {"test_interval": f"test_{by}_interval"}),
        "over": row.final.get("interval_over"),
        "marks": [mark.code for mark in row.marks],
        "curves": _curves(row.epochs, points),
    }


def _shown(row: RunRow, numbers: Mapping[str, str], intervals: Mapping[str, str]) -> dict[str, str]:
    """Return the numbers of a run as they are read, without those that it lacks."""
    texts = {key: _text(row.final.get(name)) for key, name in numbers.items() if key != "chance"}
    texts |= {key: _between(row.final.get(name)) for key, name in intervals.items()}
    return {key: text for key, text in texts.items() if text}


def _shared(rows: Sequence[RunRow], keys: Sequence[str]) -> list[list[str]]:
    """Return settings and values that all runs share: those not in ``keys``."""
    settings = {key: value for row in rows for key, value in row.settings.items()}
    return [[key, value] for key, value in settings.items() if key not in keys]


def _warnings(rows: Sequence[RunRow]) -> list[dict[str, Any]]:
    """Return a group per warning code: the indices of its runs, and its first sentences with theirs."""
    groups: dict[str, dict[str, list[int]]] = {}
    for index, row in enumerate(rows):
        for warning in warnings_of([row]):
            groups.setdefault(str(warning.code), {}).setdefault(str(warning.sentence), []).append(index)
    return [
        {
            "code": code,
            "runs": sorted({index for indices in sentences.values() for index in indices}),
            "sentences": [list(pair) for pair in sentences.items()][:_SENTENCES],
            "more": max(0, len(sentences) - _SENTENCES),
        }
        for code, sentences in groups.items()
    ]


def _curves(columns: Columns, points: int | None) -> dict[str, Any] | None:
    """Return epochs and the four curves of metrics.csv, thinned evenly to ``points``; None without any epoch.

    ``last`` has the last value of each curve in words.
    """
    count = len(columns.get("epoch", ()))
    if not count:
        return None
    rows: Sequence[int] = range(count)
    if points is not None and count > points:
        rows = [round(number * (count - 1) / (points - 1)) for number in range(points)]
    none = (None,) * count
    last = [
        _text(next((value for value in reversed(columns.get(name, none)) if value is not None), None))
        for name in _CURVES
    ]
    return {name: [finite(columns.get(name, none)[row]) for row in rows] for name in ("epoch", *_CURVES)} | {
        "last": last
    }


def _pair(value: Any) -> tuple[float | None, float | None]:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return finite(value[0]), finite(value[1])
    return None, None


def _text(value: Any) -> str:
    """Return a number as it is read: whole ones with commas, others rounded once; empty if it is no finite number."""
    known = finite(value)
    if known is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else decimal(float(value))


def _between(interval: Any) -> str:
    """Return an interval as it is read."""
    if None in _pair(interval):
        return ""
    return f"[{decimal(interval[0], 2)}, {decimal(interval[1], 2)}]"


def finite(value: Any) -> float | int | None:
    """Return ``value`` as a number of four digits, whole numbers unchanged; None if it is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 1e15 else float(f"{number:.4g}")
