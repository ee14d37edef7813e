"""Scores that read maps alone: how concentrated they are, and how alike two maps of a picture are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from citycam.explain.scores.registry import HIGHER, LOWER, score
from citycam.explain.scores.subject import Drawn, Subject

Array = NDArray[np.floating]


@score(
    "sparseness",
    "concentration (Gini)",
    better=HIGHER,
    needs="maps",
    hides="A map may be concentrated on the wrong thing.",
)
def sparseness(_subject: Subject, drawn: Drawn) -> Array:
    """The Gini index (N,) of the positive part of each map (Hurley and Rickard 2009, eq. 14): 0 where all cells are
    equal, and nearly 1 where one cell has everything."""
    values = np.sort(np.maximum(drawn.maps.astype(np.float64), 0).reshape(len(drawn.maps), -1), axis=1)
    cells = values.shape[1]
    total = values.sum(axis=1)
    weights = (cells - np.arange(cells) - 0.5) / cells
    weighted = values @ weights
    return np.where(total > 0, 1 - 2 * np.divide(weighted, total, out=np.zeros_like(total), where=total > 0), np.nan)


@score(
    "contrast",
    "likeness to the runner-up's map",
    better=LOWER,
    needs="rivals",
    hides="Maps of two classes may differ without either being right; noise differs most.",
)
def contrast(_subject: Subject, drawn: Drawn) -> Array:
    """The rank correlation (N,) over cells of the map of the class with that of the runner-up."""
    if drawn.rivals is None:
        return np.full(len(drawn.maps), np.nan)
    return rank_correlation(drawn.maps, drawn.rivals)


@score(
    "stability",
    "likeness to maps of noisy copies",
    better=HIGHER,
    needs="copies",
    hides="A map that is the same for all pictures is perfectly stable.",
)
def stability(_subject: Subject, drawn: Drawn) -> Array:
    """The rank correlation (N,) over cells of each map with those of noisy copies of its picture, mean over copies."""
    if drawn.copies is None:
        return np.full(len(drawn.maps), np.nan)
    mean: Array = np.mean([rank_correlation(drawn.maps, copy) for copy in drawn.copies], axis=0)
    return mean


def rank_correlation(maps: Array, others: Array) -> Array:
    """Return Spearman's correlation over cells of pairs of maps (N, h, w), equal cells sharing their mean rank, (N,);
    NaN where one of the two is constant or not finite."""
    first, second = (np.asarray(one, dtype=np.float64).reshape(len(one), -1) for one in (maps, others))
    finite = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    result = np.full(len(maps), np.nan)
    if finite.any():
        ranked = (stats.rankdata(one[finite], axis=1) for one in (first, second))
        result[finite] = correlation(*ranked)
    return result


def correlation(first: Array, second: Array) -> Array:
    """Return Pearson's correlation of the rows of two matrices (N, P), float64 (N,); NaN where a row is constant."""
    one, other = (_directions(np.asarray(matrix, dtype=np.float64)) for matrix in (first, second))
    result: Array = np.clip((one * other).sum(axis=1), -1, 1)
    return result


def _directions(matrix: Array) -> Array:
    """Return the rows less their means, of length 1; NaN for a row that is constant up to rounding."""
    # Scaled first: squares of tiny values would vanish.
    scale = np.abs(matrix).max(axis=1, keepdims=True)
    scaled = np.divide(matrix, scale, out=np.zeros_like(matrix), where=scale > 0)
    centred = scaled - scaled.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    known = length > 1e-12 * matrix.shape[1] ** 0.5
    directions: Array = np.divide(centred, length, out=np.full_like(centred, np.nan), where=known)
    return directions
