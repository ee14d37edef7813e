"""The highest cells of maps: where the network's evidence for a city lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of a picture. Of toytown's, nearly all of the first two lie on a planted thing, of four not (issue of elements).
MOST = 3
# Cells around a peak in which there is no other.
_APART = 2


@dataclass(frozen=True)
class Peaks:
    """P peaks of maps of N pictures: ``picture`` int (P,), ``row`` and ``column`` int (P,), cells of the map."""

    picture: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.picture)


def find_peaks(maps: NDArray[np.floating]) -> Peaks:
    """Return at most `MOST` peaks of each map (N, h, w), the highest first: cells above 0 that are the highest within
    two cells of what is left. A map that is nowhere positive, or not finite, has none."""
    peaks: list[tuple[int, int, int]] = []
    for number, one in enumerate(maps):
        left = np.where(np.isfinite(one).all(), one, -1).astype(np.float64)
        for _ in range(MOST):
            row, column = (int(place) for place in np.unravel_index(left.argmax(), left.shape))
            if left[row, column] <= 0:
                break
            peaks.append((number, row, column))
            left[max(0, row - _APART) : row + _APART + 1, max(0, column - _APART) : column + _APART + 1] = -1
    columns = np.array(peaks, dtype=np.int64).reshape(-1, 3).T
    return Peaks(*columns)
