"""The most and least typical pictures of each city and the most confused pairs, for comparison.html.

The most typical ones are right predictions, also where an older run lists wrong ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from citycam.errors import DamagedFile
from citycam.report.page_thumbs import Thumbs
from citycam.sweep.runs import RunRow
from citycam.sweep.stored import PREDICTIONS, read_answers, read_thumbs
from citycam.words import decimal

_PER_CITY, _PER_PAIR, _PAIRS = 4, 4, 6
# Pixels: of a picture that can be enlarged, and on a page of many runs.
_SIDE, _SMALL = 160, 72
_PICTURES, _RUNS = 240, 50
_KINDS = ("typical", "untypical", "confused")


def gather_galleries(rows: Sequence[RunRow], thumbs: Thumbs, *, small: bool = False) -> dict[int, dict[str, Any]]:
    """Return a gallery for each run that has one, by its index in ``rows``.

    The runs with the highest accuracies come first. Runs after the 50th gallery, or after 240 new pictures, have none.

    Returns:
        ``cities``: [name, {typical, untypical: pictures}]. ``pairs``: [words, count, pictures], the most frequent
        first. A picture is [thumbnail, name, own class with its probability in words, predicted class likewise, empty
        where it is right].
    """
    by_accuracy = sorted(range(len(rows)), key=lambda index: -_accuracy(rows[index]))
    galleries: dict[int, dict[str, Any]] = {}
    before = len(thumbs.encoded)
    for index in by_accuracy:
        if len(thumbs.encoded) - before >= _PICTURES or len(galleries) == _RUNS:
            break
        gallery = _gallery(rows[index].folder, thumbs, _SMALL if small else _SIDE)
        if gallery is not None:
            galleries[index] = gallery
    return dict(sorted(galleries.items()))


def _accuracy(row: RunRow) -> float:
    value = row.final.get("val_accuracy")
    return float(value) if isinstance(value, (int, float)) and value == value else -1.0


def _gallery(folder: Path, thumbs: Thumbs, side: int) -> dict[str, Any] | None:
    try:
        listed = [line for line in read_thumbs(folder) if line["kind"] in _KINDS]
        answers = read_answers(folder / PREDICTIONS)
    except (FileNotFoundError, DamagedFile):
        return None
    if not listed:
        return None
    rows = zip(answers.labels, answers.predicted, answers.shares, strict=True)
    known = dict(zip(answers.paths, rows, strict=True))
    cities: dict[str, dict[str, list[list[Any]]]] = {}
    confused: dict[str, list[list[Any]]] = {}
    for line in listed:
        kind, name = line["kind"], line["class"]
        label, predicted, share = known.get(line["picture"], ("", "", ""))
        wrong = label != predicted
        if kind == "confused":
            pictures, most = confused.setdefault(name, []), _PER_PAIR
        else:
            pictures, most = cities.setdefault(name, {"typical": [], "untypical": []})[kind], _PER_CITY
        if len(pictures) < most and not (kind == "typical" and wrong):
            own = _in_words(label or (name if kind != "confused" else ""), line["own_probability"])
            thumb = thumbs.add(line["digest"], [folder], side)
            pictures.append([thumb, line["picture"], own, _in_words(predicted, share) if wrong else ""])
    pairs = _pairs(zip(answers.labels, answers.predicted, strict=True), confused)
    return {"cities": list(cities.items()), "pairs": pairs}


def _pairs(predictions: Iterable[tuple[Any, Any]], confused: dict[str, list[list[Any]]]) -> list[list[Any]]:
    """Return [words, count, pictures] of the most frequent pairs, and of those that have thumbnails."""
    counts = Counter(f"{label} as {predicted}" for label, predicted in predictions if label != predicted)
    names = dict.fromkeys([*(name for name, _ in counts.most_common(_PAIRS)), *confused])
    pairs = [[name, counts[name], confused.get(name, [])] for name in names]
    return sorted(pairs, key=lambda pair: -pair[1])


def _in_words(name: str, probability: str) -> str:
    """Return a class and its probability: ``rome 0.12``."""
    try:
        value = float(probability)
    except ValueError:
        return name
    return f"{name} {decimal(value, 2)}".strip() if 0 <= value <= 1 else name
