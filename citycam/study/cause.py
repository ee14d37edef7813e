"""What a network loses without an element: all detections of a picture are blurred at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citycam import progress, seeds
from citycam.cells import smoothed
from citycam.explain.integrated import BASELINES, blurred
from citycam.statistics import mean_interval
from citycam.study.cell_maps import contrasts
from citycam.study.describe import Stage
from citycam.study.subject import Pictures, Subject

Array = NDArray[np.floating]
# Around the middle of a detected cell, as a share of the side: a cell sees more than its own pixels.
_REACH = 1 / 8
_SOFT = 1 / 24
_BATCH = 32
# Places that the same shape is blurred at for comparison: one may lie on another element of the city.
_SHIFTS = 2
# With fewer walks an interval says little.
FEW = 6


@dataclass(frozen=True)
class Loss:
    """What the contrast loses where an element is blurred, more than where the same shape is blurred elsewhere.

    Attributes:
        value: the mean over pictures; NaN where no picture has the element.
        low, high: 95 %, by t over walks.
        pictures, walks: how many have it.
    """

    value: float
    low: float
    high: float
    pictures: int
    walks: int

    @property
    def is_above_zero(self) -> bool:
        """Whether the network uses the element."""
        return self.low > 0

    @property
    def weak(self) -> bool:
        """Whether there are too few walks to be sure."""
        return self.walks < FEW


@dataclass(frozen=True)
class Regions:
    """T times an element in a picture: ``places`` int (T,), of the pictures, ascending, so that each is read once;
    ``cells`` bool (T, h, w), of the stage, where it was detected; ``elements`` int (T,)."""

    places: NDArray[np.int64]
    cells: NDArray[np.bool_]
    elements: NDArray[np.int64]


def losses(subject: Subject, stage: Stage, some: Pictures, regions: Regions) -> NDArray[np.float64]:
    """Return what the contrast of each picture's own city loses where an element is blurred, more than where the same
    shape is blurred elsewhere (T,)."""
    parts = [np.zeros(0)]
    with progress.bar("blur", len(regions.places), unit="regions") as advance:
        for start in range(0, len(regions.places), _BATCH):
            chosen = slice(start, min(start + _BATCH, len(regions.places)))
            batch = Regions(regions.places[chosen], regions.cells[chosen], regions.elements[chosen])
            parts.append(_losses(subject, stage, some, batch))
            advance(chosen.stop - chosen.start)
    return np.concatenate(parts)


def summarise(values: NDArray[np.float64], walks: Sequence[str]) -> Loss:
    """Return the mean loss of the pictures that have an element (M,), with its interval over walks."""
    if not len(values):
        return Loss(float("nan"), float("nan"), float("nan"), 0, 0)
    low, high = mean_interval(values, walks)
    return Loss(float(values.mean()), low, high, len(values), len(set(walks)))


def _losses(subject: Subject, stage: Stage, some: Pictures, batch: Regions) -> NDArray[np.float64]:
    own, which = np.unique(batch.places, return_inverse=True)
    loaded = subject.at(some.rows[own])
    pictures, filling = loaded[which], blurred(loaded, BASELINES["blur"])[which]
    cities, masks = some.cities[batch.places], shapes(batch.cells, stage, subject.side)
    without = contrasts(subject, _filled(pictures, filling, masks), cities)
    elsewhere = np.zeros(len(masks))
    for turn in range(_SHIFTS):
        shifted = np.stack(
            [
                shift(mask, seeds.stream(subject.settings.seed, "study shift", element, some.digests[place], turn))
                for mask, element, place in zip(masks, batch.elements.tolist(), batch.places.tolist(), strict=True)
            ]
        )
        elsewhere += contrasts(subject, _filled(pictures, filling, shifted), cities) / _SHIFTS
    difference: NDArray[np.float64] = elsewhere - without
    return difference


def shapes(cells: NDArray[np.bool_], stage: Stage, side: int) -> Array:
    """Return what is blurred around detected cells (M, h, w): float (M, S, S), 1 inside, soft at the edge."""
    pixels = np.arange(side) + 0.5
    rows, columns = (
        np.abs(pixels[None] - np.array(centres)[:, None] * side) <= _REACH * side
        for centres in (stage.cells.rows, stage.cells.columns)
    )
    covered = np.einsum("mhw,hr,wc->mrc", cells.astype(np.float64), rows.astype(float), columns.astype(float)) > 0
    width = 2 * round(_SOFT * side / 2) + 1
    return smoothed(covered.astype(np.float64), width)


def shift(mask: Array, random: np.random.Generator) -> Array:
    """Return a shape (S, S) at another place of the picture: rolled around its edges, to where it overlaps itself least
    of some drawn places, so that as much is blurred."""
    side, best, least = len(mask), mask, np.inf
    for down, right in random.integers(0, side, (16, 2)).tolist():
        moved = np.roll(mask, (down, right), axis=(0, 1))
        shared = float((moved * mask).sum())
        if shared < least:
            best, least = moved, shared
    return best


def _filled(pictures: Tensor, filling: Tensor, masks: Array) -> Tensor:
    weight = torch.from_numpy(masks[:, None]).to(pictures)
    return pictures + weight * (filling - pictures)
