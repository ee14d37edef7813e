"""Elements that are the same thing again: two detectors that look at the same places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from citycam.study.detectors import Detections

# A detector repeats another one if in so many of its pictures the other one finds something, too, at its best place or
# at most so many cells away: of many like windows each may like another one best.
_SHARE, _APART = 0.5, 1


def repeats(elements: Sequence[int], detections: Detections, own: NDArray[np.bool_]) -> list[int | None]:
    """Return for each element of a city the first one before it that it repeats, itself no repeat; None for others.

    Args:
        elements: of a city, the best first.
        detections: in the training pictures.
        own: which of these are the city's, bool (N,).
    """
    same: list[int | None] = []
    for place, element in enumerate(elements):
        earlier = [one for one, its in zip(elements[:place], same, strict=True) if its is None]
        repeated = (one for one in earlier if _repeats(element, one, detections, own))
        same.append(next(repeated, None))
    return same


def _repeats(element: int, other: int, detections: Detections, own: NDArray[np.bool_]) -> bool:
    its = np.flatnonzero(own & detections.detected[:, element])
    if not len(its):
        return False
    cells = detections.cells[its, other]
    near = ndimage.binary_dilation(cells, np.ones((1, 2 * _APART + 1, 2 * _APART + 1), dtype=bool))
    at_best = near.reshape(len(its), -1)[np.arange(len(its)), detections.places[its, element]]
    return bool(at_best.mean() >= _SHARE)
