"""Missing pixels filled from their neighbours: the linear system of ROAD, solved for many pictures at once.

A missing pixel is the mean of its eight neighbours, those at its sides with twice the weight of those at its corners,
less those outside the picture (Rong et al. 2022, section 4.2). A sparse direct solver takes one picture at a time. Here
all pictures take the same steps: conjugate gradients (Hestenes and Stiefel 1952), each step prepared by a cycle over
ever coarser grids (multigrid; Briggs, Henson and McCormick 2000), whose equations follow from those of the finer ones.

Inside, tensors are (H, W, C * B): the planes are innermost, so that a shift of the grid is a slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# The largest error of a filled pixel, as a share of the range of the pictures: a quarter of a grey level of 255.
TOLERANCE = 1e-3
# The error that is left by a correction, as a share of it; at most about a third was seen.
_LEFT = 0.5
_MOST_STEPS = 200
# Grids of at most so many cells a side are solved directly.
_SMALL = 4
# Of a sweep on the coarser grids; there is none on the first. Both make errors of short waves three times smaller.
_DAMPING = 8 / 9
# Values of pictures in memory at a time: more leave the processor's cache.
_AT_ONCE = 2**19
# Fewer planes side by side are slow.
_LEAST = 8
_WEIGHTS = ((1, 2, 1), (2, 0, 2), (1, 2, 1))
_OFFSETS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1))
_OWN = _OFFSETS.index((0, 0))
# A cell with a smaller weight of its own has no equation: it looks at no missing pixel.
_NOTHING = 1e-5


def impute(pictures: Tensor, masks: Tensor) -> Tensor:
    """Return pictures (B, C, H, W) whose masked pixels are filled, to `TOLERANCE`.

    Args:
        masks: bool (B, H, W), the missing pixels.

    Raises:
        ValueError: a mask leaves no pixel.
    """
    if bool(masks.flatten(1).all(dim=1).any()):
        raise ValueError("no pixel is left to fill a picture from")
    step = max(_LEAST, _AT_ONCE // pictures[0].numel())
    with torch.no_grad():
        filled = [
            _solve(pictures[start : start + step], masks[start : start + step])
            for start in range(0, len(pictures), step)
        ]
    return torch.cat(filled)


def _solve(pictures: Tensor, masks: Tensor) -> Tensor:
    count, channels, height, width = pictures.shape
    values = _planes_last(pictures)
    system = _System.of(masks, channels, pictures.dtype)
    missing = system.missing
    kept = (1 - missing) * values
    x = torch.addcmul(kept, missing, kept.sum((0, 1)) / (1 - missing).sum((0, 1)))
    residual = (_neighbours(x) * missing).sub_(system.own * x)
    enough = TOLERANCE / _LEFT * float(pictures.max() - pictures.min())
    direction = gain = torch.zeros(())
    for step in range(_MOST_STEPS):
        correction = system.corrected(residual)
        if max(map(abs, map(float, correction.aminmax()))) <= enough:
            break
        before, gain = gain, (residual * correction).sum((0, 1))
        direction = correction.addcmul_(direction, gain / before.clamp_min(1e-30)) if step else correction
        changed = (system.own * direction).addcmul_(missing, _neighbours(direction), value=-1)
        length = gain / (direction * changed).sum((0, 1)).clamp_min(1e-30)
        x.addcmul_(direction, length)
        residual.addcmul_(changed, length, value=-1)
    filled = (x + correction).reshape(height, width, channels, count).permute(3, 2, 0, 1)
    return torch.where(masks[:, None], filled, pictures)


def _planes_last(planes: Tensor) -> Tensor:
    """Return (B, C, H, W) as (H, W, C * B)."""
    return planes.permute(2, 3, 1, 0).flatten(2)


@dataclass(frozen=True)
class _System:
    """The equations of the missing pixels, ``own * x - neighbours(x) = 0``, with tensors (H, W, C * B).

    Attributes:
        missing: 1 for a missing pixel and 0 for another.
        own: the weight of a missing pixel itself, which is the sum of those of its neighbours; 0 for another.
        share: 1 / own, or 0.
        coarser: the grids below.
    """

    missing: Tensor
    own: Tensor
    share: Tensor
    coarser: list[_Grid | _Direct]

    @classmethod
    def of(cls, masks: Tensor, channels: int, dtype: torch.dtype) -> _System:
        """Set up the equations of all grids."""
        missing = masks.permute(1, 2, 0).to(dtype).contiguous()
        totals = _neighbours(torch.ones_like(missing[:, :, :1])).clamp_min(1)
        own, share = missing * totals, missing / totals
        planes = [_repeated(one, channels) for one in (missing, own, share)]
        return cls(planes[0], planes[1], planes[2], _hierarchy(_stencil(missing, totals), channels))

    def corrected(self, residual: Tensor) -> Tensor:
        """Return nearly the error that has a residual; both are 0 where nothing is missing. It is a V-cycle."""
        first = self.share * residual
        # What is left of a residual after a sweep is what the neighbours have changed by.
        left = _neighbours(first).mul_(self.missing)
        x = torch.addcmul(first, self.missing, _from_coarser(self.coarser, left))
        return first.addcmul_(self.share, _neighbours(x))


@dataclass(frozen=True)
class _Grid:
    """The equations of a grid: ``stencil`` (9, H, W, C * B), the weight of the cell at each of `_OFFSETS` in the
    equation of each cell, and ``share`` (H, W, C * B), the weight of a sweep, or 0 for a cell without an equation."""

    stencil: Tensor
    share: Tensor


@dataclass(frozen=True)
class _Direct:
    """The inverse (C * B, H * W, H * W) of the equations of the coarsest grid."""

    inverse: Tensor


def _neighbours(x: Tensor) -> Tensor:
    """Return the sum over the neighbours of each pixel, by `_WEIGHTS`: (1, 2, 1) along both sides, less the pixel."""
    rows = x * 2
    rows[1:] += x[:-1]
    rows[:-1] += x[1:]
    summed = rows * 2
    summed[:, 1:] += rows[:, :-1]
    summed[:, :-1] += rows[:, 1:]
    return summed.sub_(x, alpha=4)


def _stencil(missing: Tensor, totals: Tensor) -> Tensor:
    """Return the weights (3, 3, H, W, B) of missing pixels (H, W, B) in each other's equations, by offset."""
    stencil = missing.new_zeros(3, 3, *missing.shape)
    for down, right in _OFFSETS:
        rows, columns = _pair(missing.shape[0], down), _pair(missing.shape[1], right)
        here, there = missing[rows[0], columns[0]], missing[rows[1], columns[1]]
        weight = -_WEIGHTS[down + 1][right + 1]
        torch.mul(here, there * weight, out=stencil[down + 1, right + 1, rows[0], columns[0]])
    torch.mul(missing, totals, out=stencil[1, 1])
    return stencil


def _hierarchy(stencil: Tensor, channels: int) -> list[_Grid | _Direct]:
    """Return the grids below that of a stencil (3, 3, H, W, B)."""
    levels: list[_Grid | _Direct] = []
    while True:
        stencil = _coarsened(stencil)
        flat = stencil.flatten(0, 1)
        if max(stencil.shape[2:4]) <= _SMALL:
            return [*levels, _Direct(_inverse(flat).repeat(channels, 1, 1))]
        # Where the cells of a grid are alike this is 8/9 of the cell's own weight, and it never makes errors larger.
        total = flat.abs().sum(dim=0)
        share = torch.where(flat[_OWN] > _NOTHING, 2 * _DAMPING / total, 0.0)
        levels.append(_Grid(_repeated(flat, channels), _repeated(share, channels)))


def _repeated(planes: Tensor, channels: int) -> Tensor:
    """Return (..., B) as (..., C * B)."""
    return planes[..., None, :].expand(*planes.shape[:-1], channels, -1).flatten(-2)


def _coarsened(stencil: Tensor) -> Tensor:
    """Return the equations of the grid of every second row and column: P^T A P, with P as in `_prolonged`."""
    rows = _coarsened_rows(stencil)
    return _coarsened_rows(rows.transpose(0, 1).transpose(2, 3)).transpose(0, 1).transpose(2, 3).contiguous()


def _coarsened_rows(stencil: Tensor) -> Tensor:
    above, own, below = stencil
    odd = slice(1, None, 2)
    between = own.shape[1] // 2
    # Beside an even side stands a row of cells that look past the border.
    coarse = stencil.new_zeros(3, 3, between + 1, *stencil.shape[3:])
    coarse[:, :, : own.shape[1] - between] = stencil[:, :, 0::2]
    first, last = slice(0, between), slice(1, between + 1)
    # An odd row is half of the coarse row above it and half of that below.
    within = 0.25 * own[:, odd]
    to_last, from_last = coarse[0, :, last].clone(), below[:, odd]
    to_first, from_first = coarse[2, :, first].clone(), above[:, odd]
    coarse[1, :, first] += within + 0.5 * (to_first + from_first)
    coarse[1, :, last] += within + 0.5 * (to_last + from_last)
    coarse[2, :, first] = within + 0.5 * (to_first + from_last)
    coarse[2, :, between:] = 0
    coarse[0, :, last] = within + 0.5 * (to_last + from_first)
    coarse[0, :, :1] = 0
    return coarse


def _inverse(stencil: Tensor) -> Tensor:
    """Return the inverse (N, H * W, H * W) of the equations of a small grid; cells without one stay 0."""
    height, width, count = stencil.shape[1:]
    identity = torch.eye(height * width).to(stencil).reshape(height, width, height * width, 1)
    full = _applied(stencil[:, :, :, None], identity.expand(-1, -1, -1, count))
    full = full.reshape(height * width, height * width, count).permute(2, 0, 1).double()
    own = full.diagonal(dim1=1, dim2=2)
    alone = own <= _NOTHING
    # Cells that all look at the same missing pixels have equal equations; what the small term adds cancels in the sum.
    inverse = torch.linalg.inv(full + torch.diag_embed(1e-5 * own + alone))
    kept: Tensor = inverse.masked_fill(alone[:, None], 0)
    return kept.to(stencil)


def _from_coarser(levels: list[_Grid | _Direct], residual: Tensor) -> Tensor:
    """Return what corrects an error with this residual (H, W, N), from the coarser grids."""
    height, width = residual.shape[:2]
    return _prolonged(_cycle(levels, _restricted(residual)), height, width)


def _cycle(levels: list[_Grid | _Direct], right: Tensor) -> Tensor:
    """Return nearly the solution of a grid's equations with a right side (H, W, N): a V-cycle from zero."""
    level, *coarser = levels
    if isinstance(level, _Direct):
        return torch.einsum("npq,qn->pn", level.inverse, right.flatten(0, 1)).reshape(right.shape)
    x = level.share * right
    x += _from_coarser(coarser, right - _applied(level.stencil, x))
    return x.addcmul_(level.share, right - _applied(level.stencil, x))


def _applied(stencil: Tensor, x: Tensor) -> Tensor:
    """Return the left side of the equations at ``x`` (H, W, ...)."""
    result = stencil[_OWN] * x
    for weights, (down, right) in zip(stencil, _OFFSETS, strict=True):
        if (down, right) != (0, 0):
            rows, columns = _pair(x.shape[0], down), _pair(x.shape[1], right)
            result[rows[0], columns[0]].addcmul_(weights[rows[0], columns[0]], x[rows[1], columns[1]])
    return result


def _pair(size: int, offset: int) -> tuple[slice, slice]:
    """Return the places along a side that have a neighbour at ``offset``, and those neighbours."""
    return slice(max(0, -offset), size - max(0, offset)), slice(max(0, offset), size - max(0, -offset))


def _restricted(x: Tensor) -> Tensor:
    """Return P^T x, from (H, W, N) to every second row and column; see `_prolonged`."""
    for axis in (0, 1):
        between = x.shape[axis] // 2
        shape = list(x.shape)
        shape[axis] = between + 1
        result = x.new_zeros(shape)
        result[_at(axis, slice(0, x.shape[axis] - between))] = x[_at(axis, slice(0, None, 2))]
        for places in (slice(0, between), slice(1, between + 1)):
            result[_at(axis, places)].add_(x[_at(axis, slice(1, None, 2))], alpha=0.5)
        x = result
    return x


def _prolonged(x: Tensor, height: int, width: int) -> Tensor:
    """Return P x, on ``height`` x ``width`` cells: every second one is a cell of ``x``, one between is their mean."""
    for axis, size in ((1, width), (0, height)):
        between = size // 2
        shape = list(x.shape)
        shape[axis] = size
        result = x.new_empty(shape)
        result[_at(axis, slice(0, None, 2))] = x[_at(axis, slice(0, size - between))]
        pairs = x[_at(axis, slice(0, between))], x[_at(axis, slice(1, between + 1))]
        torch.lerp(*pairs, 0.5, out=result[_at(axis, slice(1, None, 2))])
        x = result
    return x


def _at(axis: int, places: slice) -> tuple[slice, ...]:
    """Return the index of places along an axis."""
    return (*(slice(None),) * axis, places)
