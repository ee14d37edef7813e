"""Missing pixels filled from their neighbours: the linear system of ROAD, solved for many pictures at once.

A missing pixel is the mean of its eight neighbours, those at its sides with twice the weight of those at its corners,
less those outside the picture (Rong et al. 2022, section 4.2). A sparse direct solver takes one picture at a time. Here
all pictures take the same steps: conjugate gradients (Hestenes and Stiefel 1952), each step prepared by a cycle over
ever coarser grids (multigrid; Briggs, Henson and McCormick 2000), whose equations follow from those of the finer ones.

Inside, tensors are (H, W, C, B): the pictures are innermost, so that a shift of the grid is a slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# The largest error of a filled pixel, as a share of the range of the pictures: a quarter of a grey level of 255.
TOLERANCE = 1e-3
# The error that is left by a correction, as a share of it; at most about a third was seen.
_LEFT = 0.5
_MOST_STEPS = 200
# Grids of at most so many cells a side are solved directly.
_SMALL = 4
# Weight of a sweep on the coarser grids; on the first it is 1. Both make errors of short waves three times smaller.
_DAMPING = 8 / 9
# Values of pictures in memory at a time: more leave the processor's cache.
_AT_ONCE = 2**19
_WEIGHTS = ((1, 2, 1), (2, 0, 2), (1, 2, 1))
_SUM = 12
_OFFSETS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


def impute(pictures: Tensor, masks: Tensor) -> Tensor:
    """Return pictures (B, C, H, W) whose masked pixels are filled, to `TOLERANCE`.

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
    system = _System.of(missing, values.shape[2])
    kept = 1 - missing
    x = torch.addcmul(kept * values, missing, (kept * values).sum((0, 1)) / kept.sum((0, 1)))
    residual = (system.neighbours(x) - system.totals * x).mul_(missing)
    enough = TOLERANCE / _LEFT * float(values.max() - values.min())
    direction, before = torch.zeros_like(x), None
    for _ in range(_MOST_STEPS):
        correction = system.corrected(residual)
        if float(correction.abs().max()) <= enough:
            break
        gain = (residual * correction).sum((0, 1))
        if before is not None:
            correction.addcmul_(direction, gain / before.clamp_min(1e-30))
        direction, before = correction, gain
        changed = torch.addcmul(system.totals * direction, missing, system.neighbours(direction), value=-1)
        length = gain / (direction * changed).sum((0, 1)).clamp_min(1e-30)
        x.addcmul_(direction, length)
        residual.addcmul_(changed, length, value=-1)
    x += correction
    return torch.where(masks[:, None], x.permute(3, 2, 0, 1), pictures)


@dataclass(frozen=True)
class _System:
    """The equations of the missing pixels: ``totals * x - neighbours(x) = 0``.

    Attributes:
        missing: 1 for a missing pixel and 0 for another, (H, W, 1, B).
        totals: sum of the weights of each pixel's neighbours, (H, W, 1, 1).
        share: missing / totals.
        kernel: the weights of the neighbours, once for each channel and picture.
        coarser: the grids below.
    """

    missing: Tensor
    totals: Tensor
    share: Tensor
    kernel: Tensor
    coarser: list[_Grid | _Direct]

    @classmethod
    def of(cls, missing: Tensor, channels: int) -> _System:
        """Set up the equations of all grids."""
        height, width, _, count = missing.shape
        totals = _totals(height, width).to(missing)[:, :, None, None]
        kernel = torch.tensor(_WEIGHTS).to(missing).expand(channels * count, 1, 3, 3) / _SUM
        return cls(missing, totals, missing / totals, kernel.contiguous(), _hierarchy(missing, totals))

    def neighbours(self, x: Tensor) -> Tensor:
        """Return the weighted sum over the neighbours of each pixel, (H, W, C, B)."""
        planes = x.flatten(2).permute(2, 0, 1)[None]
        summed = F.conv2d(planes, self.kernel, padding=1, groups=len(self.kernel))
        return summed[0].permute(1, 2, 0).reshape(x.shape)

    def corrected(self, residual: Tensor) -> Tensor:
        """Return nearly the error that has a residual, both (H, W, C, B) and 0 where nothing is missing: a V-cycle."""
        first = self.share * residual
        # What is left of the residual of a missing pixel after a sweep is what its neighbours have changed by.
        left = self.neighbours(first).mul_(self.missing)
        x = torch.addcmul(first, self.missing, _from_coarser(self.coarser, left))
        return torch.addcmul(first, self.share, self.neighbours(x))


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


def _hierarchy(missing: Tensor, totals: Tensor) -> list[_Grid | _Direct]:
    """Return the grids from the second one to the coarsest."""
    levels: list[_Grid | _Direct] = []
    stencil = _coarsened(_first(missing, totals))
    while max(stencil.shape[2:4]) > _SMALL:
        own = stencil[1, 1]
        levels.append(_Grid(stencil, torch.where(own > 1e-6, _DAMPING / own.clamp_min(1e-6), 0.0)))
        stencil = _coarsened(stencil)
        # From the third grid on a cell that looks at a known pixel stays as it is: the others meet it in a slope, as
        # the true values do, and not in a step. On the second it would take too many with it where pixels are single.
        missing = missing[::2, ::2] if levels[1:] else missing[::4, ::4]
        _cut(stencil, missing)
    return [*levels, _Direct(_inverse(stencil))]


def _cut(stencil: Tensor, missing: Tensor) -> None:
    """Leave known cells out of the equations."""
    stencil[1, 1] *= missing
    for down, right in _OFFSETS:
        rows, columns = _pair(missing.shape[0], down), _pair(missing.shape[1], right)
        pairs = missing[rows[0], columns[0]] * missing[rows[1], columns[1]]
        stencil[down + 1, right + 1][rows[0], columns[0]] *= pairs


def _from_coarser(levels: list[_Grid | _Direct], residual: Tensor) -> Tensor:
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
    x += _from_coarser(coarser, right - _applied(level.stencil, x))
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
    own = full.diagonal(dim1=1, dim2=2)
    known = own <= 1e-6
    # Cells that all look at the same missing pixels have equal equations; what the small term adds cancels in the sum.
    inverse = torch.linalg.inv(full + torch.diag_embed(1e-5 * own + known))
    return inverse.masked_fill(known[:, None], 0).to(stencil)
