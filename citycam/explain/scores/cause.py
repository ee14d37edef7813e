"""Scores against pixels that are known to matter, where a picture can be drawn again without them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from citycam.explain import truth
from citycam.explain.scores.registry import HIGHER, score
from citycam.explain.scores.subject import Drawn, Subject

Array = NDArray[np.floating]


@score(
    "pointing",
    "highest point in what matters",
    better=HIGHER,
    needs="truth",
    hides="It reads one point of a map; compare it with dealt and with class-blind maps.",
)
def pointing(subject: Subject, drawn: Drawn) -> Array:
    """Whether the highest cell looks at a pixel that is known to matter, 0 or 1 (N,)."""
    return _known(subject, truth.pointing(drawn.maps, drawn.cells, _masks(subject)))


@score(
    "energy",
    "share of the map in what matters",
    better=HIGHER,
    needs="truth",
    hides="A map that is low everywhere but positive has the share of the area.",
)
def energy(subject: Subject, drawn: Drawn) -> Array:
    """The share (N,) of the map's positive mass on pixels that are known to matter."""
    return _known(subject, truth.energy(_pixels(subject, drawn), _masks(subject)))


@score(
    "pixel_auc",
    "order of pixels",
    better=HIGHER,
    needs="truth",
    hides="It gives no weight to how much higher the right pixels are.",
)
def pixel_auc(subject: Subject, drawn: Drawn) -> Array:
    """The chance (N,) that a pixel that is known to matter is higher than one that is not."""
    return _known(subject, truth.pixel_auc(_pixels(subject, drawn), _masks(subject)))


def _masks(subject: Subject) -> NDArray[np.bool_]:
    assert subject.masks is not None
    return subject.masks


def _pixels(subject: Subject, drawn: Drawn) -> Array:
    return drawn.pixels(slice(None), _masks(subject).shape[1])


def _known(subject: Subject, values: Array) -> Array:
    """Without a pixel that matters there is nothing to find."""
    return np.where(_masks(subject).any(axis=(1, 2)), values, np.nan)
