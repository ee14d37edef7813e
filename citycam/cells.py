"""The cells of a map: where in a picture each of them looks."""

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
