"""What comparison.html shows, as plain values for JSON, gathered from run folders."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citycam.files import read_csv
from citycam.report.page_gallery import gather_galleries
from citycam.report.page_maps import gather_maps
from citycam.report.page_thumbs import Thumbs
from citycam.sweep.runs import RunRow, differing, warnings_of

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
    """Everything on the page: runs in the order of ``rows``, warnings, explained pictures with their maps, galleries.

    Above 50 runs the page holds ten explained pictures, and curves of at most twenty points.
    """
    keys = differing(rows)
    several = len({row.sweep for row in rows}) > 1
    many = len(rows) > MANY
    standings = _standings(comparables)
    thumbs = Thumbs()
    maps = gather_maps(rows, thumbs, few=many)
    runs = []
    for place, row in enumerate(rows, 1):
        settings = [row.sweep] * several + [row.overrides.get(key, "") for key in keys]
        standing = standings.get(row.folder, {"number": str(place), "rank": "", "among": 0})
        runs.append({**standing, "settings": settings, **_run(row, _POINTS if many else None)})
    return {
        "keys": ["sweep"] * several + keys,
        "same": _shared(rows, keys),
        "runs": runs,
        "sets": [{"title": one.title, "over": one.over} for one in comparables],
        "seeds": _over_seeds(comparables),
        "warnings": _warnings(rows),
        "maps": maps,
        "galleries": gather_galleries(rows, thumbs),
        "thumbs": thumbs.encoded,
        "points": _POINTS if many else None,
    }


def _standings(comparables: Sequence[Comparable]) -> dict[Path, dict[str, Any]]:
    """Number, rank and set of comparable runs, by folder; runs of one entry are told apart behind a dot."""
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
    """Means of the entries that hold several seeds."""
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
        "curves": _curves(row.folder, points),
    }


def _shared(rows: Sequence[RunRow], keys: Sequence[str]) -> list[list[str]]:
    told = {key: value for row in rows for key, value in row.settings.items()}
    return [[key, value] for key, value in told.items() if key not in keys]


def _warnings(rows: Sequence[RunRow]) -> list[dict[str, Any]]:
    """A group per code: positions of its runs, and its first sentences, each with those of its own."""
    groups: dict[str, dict[str, list[int]]] = {}
    for place, row in enumerate(rows):
        for warning in warnings_of([row]):
            groups.setdefault(str(warning.code), {}).setdefault(str(warning.sentence), []).append(place)
    return [
        {
            "code": code,
            "runs": sorted({place for places in found.values() for place in places}),
            "sentences": [list(pair) for pair in found.items()][:_SENTENCES],
            "more": max(0, len(found) - _SENTENCES),
        }
        for code, found in groups.items()
    ]


def _curves(folder: Path, points: int | None) -> dict[str, Any] | None:
    """Epochs and the four curves of metrics.csv, evenly thinned to ``points``; None where there are none."""
    try:
        table = read_csv(folder / "metrics.csv")
    except (OSError, ValueError, csv.Error):
        return None
    table = [line for line in table if finite(line.get("epoch")) is not None]
    if points is not None and len(table) > points:
        table = [table[round(place * (len(table) - 1) / (points - 1))] for place in range(points)]
    if not table:
        return None
    return {"epoch": [finite(line["epoch"]) for line in table]} | {
        name: [finite(line.get(name)) for line in table] for name in _CURVES
    }


def _pair(value: Any) -> tuple[float | None, float | None]:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return finite(value[0]), finite(value[1])
    return None, None


def finite(value: Any) -> float | int | None:
    """A number with four digits, whole ones as they are; None where ``value`` is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 1e15 else float(f"{number:.4g}")
