"""What a network loses without an element: all detections of a picture are blurred at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citycam import seeds
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
_SHIFTS = 4
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


def loss(
    subject: Subject, stage: Stage, some: Pictures, places: NDArray[np.int64], cells: NDArray[np.bool_], name: str
) -> Loss:
    """Return what the contrast of the own city loses without an element.

    Args:
        places: of pictures that have it, in ``some`` (M,).
        cells: of the stage where it was detected, bool (M, h, w).
        name: of the element, for the random shifts.
    """
    if not len(places):
        return Loss(float("nan"), float("nan"), float("nan"), 0, 0)
    losses = []
    for start in range(0, len(places), _BATCH):
        chosen = slice(start, start + _BATCH)
        losses.append(_losses(subject, stage, some, places[chosen], cells[chosen], name))
    values = np.concatenate(losses)
    walks = [some.walks[place] for place in places.tolist()]
    low, high = mean_interval(values, walks)
    return Loss(float(values.mean()), low, high, len(places), len(set(walks)))


def _losses(
    subject: Subject, stage: Stage, some: Pictures, places: NDArray[np.int64], cells: NDArray[np.bool_], name: str
) -> NDArray[np.float64]:
    pictures = torch.cat([subject.pictures(some, slice(place, place + 1)) for place in places.tolist()])
    cities = some.cities[places]
    filling = blurred(pictures, BASELINES["blur"])
    masks = shapes(cells, stage, subject.side)
    without = contrasts(subject, _filled(pictures, filling, masks), cities)
    elsewhere = np.zeros(len(places))
    for turn in range(_SHIFTS):
        draws = [
            seeds.stream(subject.settings.seed, "study shift", name, some.digests[place], turn) for place in places
        ]
        shifted = np.stack([shift(mask, random) for mask, random in zip(masks, draws, strict=True)])
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
