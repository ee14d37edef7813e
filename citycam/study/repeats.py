"""Elements that are the same thing again: two detectors that look at the same places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from citycam.study.detectors import Detections

# A detector repeats another one if of the cells that either finds something in so many are found by both, as the mean
# over its pictures. (In training pictures of toytown two in three pairs of one label reach it, and few of two labels.
# Being near each other parts them worse: a fence is near everything.)
_SHARED = 0.25


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
    cells, others = detections.cells[its, element], detections.cells[its, other]
    both, either = (cells & others).sum(axis=(1, 2)), (cells | others).sum(axis=(1, 2))
    return bool((both / either).mean() >= _SHARED)
