"""What a network loses without an element: all detections of a picture are blurred at once."""

from __future__ import annotations

import math
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
_SHIFTS = 8
# Pictures of a walk that are blurred, those that have the element most clearly: more add time, and hardly any power,
# since walks are the units.
_OF_A_WALK = 2
# With fewer walks an interval says little.
FEW = 6


@dataclass(frozen=True)
class Mean:
    """A mean over pictures with its 95 % interval by t over walks; NaN where nothing is known."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Loss:
    """What a network loses where an element is blurred.

    Attributes:
        contrast: by how much more the contrast falls than where the same shape is blurred elsewhere in the picture.
        superiority: the share of places elsewhere at which the same shape costs less, ties counting half; 0.5 for what
            does not matter (McGraw and Wong 1992, "A common language effect size statistic").
        p: that it costs no more than the same shape elsewhere, see `costs_more`; 1 where nothing was blurred.
        pictures, walks: that were blurred.
    """

    contrast: Mean
    superiority: Mean
    p: float
    pictures: int
    walks: int

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


@dataclass(frozen=True)
class Costs:
    """What the contrast of each picture's own city loses where an element is blurred: ``values`` float (T,), more than
    on average where the same shape is blurred elsewhere; ``superiority`` float (T,), the share of such places that
    cost less."""

    values: NDArray[np.float64]
    superiority: NDArray[np.float64]


def clearest(scores: NDArray[np.floating], walks: Sequence[str]) -> list[int]:
    """Return which of the pictures that have an element are blurred, ascending: of each walk those with the highest
    scores (M,)."""
    turns: dict[str, int] = {}
    chosen = []
    for place in np.argsort(-scores, kind="stable").tolist():
        turns[walks[place]] = turns.get(walks[place], 0) + 1
        if turns[walks[place]] <= _OF_A_WALK:
            chosen.append(place)
    return sorted(chosen)


def costs(subject: Subject, stage: Stage, some: Pictures, regions: Regions) -> Costs:
    """Return what each region costs."""
    parts: list[tuple[Array, Array]] = [(np.zeros(0), np.zeros(0))]
    with progress.bar("blur", len(regions.places), unit="regions") as advance:
        for start in range(0, len(regions.places), _BATCH):
            chosen = slice(start, min(start + _BATCH, len(regions.places)))
            batch = Regions(regions.places[chosen], regions.cells[chosen], regions.elements[chosen])
            parts.append(_costs(subject, stage, some, batch))
            advance(chosen.stop - chosen.start)
    return Costs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def summarise(its: Costs, walks: Sequence[str]) -> Loss:
    """Return the means over the pictures that have an element, with their intervals over walks."""
    return Loss(
        _mean(its.values, walks),
        _mean(its.superiority, walks),
        costs_more(its.superiority, walks),
        len(its.values),
        len(set(walks)),
    )


def costs_more(superiority: NDArray[np.float64], walks: Sequence[str]) -> float:
    """Return the p-value that an element costs no more than the same shape at drawn places.

    If it does not matter, its place is as any drawn one, so that its rank among them is even over 0 to 8: the sum of
    the walks' mean ranks is compared with that of as many even draws, exactly. Pictures of a walk may be alike in any
    way, since the mean of several ranks lies no farther from the middle than a single one does. Losses themselves have
    heavy tails (in one street the answer hangs on a roof alone, in the next on anything), so that the interval of their
    mean over few walks reaches below 0 for things that cost more than any other place in every picture.

    Args:
        superiority: of each picture, multiples of half a rank (M,).
        walks: of the pictures (M,).
    """
    if not len(superiority):
        return 1.0
    _, own = np.unique(np.asarray(walks), return_inverse=True)
    total = float((np.bincount(own, weights=superiority) / np.bincount(own)).sum())
    ways = np.ones(1)
    for _ in range(int(own.max()) + 1):
        ways = np.convolve(ways, np.full(_SHIFTS + 1, 1 / (_SHIFTS + 1)))
    return min(1.0, float(ways[math.ceil(total * _SHIFTS - 1e-6) :].sum()))


def _mean(values: NDArray[np.float64], walks: Sequence[str]) -> Mean:
    if not len(values):
        return Mean(float("nan"), float("nan"), float("nan"))
    return Mean(float(values.mean()), *mean_interval(values, walks))


def _costs(subject: Subject, stage: Stage, some: Pictures, batch: Regions) -> tuple[Array, Array]:
    own, which = np.unique(batch.places, return_inverse=True)
    loaded = subject.at(some.rows[own])
    pictures, filling = loaded[which], blurred(loaded, BASELINES["blur"])[which]
    cities, masks = some.cities[batch.places], shapes(batch.cells, stage, subject.side)
    without = contrasts(subject, _filled(pictures, filling, masks), cities)
    elsewhere = []
    for turn in range(_SHIFTS):
        shifted = np.stack(
            [
                shift(mask, seeds.stream(subject.settings.seed, "study shift", element, some.digests[place], turn))
                for mask, element, place in zip(masks, batch.elements.tolist(), batch.places.tolist(), strict=True)
            ]
        )
        elsewhere.append(contrasts(subject, _filled(pictures, filling, shifted), cities))
    others = np.stack(elsewhere)
    return others.mean(axis=0) - without, ((others > without) + 0.5 * (others == without)).mean(axis=0)


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
