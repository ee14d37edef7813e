"""Missing pixels filled from their neighbours: the linear system of ROAD, solved for many pictures at once.

A missing pixel is the mean of its eight neighbours, those at its sides with twice the weight of those at its corners,
less those outside the picture (Rong et al. 2022, section 4.2). A sparse direct solver takes one picture at a time. Here
a few sweeps over all pictures make the error smooth, and what is left is corrected on ever coarser grids, whose
equations follow from those of the finer ones (multigrid; Briggs, Henson and McCormick 2000, chapters 3 and 10).

Inside, tensors are (H, W, C, B): the pictures are innermost, so that a shift of the grid is a slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# The largest error of a filled pixel, as a share of the range of the pictures.
TOLERANCE = 1e-4
# Cycles after which it gives up; each divides the error by about eight.
_MOST_CYCLES = 60
# Grids of at most so many cells a side are solved directly.
_SMALL = 4
# Weight of a sweep on the coarser grids; on the first it is 1. Both make errors of short waves three times smaller.
_DAMPING = 8 / 9
# Values of pictures in memory at a time: more leave the processor's cache.
_AT_ONCE = 2**20
_WEIGHTS = ((1, 2, 1), (2, 0, 2), (1, 2, 1))
_SUM = 12
_OFFSETS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


def impute(pictures: Tensor, masks: Tensor) -> Tensor:
    """Return pictures (B, C, H, W) whose masked pixels are filled.

    Args:
        masks: bool (B, H, W), the missing pixels.

    Raises:
        ValueError: a mask leaves no pixel.
    """
    if bool(masks.flatten(1).all(dim=1).any()):
        raise ValueError("no pixel is left to fill a picture from")
    step = max(1, _AT_ONCE // pictures[0].numel())
    with torch.no_grad():
        filled = [_solve(*some) for some in zip(pictures.split(step), masks.split(step), strict=True)]
    return torch.cat(filled)


def _solve(pictures: Tensor, masks: Tensor) -> Tensor:
    values = pictures.permute(2, 3, 1, 0).contiguous()
    missing = masks.permute(1, 2, 0)[:, :, None].to(values).contiguous()
    height, width, channels, count = values.shape
    totals = _totals(height, width).to(values)[:, :, None, None]
    kernel = torch.tensor(_WEIGHTS).to(values).expand(channels * count, 1, 3, 3).contiguous() / _SUM

    def neighbours(x: Tensor) -> Tensor:
        """The weighted sum over the neighbours of each pixel."""
        planes = x.reshape(1, height, width, channels * count).permute(0, 3, 1, 2)
        summed = F.conv2d(planes, kernel, padding=1, groups=channels * count)
        return summed.permute(0, 2, 3, 1).reshape(x.shape)

    share, known = missing / totals, (1 - missing) * values
    coarser = _hierarchy(_coarsened(_first(missing, totals)))
    spread = float(values.max() - values.min())
    x = torch.addcmul(known, missing, known.sum((0, 1)) / (1 - missing).sum((0, 1)))
    change = last = float("inf")
    for _ in range(_MOST_CYCLES):
        before = x
        x = torch.addcmul(known, neighbours(x), share)
        residual = torch.addcmul(neighbours(x), totals, x, value=-1).mul_(missing)
        x.addcmul_(missing, _corrected(coarser, residual))
        x = torch.addcmul(known, neighbours(x), share)
        last, change = change, float((x - before).abs().max())
        # The rest of a geometric series.
        if change == 0 or (change < last and change**2 / (last - change) <= TOLERANCE / 2 * spread):
            break
    return torch.where(masks[:, None], x.permute(3, 2, 0, 1), pictures)


@dataclass(frozen=True)
class _Grid:
    """The equations of a grid: ``stencil`` (3, 3, H, W, 1, B), the weight of the neighbour at each offset in the
    equation of each cell, and ``share`` (H, W, 1, B), the damped inverse of the weight of the cell itself, or 0."""

    stencil: Tensor
    share: Tensor


@dataclass(frozen=True)
class _Direct:
    """The inverse (B, H * W, H * W) of the equations of the coarsest grid."""

    inverse: Tensor


def _hierarchy(stencil: Tensor) -> list[_Grid | _Direct]:
    """Return the grids from this one to the coarsest."""
    levels: list[_Grid | _Direct] = []
    while max(stencil.shape[2:4]) > _SMALL:
        own = stencil[1, 1]
        levels.append(_Grid(stencil, torch.where(own > 1e-6, _DAMPING / own.clamp_min(1e-6), 0.0)))
        stencil = _coarsened(stencil)
    return [*levels, _Direct(_inverse(stencil))]


def _corrected(levels: list[_Grid | _Direct], residual: Tensor) -> Tensor:
    """Return what corrects an error with this residual (H, W, C, B), from the coarser grids."""
    height, width = residual.shape[:2]
    return _prolonged(_cycle(levels, _restricted(residual)), height, width)


def _cycle(levels: list[_Grid | _Direct], right: Tensor) -> Tensor:
    """Return nearly the solution of a grid's equations with a right side (H, W, C, B): a V-cycle from zero."""
    level, *coarser = levels
    if isinstance(level, _Direct):
        flat = right.flatten(0, 1).permute(2, 0, 1)
        return torch.bmm(level.inverse, flat).permute(1, 2, 0).reshape(right.shape)
    x = level.share * right
    x += _corrected(coarser, right - _applied(level.stencil, x))
    return x.addcmul_(level.share, right - _applied(level.stencil, x))


def _applied(stencil: Tensor, x: Tensor) -> Tensor:
    """Return the left side of the equations at ``x`` (H, W, C, B)."""
    result = stencil[1, 1] * x
    for down, right in _OFFSETS:
        own, other = _pair(x.shape[0], down), _pair(x.shape[1], right)
        here, there = (own[0], other[0]), (own[1], other[1])
        result[here].addcmul_(stencil[down + 1, right + 1][here], x[there])
    return result


def _pair(size: int, offset: int) -> tuple[slice, slice]:
    """Return the places along a side that have a neighbour at ``offset``, and those neighbours."""
    return slice(max(0, -offset), size - max(0, offset)), slice(max(0, offset), size - max(0, -offset))


def _totals(height: int, width: int) -> Tensor:
    """Return the sum of the weights of each pixel's neighbours, (H, W)."""
    planes = torch.ones(1, 1, height, width)
    totals = F.conv2d(planes, torch.tensor(_WEIGHTS, dtype=torch.float32)[None, None] / _SUM, padding=1)[0, 0]
    # A picture of one pixel has no neighbours, and no missing pixel.
    return torch.where(totals > 0, totals, 1.0)


def _first(missing: Tensor, totals: Tensor) -> Tensor:
    """Return the stencil (3, 3, H, W, 1, B) of the missing pixels among themselves."""
    stencil = missing.new_zeros((3, 3, *missing.shape))
    stencil[1, 1] = missing * totals
    for down, right in _OFFSETS:
        rows, columns = _pair(missing.shape[0], down), _pair(missing.shape[1], right)
        here, there = (rows[0], columns[0]), (rows[1], columns[1])
        weight = _WEIGHTS[down + 1][right + 1] / _SUM
        stencil[down + 1, right + 1][here] = missing[here] * missing[there] * -weight
    return stencil


def _coarsened(stencil: Tensor) -> Tensor:
    """Return the equations of the grid of every second row and column: P^T A P, with P as in `_prolonged`."""
    rows = _coarsened_rows(stencil)
    return _coarsened_rows(rows.transpose(0, 1).transpose(2, 3)).transpose(0, 1).transpose(2, 3).contiguous()


def _coarsened_rows(stencil: Tensor) -> Tensor:
    even, odd = stencil[:, :, 0::2], stencil[:, :, 1::2]
    count, between = even.shape[2], odd.shape[2]
    # An odd row is half of each of the rows beside it; the last one may have only that above it.
    part = torch.full((between, 1, 1, 1), 0.5).to(stencil)
    if between == count:
        part[-1] = 1
    shared = slice(0, count - 1)
    coarse = stencil.new_zeros((3, 3, count, *stencil.shape[3:]))
    coarse[1] = even[1]
    coarse[1, :, :between] += part * (part * odd[1] + even[2][:, :between] + odd[0])
    coarse[1, :, 1:] += 0.25 * odd[1][:, shared] + 0.5 * (even[0][:, 1:] + odd[2][:, shared])
    coarse[2, :, shared] = 0.25 * odd[1][:, shared] + 0.5 * (even[2][:, shared] + odd[2][:, shared])
    coarse[0, :, 1:] = 0.25 * odd[1][:, shared] + 0.5 * (even[0][:, 1:] + odd[0][:, shared])
    return coarse


def _restricted(x: Tensor) -> Tensor:
    """Return P^T x: (H, W, C, B) to every second row and column."""
    return _restricted_rows(_restricted_rows(x).transpose(0, 1)).transpose(0, 1)


def _restricted_rows(x: Tensor) -> Tensor:
    result, odd = x[0::2].clone(), x[1::2]
    count, between = len(result), len(odd)
    result[1:].add_(odd[: count - 1], alpha=0.5)
    result[: count - 1].add_(odd[: count - 1], alpha=0.5)
    if between == count:
        result[-1] += odd[-1]
    return result


def _prolonged(x: Tensor, height: int, width: int) -> Tensor:
    """Return P x: a cell between two others is their mean, and one past the last is equal to it."""
    return _prolonged_rows(_prolonged_rows(x, height).transpose(0, 1), width).transpose(0, 1)


def _prolonged_rows(x: Tensor, size: int) -> Tensor:
    result = x.new_empty((size, *x.shape[1:]))
    result[0::2] = x
    torch.add(x[:-1], x[1:], out=result[1 : 2 * len(x) - 1 : 2]).mul_(0.5)
    if size == 2 * len(x):
        result[-1] = x[-1]
    return result


def _inverse(stencil: Tensor) -> Tensor:
    """Return the inverse (B, H * W, H * W) of the equations of a small grid; those without a weight are left out."""
    height, width, _, count = stencil.shape[2:]
    matrix = stencil.new_zeros((height, width, height, width, count))
    for down, right in ((0, 0), *_OFFSETS):
        for row, column in torch.cartesian_prod(torch.arange(height), torch.arange(width)).tolist():
            if 0 <= row + down < height and 0 <= column + right < width:
                matrix[row, column, row + down, column + right] = stencil[down + 1, right + 1, row, column, 0]
    full = matrix.reshape(height * width, height * width, count).permute(2, 0, 1).double()
    alone = full.diagonal(dim1=1, dim2=2) <= 1e-6
    return torch.linalg.inv(full + torch.diag_embed(alone.double())).to(stencil)
