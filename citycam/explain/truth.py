"""How well a map shows a place that is known to matter: pointing, energy and the order of pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from citycam.cells import CellGrid, nearest

Array = NDArray[np.floating]


def to_pixels(maps: Array, cells: CellGrid, side: int) -> Array:
    """Return maps (N, h, w) as pixels (N, side, side), each with the value of the cell that looks nearest to it."""
    rows, columns = nearest(cells.rows, side), nearest(cells.columns, side)
    return maps[:, rows[:, None], columns[None, :]]


def highest(maps: Array, cells: CellGrid, side: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the row and the column (N,) of the pixel at which the highest cell of each map (N, h, w) looks, in a
    picture of ``side`` x ``side`` pixels."""
    row, column = np.divmod(maps.reshape(len(maps), -1).argmax(axis=1), maps.shape[2])
    rows, columns = (
        np.clip((np.array(centres)[cell] * side).astype(np.intp), 0, side - 1)
        for centres, cell in ((cells.rows, row), (cells.columns, column))
    )
    return rows, columns


def pointing(maps: Array, cells: CellGrid, masks: NDArray[np.bool_]) -> Array:
    """Return whether the highest cell of each map looks at a pixel of its mask, 0 or 1 (N,); NaN for a map without a
    positive cell (the pointing game of Zhang et al. 2016, without their margin).

    Args:
        maps: (N, h, w).
        masks: (N, S, S), of any size.
    """
    rows, columns = highest(maps, cells, masks.shape[1])
    hits = masks[np.arange(len(maps)), rows, columns].astype(np.float64)
    return np.where(maps.max(axis=(1, 2)) > 0, hits, np.nan)


def energy(pixels: Array, masks: NDArray[np.bool_]) -> Array:
    """Return the share of a map's positive mass that lies in its mask, (N,); NaN where nothing is positive (the
    energy-based pointing game of Wang et al. 2020).

    Args:
        pixels: (N, S, S), see `to_pixels`.
        masks: (N, S, S).
    """
    positive = np.maximum(pixels.astype(np.float64), 0)
    total, inside = positive.sum(axis=(1, 2)), (positive * masks).sum(axis=(1, 2))
    return np.divide(inside, total, out=np.full(len(pixels), np.nan), where=total > 0)


def pixel_auc(pixels: Array, masks: NDArray[np.bool_]) -> Array:
    """Return the chance that a pixel of the mask is higher than one outside it, ties as halves, (N,); NaN where the
    mask is empty or everything.

    Args:
        pixels: (N, S, S), see `to_pixels`.
        masks: (N, S, S).
    """
    areas = np.full(len(pixels), np.nan)
    flat = pixels.reshape(len(pixels), -1), masks.reshape(len(masks), -1)
    for place, (values, mask) in enumerate(zip(*flat, strict=True)):
        inside = int(mask.sum())
        outside = mask.size - inside
        if inside and outside:
            ranks = stats.rankdata(values)
            areas[place] = (ranks[mask].sum() - inside * (inside + 1) / 2) / (inside * outside)
    return areas
