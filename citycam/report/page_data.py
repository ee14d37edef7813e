"""What comparison.html shows, as plain values for JSON, gathered from run folders."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from citycam.files import read_csv
from citycam.report.page_gallery import gather_galleries
from citycam.report.page_maps import gather_maps
from citycam.report.page_thumbs import Thumbs
from citycam.report.runs import RunRow, differing, warnings_of

MANY = 50
_POINTS = 20
_CURVES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
_NUMBERS = {
    "accuracy": "val_accuracy",
    "majority": "majority_accuracy",
    "balanced": "val_balanced_accuracy",
    "loss": "val_loss",
    "n": "n_val",
    "chance": "chance",
}
_PLACES = ("sweep.", "hydra.", "hydra/")


def gather(rows: Sequence[RunRow]) -> dict[str, Any]:
    """Everything on the page: runs in the order of ``rows``, warnings, explained pictures with their maps, galleries.

    Above 50 runs the page holds ten explained pictures, and curves of at most twenty points.
    """
    keys = differing(rows)
    sweeps = [row.folder.resolve().parent.name for row in rows]
    several = len(set(sweeps)) > 1
    thumbs = Thumbs()
    maps = gather_maps(rows, thumbs, few=len(rows) > MANY)
    return {
        "keys": (["sweep"] if several else []) + keys,
        "same": _shared(rows, keys),
        "runs": [
            _run(row, ([sweep] if several else []) + [row.overrides.get(key, "") for key in keys], len(rows) > MANY)
            for row, sweep in zip(rows, sweeps, strict=True)
        ],
        "warnings": _warnings(rows),
        "maps": maps,
        "galleries": gather_galleries(rows, thumbs),
        "thumbs": thumbs.encoded,
        "points": _POINTS if len(rows) > MANY else None,
    }


def _run(row: RunRow, settings: list[str], many: bool) -> dict[str, Any]:
    low, high = _pair(row.final.get("val_accuracy_interval"))
    balanced_low, balanced_high = _pair(row.final.get("val_balanced_accuracy_interval"))
    return {
        "name": row.name,
        "status": row.status,
        "error": None if row.error is None else str(row.error).replace(str(row.folder), row.name),
        "command": row.command,
        "settings": settings,
        **{key: finite(row.final.get(name)) for key, name in _NUMBERS.items()},
        "interval": [low, high],
        "balanced_interval": [balanced_low, balanced_high],
        "over": row.final.get("interval_over"),
        "marks": [mark.code for mark in row.marks],
        "curves": _curves(row.folder, _POINTS if many else None),
    }


def _shared(rows: Sequence[RunRow], keys: Sequence[str]) -> list[list[str]]:
    told = dict.fromkeys(key for row in rows for key in row.overrides if not key.startswith(_PLACES))
    return [[key, next(row.overrides[key] for row in rows if key in row.overrides)] for key in told if key not in keys]


def _warnings(rows: Sequence[RunRow]) -> list[dict[str, Any]]:
    """A group per code: its sentences, each with the positions of its runs."""
    groups: dict[str, dict[str, list[int]]] = {}
    for place, row in enumerate(rows):
        for warning in warnings_of([row]):
            groups.setdefault(str(warning.code), {}).setdefault(str(warning.sentence), []).append(place)
    return [{"code": code, "sentences": [list(pair) for pair in found.items()]} for code, found in groups.items()]


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
