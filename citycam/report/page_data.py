"""The content of comparison.html as plain values for JSON, gathered from run folders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citycam.report.page_gallery import gather_galleries
from citycam.report.page_maps import gather_maps
from citycam.report.page_thumbs import Thumbs
from citycam.sweep.runs import RunRow, differing, warnings_of
from citycam.sweep.stored import Columns

if TYPE_CHECKING:
    from citycam.report.ranking import Comparable

MANY = 50
_POINTS, _SENTENCES = 20, 100
_CURVES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
_NUMBERS = {
    "accuracy": "val_accuracy",
    "majority": "majority_accuracy",
    "balanced": "val_balanced_accuracy",
    "loss": "val_loss",
    "n": "n_val",
    "test": "test_accuracy",
    "n_test": "n_test",
}


def gather(rows: Sequence[RunRow], comparables: Sequence[Comparable] = ()) -> dict[str, Any]:
    """Return the content of the page: runs in the order of ``rows``, warnings, explained pictures, maps and galleries.

    With more than 50 runs the page has 10 explained pictures, and curves of at most 20 points.
    """
    keys = differing(rows)
    several = len({row.sweep for row in rows}) > 1
    many = len(rows) > MANY
    standings = _standings(comparables)
    thumbs = Thumbs()
    maps = gather_maps(rows, thumbs, few=many)
    runs = []
    for number, row in enumerate(rows, 1):
        settings = [row.sweep] * several + [row.overrides.get(key, "") for key in keys]
        standing = standings.get(row.folder, {"number": str(number), "rank": "", "among": 0})
        runs.append({**standing, "settings": settings, **_run(row, _POINTS if many else None)})
    return {
        "keys": ["sweep"] * several + keys,
        "same": _shared(rows, keys),
        "runs": runs,
        "sets": [{"title": comparable.title, "over": comparable.over} for comparable in comparables],
        "seeds": _over_seeds(comparables),
        "warnings": _warnings(rows),
        "maps": maps,
        "galleries": gather_galleries(rows, thumbs),
        "thumbs": thumbs.encoded,
        "points": _POINTS if many else None,
    }


def _standings(comparables: Sequence[Comparable]) -> dict[Path, dict[str, Any]]:
    """Return number, rank and set of each run by its folder; ``3.1`` and ``3.2`` are two seeds of entry 3."""
    return {
        row.folder: {
            "number": f"{entry.number}.{seed}" if len(entry.rows) > 1 else str(entry.number),
            "rank": entry.rank,
            "among": among,
        }
        for among, comparable in enumerate(comparables)
        for entry in comparable.entries
        for seed, row in enumerate(entry.rows, 1)
    }


def _over_seeds(comparables: Sequence[Comparable]) -> list[dict[str, Any]]:
    """Return the means of entries with several seeds."""
    return [
        {
            "number": str(entry.number),
            "settings": " · ".join(filter(None, comparable.values(entry))),
            "seeds": len(entry.counted),
            "accuracy": finite(entry.mean("val_accuracy")),
            "interval": list(_pair(entry.interval)),
            "majority": finite(entry.mean("majority_accuracy")),
            "n": finite(entry.mean("n_val")),
            "rank": entry.rank,
        }
        for comparable in comparables
        for entry in comparable.entries
        if len(entry.counted) > 1
    ]


def _run(row: RunRow, points: int | None) -> dict[str, Any]:
    return {
        "name": row.name,
        "status": row.status,
        "error": None if row.error is None else str(row.error).replace(str(row.folder), row.name),
        "command": None if row.status == "completed" else row.record.command,
        **{key: finite(row.final.get(name)) for key, name in _NUMBERS.items()},
        "interval": list(_pair(row.final.get("val_accuracy_interval"))),
        "balanced_interval": list(_pair(row.final.get("val_balanced_accuracy_interval"))),
        "test_interval": list(_pair(row.final.get("test_accuracy_interval"))),
        "over": row.final.get("interval_over"),
        "marks": [mark.code for mark in row.marks],
        "curves": _curves(row.epochs, points),
    }


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
    """Return epochs and the four curves of metrics.csv, thinned evenly to ``points``; None without any epoch."""
    count = len(columns.get("epoch", ()))
    if not count:
        return None
    rows: Sequence[int] = range(count)
    if points is not None and count > points:
        rows = [round(number * (count - 1) / (points - 1)) for number in range(points)]
    none = (None,) * count
    return {name: [finite(columns.get(name, none)[row]) for row in rows] for name in ("epoch", *_CURVES)}


def _pair(value: Any) -> tuple[float | None, float | None]:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return finite(value[0]), finite(value[1])
    return None, None


def finite(value: Any) -> float | int | None:
    """Return ``value`` as a number of four digits, whole numbers unchanged; None if it is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 1e15 else float(f"{number:.4g}")
