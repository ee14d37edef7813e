"""The cells of a map: where in a picture each of them looks, and how maps of many cells are smoothed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class CellGrid:
    """The centres of a map's cells, as shares of the picture's height and width.

    Attributes:
        rows: centre of each row of cells, from top to bottom, 0 at the upper edge and 1 at the lower.
        columns: centre of each column of cells, from left to right.
    """

    rows: tuple[float, ...]
    columns: tuple[float, ...]

    @classmethod
    def regular(cls, height: int, width: int, *, stride: float, centre: float, side: int) -> CellGrid:
        """Return a grid that reads a view of ``side`` x ``side`` pixels.

        Args:
            height, width: number of cells.
            stride: pixels of the view between neighbouring cells.
            centre: of the first cell, in pixels from the upper and from the left edge.
        """
        rows, columns = (tuple((centre + cell * stride) / side for cell in range(count)) for count in (height, width))
        return cls(rows, columns)

    @classmethod
    def even(cls, height: int, width: int) -> CellGrid:
        """Return a grid whose cells divide the picture evenly, and look at their middles."""
        rows, columns = (tuple((cell + 0.5) / count for cell in range(count)) for count in (height, width))
        return cls(rows, columns)


def nearest(centres: tuple[float, ...], pixels: int) -> NDArray[np.intp]:
    """Return, for each of the ``pixels`` along a side, the cell whose centre is nearest to it, int (pixels,)."""
    known = np.array(centres)
    places = (np.arange(pixels) + 0.5) / pixels
    return np.searchsorted((known[1:] + known[:-1]) / 2, places, side="right").astype(np.intp)


def smoothed(maps: NDArray[np.floating], width: int) -> NDArray[np.floating]:
    """Return maps (..., h, w) blurred by `blur_matrix` along both sides; a ``width`` of 1 leaves them as they are."""
    if width == 1:
        return maps
    rows, columns = (blur_matrix(side, width) for side in maps.shape[-2:])
    result: NDArray[np.floating] = (rows @ maps @ columns.T).astype(maps.dtype)
    return result


def blur_matrix(side: int, width: int) -> NDArray[np.float64]:
    """Return the matrix (side, side) that averages twice over a box of an odd ``width``, with edges repeated.

    Two boxes are nearly a Gaussian, and one matrix product.
    """
    box = np.zeros((side, side))
    for offset in range(-(width // 2), width // 2 + 1):
        box[np.arange(side), np.clip(np.arange(side) + offset, 0, side - 1)] += 1 / width
    return box @ box


def odd(width: float) -> int:
    """Return the odd number >= 1 that is nearest to ``width``."""
    return 2 * max(0, round((width - 1) / 2)) + 1
