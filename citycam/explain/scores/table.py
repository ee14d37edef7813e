"""Scores of all methods and controls: scores.csv, means with intervals, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citycam.explain.scores.controls import DEALT
from citycam.explain.scores.registry import HIGHER, SCORES
from citycam.files import write_csv
from citycam.report.significance import holm, paired
from citycam.statistics import LEVEL, mean_interval

Array = NDArray[np.floating]
# From the name of a method or control and that of a score to a number for each picture (N,), NaN where it has none.
Scores = Mapping[str, Mapping[str, Array]]


def write_scores(path: Path, names: Sequence[str], digests: Sequence[str], scores: Scores) -> None:
    """Write scores.csv: a row (picture, digest, method, a column for each score) for each picture and each method or
    control; a picture without a score has an empty cell.

    Args:
        names, digests: N, of the pictures.
    """
    columns = list(next(iter(scores.values())))
    rows = [
        [name, digest, method, *(_number(its[column][place]) for column in columns)]
        for place, (name, digest) in enumerate(zip(names, digests, strict=True))
        for method, its in scores.items()
    ]
    write_csv(path, ["picture", "digest", "method", *columns], rows)


def summarise(scores: Scores, methods: Sequence[str], groups: Sequence[Hashable] | None) -> dict[str, Any]:
    """Return ``explained.scores`` of run.json: an entry for each method and control, and each score.

    It has ``mean`` with its interval ``low`` and ``high`` over walks, ``n`` pictures of ``groups`` walks, and how many
    are ``excluded``; for a method the names of the methods and controls that it is ``better_than`` and ``worse_than``.

    Args:
        scores: of methods and controls.
        methods: those of them that are methods.
        groups: the walk of each picture (N,), or None where walks are not known.
    """
    means = {name: {score: _mean(values, groups) for score, values in its.items()} for name, its in scores.items()}
    for score in next(iter(scores.values())):
        for (method, other), (p, ahead) in compare(scores, methods, score, groups).items():
            for name, its in ((method, other), (other, method)):
                if p < 1 - LEVEL and name in methods:
                    where = "better_than" if ahead == (name == method) else "worse_than"
                    means[name][score].setdefault(where, []).append(its)
    return means


def compare(
    scores: Scores, methods: Sequence[str], score: str, groups: Sequence[Hashable] | None
) -> dict[tuple[str, str], tuple[float, bool]]:
    """Compare each method with all later ones and all controls over the pictures that both have a score of.

    A method's maps dealt to other pictures are a control for this method alone.

    Returns:
        For each pair the p-value of a paired test, corrected by Holm for all pairs, and whether the first is better.
    """
    controls = [name for name in scores if name not in methods]
    pairs = [
        (method, other)
        for place, method in enumerate(methods)
        for other in [*methods[place + 1 :], *controls]
        if not other.startswith(DEALT) or other == f"{DEALT}{method}"
    ]
    sign = 1 if SCORES[score].better == HIGHER else -1
    differences = np.stack([sign * (scores[method][score] - scores[other][score]) for method, other in pairs])
    known = np.isfinite(differences)
    tested = [bool(row.any()) for row in known]
    differences = np.where(known, differences, 0)
    p_values = iter(holm(paired(differences[tested], groups).tolist()) if any(tested) else [])
    return {
        pair: (next(p_values), bool(row.sum() > 0))
        for pair, row, its in zip(pairs, differences, tested, strict=True)
        if its
    }


def _mean(values: Array, groups: Sequence[Hashable] | None) -> dict[str, Any]:
    known = np.isfinite(values)
    own = None if groups is None else [group for group, its in zip(groups, known, strict=True) if its]
    low, high = mean_interval(values[known], own) if known.any() else (np.nan, np.nan)
    return {
        "mean": _number(values[known].mean()) if known.any() else None,
        "low": _number(low),
        "high": _number(high),
        "n": int(known.sum()),
        "groups": None if own is None else len(set(own)),
        "excluded": int((~known).sum()),
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
