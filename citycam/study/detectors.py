"""Detectors: find an element anywhere in a picture, without a map of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citycam.study.describe import Basis, Stage, units_of
from citycam.study.subject import Pictures, Subject

Array = NDArray[np.floating]
# The share of an element's own peaks that its detector finds.
_KEPT = 0.8


@dataclass(frozen=True)
class Detectors:
    """A linear discriminant for each of E elements: ``weights`` float32 (E, D), ``thresholds`` float32 (E,)."""

    weights: Array
    thresholds: Array

    def __len__(self) -> int:
        return len(self.thresholds)


@dataclass(frozen=True)
class Detections:
    """Where E elements are in N pictures.

    Attributes:
        scores: float32 (N, E), the highest score of any cell, less the threshold: above 0 is a detection.
        places: int32 (N, E), the cell that has it, in the stage's order.
        cells: bool (N, E, h, w), every cell that is above the threshold.
    """

    scores: Array
    places: NDArray[np.int32]
    cells: NDArray[np.bool_]

    @property
    def detected(self) -> NDArray[np.bool_]:
        """Whether an element is in a picture, bool (N, E)."""
        return self.scores > 0


def make_detectors(descriptions: Array, clusters: NDArray[np.int64], basis: Basis) -> Detectors:
    """Return a detector for each cluster, fixed by the training pictures.

    The discriminant of an element's peaks against all training cells (Fisher 1936): their mean descriptions differ by
    the element's, since all cells have mean 0, and their covariance is diagonal on the main axes. The threshold is the
    score that four in five of the element's own peaks reach.

    Args:
        descriptions: of the peaks (P, D).
        clusters: of the peaks (P,), from 0 on; -1 is none.
    """
    weights, thresholds = [], []
    for element in range(int(clusters.max(initial=-1)) + 1):
        own = descriptions[clusters == element]
        weight = own.mean(axis=0) / basis.spread
        weights.append(weight)
        thresholds.append(np.quantile(own @ weight, 1 - _KEPT))
    shape = (-1, descriptions.shape[1])
    return Detectors(np.array(weights, dtype=np.float32).reshape(shape), np.array(thresholds, dtype=np.float32))


def detect(subject: Subject, stage: Stage, basis: Basis, detectors: Detectors, some: Pictures, what: str) -> Detections:
    """Look for every element at every cell of pictures."""
    scores, places, cells = [], [], []
    for _, units in units_of(subject, stage, some, what):
        values = basis.describe(units) @ detectors.weights.T - detectors.thresholds
        flat = values.reshape(len(values), -1, len(detectors))
        scores.append(flat.max(axis=1))
        places.append(flat.argmax(axis=1).astype(np.int32))
        cells.append((values > 0).transpose(0, 3, 1, 2))
    return Detections(np.concatenate(scores), np.concatenate(places), np.concatenate(cells))
