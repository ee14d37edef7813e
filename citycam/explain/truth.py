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
    """Return the row and the column (N,) of the pixel at which the highest cell of each map (N, h, w) looks, the first
    one of several, in a picture of ``side`` x ``side`` pixels."""
    row, column = np.divmod(maps.reshape(len(maps), -1).argmax(axis=1), maps.shape[2])
    return _looked_at(cells.rows, side)[row], _looked_at(cells.columns, side)[column]


def pointing(maps: Array, cells: CellGrid, masks: NDArray[np.bool_]) -> Array:
    """Return whether the highest cell of each map looks at a pixel of its mask, 0 or 1 (N,); of several highest cells
    their share (the pointing game of Zhang et al. 2016, without their margin).

    NaN for a map that is not finite or has no positive cell, and for an empty mask.

    Args:
        maps: (N, h, w).
        masks: (N, S, S), of any size.
    """
    rows, columns = (_looked_at(centres, masks.shape[1]) for centres in (cells.rows, cells.columns))
    peaks = maps.max(axis=(1, 2))
    highest = maps == peaks[:, None, None]
    hits = (highest & masks[:, rows[:, None], columns[None, :]]).sum(axis=(1, 2))
    shares = hits / np.maximum(highest.sum(axis=(1, 2)), 1)
    return np.where((peaks > 0) & _judged(maps, masks), shares, np.nan)


def energy(pixels: Array, masks: NDArray[np.bool_]) -> Array:
    """Return the share of a map's positive mass that lies in its mask, (N,) (the energy-based pointing game of Wang et
    al. 2020).

    NaN for a map that is not finite or has no positive pixel, and for an empty mask.

    Args:
        pixels: (N, S, S), see `to_pixels`.
        masks: (N, S, S).
    """
    judged = _judged(pixels, masks)
    positive = np.where(judged[:, None, None], np.maximum(pixels.astype(np.float64), 0), 0)
    total, inside = positive.sum(axis=(1, 2)), (positive * masks).sum(axis=(1, 2))
    shares: Array = np.divide(inside, total, out=np.full(len(pixels), np.nan), where=total > 0)
    return shares


def pixel_auc(pixels: Array, masks: NDArray[np.bool_]) -> Array:
    """Return the chance that a pixel of the mask is higher than one outside it, ties as halves, (N,).

    NaN for a map that is not finite, and where the mask is empty or everything.

    Args:
        pixels: (N, S, S), see `to_pixels`.
        masks: (N, S, S).
    """
    areas = np.full(len(pixels), np.nan)
    for place in np.flatnonzero(_judged(pixels, masks) & ~masks.all(axis=(1, 2))).tolist():
        mask, values = masks[place].ravel(), pixels[place].ravel()
        inside = int(mask.sum())
        ranks = stats.rankdata(values)
        areas[place] = (ranks[mask].sum() - inside * (inside + 1) / 2) / (inside * (mask.size - inside))
    return areas


def _looked_at(centres: tuple[float, ...], side: int) -> NDArray[np.intp]:
    """Return the pixel, of ``side``, in which each centre lies; the nearest one for a centre beyond the picture."""
    return np.clip((np.array(centres) * side).astype(np.intp), 0, side - 1)


def _judged(maps: Array, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which maps are finite and have a truth to be compared with, (N,)."""
    return np.logical_and(np.isfinite(maps).all(axis=(1, 2)), masks.any(axis=(1, 2)))
