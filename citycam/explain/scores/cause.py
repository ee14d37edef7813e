"""Scores against pixels that are known to matter, where a picture can be drawn again without them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from citycam.explain import truth
from citycam.explain.effects import order
from citycam.explain.scores.registry import HIGHER, score
from citycam.explain.scores.subject import Causes, Drawn, Subject

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


@score(
    "effect_order",
    "order of features",
    better=HIGHER,
    needs="truth",
    hides="Larger features have larger effects, so that maps that know nothing are above one half.",
)
def effect_order(subject: Subject, drawn: Drawn) -> Array:
    """Of how many pairs of features of a picture the one with the larger effect has more of the map's positive mass,
    (N,); a picture without two features whose effects differ has none."""
    causes = _causes(subject)
    right, places = order(_pixels(subject, drawn), causes.stripped, causes.effects)
    pairs = np.bincount(places, minlength=len(subject))
    won = np.bincount(places, weights=right, minlength=len(subject))
    shares: Array = np.divide(won, pairs, out=np.full(len(subject), np.nan), where=pairs > 0)
    return shares


def _causes(subject: Subject) -> Causes:
    assert subject.causes is not None
    return subject.causes


def _masks(subject: Subject) -> NDArray[np.bool_]:
    return _causes(subject).masks


def _pixels(subject: Subject, drawn: Drawn) -> Array:
    return drawn.pixels(slice(None), _masks(subject).shape[1])


def _known(subject: Subject, values: Array) -> Array:
    """Without a pixel that matters there is nothing to find."""
    return np.where(_masks(subject).any(axis=(1, 2)), values, np.nan)
