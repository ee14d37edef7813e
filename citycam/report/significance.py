"""Which models are significantly worse than the best of them, over the same pictures and over seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from citycam import seeds
from citycam.statistics import LEVEL

# Random flips of signs; all flips are taken where there are fewer. The largest number of units that are flipped.
_FLIPS, _UNITS = 4999, 500
_AT_ONCE = 500


def against_best(scores: ArrayLike, groups: Sequence[Hashable] | None = None) -> NDArray[np.float64]:
    """Return a p-value for each model: that it is as good as the best of all, which the same pictures chose.

    It is Fisher's randomisation test with the largest statistic (Westfall & Young 1993; step-down of their algorithm
    2.8): if each group could as well have favoured the others, all differences of its models change their sign
    together. The statistic is the largest difference to the best, in standard errors, and the best is chosen anew under
    each flip, so that among equal models any is called worse with at most the level's probability. Of two models
    without groups this is McNemar's test.

    Args:
        scores: what each picture adds to a model's score (M, N), M at least 2.
        groups: name of the group of each picture (N,), or None for independent pictures.

    Returns:
        (M,), corrected for all M - 1 comparisons; 1 for the best. Random flips come from a fixed seed.
    """
    sums = _units(np.asarray(scores, dtype=np.float64), groups)
    best = int(sums.sum(axis=1).argmax())
    p_values = np.ones(len(sums))
    left, before = np.arange(len(sums)), 0.0
    while len(left) > 1:
        largest, observed = _largest(sums[left], int(np.flatnonzero(left == best)[0]))
        p = np.maximum(before, 1 - np.searchsorted(np.sort(largest), observed - 1e-9) / len(largest))
        p_values[left], worse = p, p < 1 - LEVEL
        if not worse.any():
            break
        left, before = left[~worse], float(p[worse].max())
    p_values[best] = 1.0
    return p_values


def paired(differences: ArrayLike, groups: Sequence[Hashable] | None = None) -> NDArray[np.float64]:
    """Return the two-sided p-value of each row of differences between two things over the same pictures, (P,).

    It is the test of `against_best` for two: how many of the flips of whole groups have as large a sum of differences?
    A picture without a difference is 0, which changes no sum.

    Args:
        differences: (P, N).
        groups: name of the group of each picture (N,), or None for independent pictures.
    """
    sums = _units(np.asarray(differences, dtype=np.float64), groups)
    observed = np.abs(sums.sum(axis=1))
    # Flips in which rounding alone makes a sum smaller count as well.
    least = observed - 1e-9 * np.maximum(np.abs(sums).sum(axis=1), 1e-300)
    flips, as_large = _flips(sums.shape[1]), np.zeros(len(sums))
    for start in range(0, len(flips), _AT_ONCE):
        as_large += (np.abs(flips[start : start + _AT_ONCE] @ sums.T) >= least).sum(axis=0)
    return as_large / len(flips)


def _units(scores: NDArray[np.float64], groups: Sequence[Hashable] | None) -> NDArray[np.float64]:
    """Return the sums of scores (M, U) over groups, or over pictures dealt to at most 500 units.

    Flips of fewer units are fewer, and as valid.
    """
    names = range(scores.shape[1]) if groups is None else groups
    order: dict[Hashable, int] = {}
    numbers = np.array([order.setdefault(name, len(order)) for name in names]) % _UNITS
    return np.stack([np.bincount(numbers, weights=row) for row in scores])


def _largest(sums: NDArray[np.float64], best: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest statistic under each flip (B,), and the observed statistic of each model (M,)."""
    centred = sums - sums.mean(axis=0)
    centred = centred[:, np.abs(centred).max(axis=0) > 1e-12]
    products = centred @ centred.T
    own = np.diag(products)
    errors = np.sqrt(np.maximum(own[:, None] + own[None] - 2 * products, 0))
    # Equal answers everywhere are no difference.
    errors[errors < 1e-9] = math.inf
    totals = centred.sum(axis=1)
    observed = (totals[best] - totals) / errors[best]
    flips = _flips(centred.shape[1])
    largest = np.empty(len(flips))
    for start in range(0, len(flips), _AT_ONCE):
        flipped = flips[start : start + _AT_ONCE] @ centred.T
        top = flipped.argmax(axis=1)
        gaps = (flipped[np.arange(len(top)), top][:, None] - flipped) / errors[top]
        largest[start : start + _AT_ONCE] = gaps.max(axis=1)
    return largest, observed


def _flips(units: int) -> NDArray[np.float64]:
    """Return signs (B, U): all of them, or the observed ones and random ones from a fixed seed."""
    if 2**units <= _FLIPS:
        return np.array(list(itertools.product((1.0, -1.0), repeat=units))).reshape(2**units, units)
    random = seeds.stream(0, "flips").integers(0, 2, (_FLIPS, units)) * 2.0 - 1
    return np.concatenate([np.ones((1, units)), random])


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value of the difference of two means over seeds (Welch 1947, Biometrika 34:28-35).

    Degrees of freedom are rounded down, which makes p larger. Both sides have two or more values.
    """
    from scipy import special

    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    parts = [float(side.var(ddof=1)) / len(side) for side in (one, other)]
    gap, variance = abs(float(one.mean() - other.mean())), sum(parts)
    if variance == 0:
        return 1.0 if gap == 0 else 0.0
    below = sum(part**2 / (len(side) - 1) for part, side in zip(parts, (one, other), strict=True))
    freedom = max(1, int(variance**2 / below))
    return float(2 * special.stdtr(freedom, -gap / math.sqrt(variance)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple tests (Holm 1979, Scand. J. Stat. 6:65-70), in their order."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted
