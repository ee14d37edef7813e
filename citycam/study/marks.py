"""Marks at one place of the frame of a city's pictures, found in the pictures alone: a network may ignore them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citycam.cells import smoothed
from citycam.study.subject import Pictures, Subject
from citycam.words import decimal

Array = NDArray[np.floating]
# A mark has the same edges in every picture. At a watermark they agree by more than 0.9; things of streets, which are
# roughly at one height, reach 0.6.
_AGREE = 0.8
# A mark that every other city has as well tells none.
_OTHERS = 0.5
# Of a picture of average edges: where there are hardly any, noise would agree.
_FAINT = 0.25
# Of the side: a mark is no single pixel.
_BOX = 1 / 24
# Of fewer pictures edges agree by chance.
_FEWEST = 8
_BATCH = 64


@dataclass(frozen=True)
class Mark:
    """``city``: position in the classes. ``row``, ``column``: of its middle, as shares of the picture.
    ``agreement``: of the edges there, 0 to 1."""

    city: int
    row: float
    column: float
    agreement: float


def fixed_marks(subject: Subject, some: Pictures) -> list[Mark]:
    """Return at most one mark of each city: where the edges of its pictures agree by 0.8, and those of some other city
    less than half as well."""
    agreements = {
        city: agreement(subject, some, places)
        for city in range(len(subject.cities))
        if len(places := np.flatnonzero(some.cities == city)) >= _FEWEST
    }
    marks = []
    for city, own in agreements.items():
        others = [its for other, its in agreements.items() if other != city]
        if not others:
            continue
        alone = np.where(np.min(others, axis=0) < _OTHERS * own, own, 0)
        agreeing = np.argwhere(alone >= _AGREE)
        if len(agreeing):
            row, column = (agreeing.mean(axis=0) + 0.5) / subject.side
            marks.append(Mark(city, float(row), float(column), float(alone.max())))
    return marks


def agreement(subject: Subject, some: Pictures, places: NDArray[np.int64]) -> Array:
    """Return how far the edges of pictures agree at each pixel, 0 to 1, (S, S): the length of the sum of their
    gradients over the sum of their lengths. Pictures are read in turn, so that memory does not grow with them."""
    vectors, lengths = np.zeros((2, subject.side, subject.side)), np.zeros((subject.side,) * 2)
    for start in range(0, len(places), _BATCH):
        pictures = subject.at(some.rows[places[start : start + _BATCH]]).mean(dim=1).double().cpu().numpy()
        gradients = np.stack(np.gradient(pictures, axis=(1, 2)))
        vectors += gradients.sum(axis=1)
        lengths += np.hypot(*gradients).sum(axis=0)
    width = 2 * round(_BOX * subject.side / 2) + 1
    agreed, all_lengths = (smoothed(values[None], width)[0] for values in (np.hypot(*vectors), lengths))
    share: Array = agreed / np.maximum(all_lengths + _FAINT * all_lengths.mean(), 1e-12)
    return share


def sentence(mark: Mark, subject: Subject) -> str:
    """Return a mark in words."""
    return (
        f"A mark sits at one place in the pictures of {subject.cities[mark.city]} ({decimal(mark.column, 2)} from the "
        f"left, {decimal(mark.row, 2)} from the top; edges agree there by {decimal(mark.agreement, 2)} of 1): a "
        "network can tell the city by it, whatever the pictures show."
    )
