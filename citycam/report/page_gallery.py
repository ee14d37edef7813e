"""The most and least typical pictures of each city and the most confused pairs, for comparison.html."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from citycam.files import read_csv
from citycam.report.page_thumbs import Thumbs
from citycam.sweep.runs import RunRow

_PER_CITY, _PER_PAIR, _PAIRS = 4, 4, 6
_SIDE = 72
_PICTURES, _RUNS = 240, 50
_KINDS = ("typical", "untypical", "confused")


def gather_galleries(rows: Sequence[RunRow], thumbs: Thumbs) -> dict[int, dict[str, Any]]:
    """A gallery for each run that has one, by its position in ``rows``.

    ``cities`` are [name, {typical, untypical: pictures}], ``pairs`` are [words, how often, pictures], the most
    frequent first. A picture is [thumbnail, name, probability of its own class, what it was taken for or None where it
    was right]. The runs with the highest accuracies come first; after 50 of them, or when they have brought 240 new
    pictures, the others have no gallery.
    """
    ranked = sorted(range(len(rows)), key=lambda place: -_accuracy(rows[place]))
    found: dict[int, dict[str, Any]] = {}
    begun = len(thumbs.encoded)
    for place in ranked:
        if len(thumbs.encoded) - begun >= _PICTURES or len(found) == _RUNS:
            break
        gallery = _gallery(rows[place].folder, thumbs)
        if gallery is not None:
            found[place] = gallery
    return dict(sorted(found.items()))


def _accuracy(row: RunRow) -> float:
    value = row.final.get("val_accuracy")
    return float(value) if isinstance(value, (int, float)) and value == value else -1.0


def _gallery(folder: Path, thumbs: Thumbs) -> dict[str, Any] | None:
    index = [line for line in _table(folder / "thumbs" / "index.csv") if line.get("kind") in _KINDS]
    if not index:
        return None
    answers = _table(folder / "predictions.csv")
    taken = {line.get("path"): (line.get("label"), line.get("predicted")) for line in answers}
    cities: dict[str, dict[str, list[list[Any]]]] = {}
    confused: dict[str, list[list[Any]]] = {}
    for line in index:
        kind, name = line["kind"], line.get("class") or ""
        if kind == "confused":
            into, most = confused.setdefault(name, []), _PER_PAIR
        else:
            into, most = cities.setdefault(name, {"typical": [], "untypical": []})[kind], _PER_CITY
        if len(into) < most:
            into.append(_picture(folder, line, taken, thumbs))
    return {"cities": list(cities.items()), "pairs": _pairs(taken.values(), confused)}


def _pairs(taken: Iterable[tuple[Any, Any]], confused: dict[str, list[list[Any]]]) -> list[list[Any]]:
    """[words, how often, pictures] of the pairs that happened most, and of those that there are pictures of."""
    counts = Counter(f"{label} as {predicted}" for label, predicted in taken if label != predicted)
    names = dict.fromkeys([*(name for name, _ in counts.most_common(_PAIRS)), *confused])
    pairs = [[name, counts[name], confused.get(name, [])] for name in names]
    return sorted(pairs, key=lambda pair: -pair[1])


def _picture(folder: Path, line: dict[str, str], taken: dict[Any, tuple[Any, Any]], thumbs: Thumbs) -> list[Any]:
    label, predicted = taken.get(line.get("picture"), (None, None))
    wrong = predicted if predicted != label else None
    return [
        thumbs.add(line.get("digest") or "", [folder], _SIDE),
        line.get("picture") or "",
        _share(line.get("own_probability")),
        wrong,
    ]


def _share(text: str | None) -> float | None:
    try:
        share = float(text or "")
    except ValueError:
        return None
    return round(share, 3) if 0 <= share <= 1 else None


def _table(path: Path) -> list[dict[str, str]]:
    try:
        return read_csv(path)
    except (OSError, ValueError, csv.Error):
        return []
