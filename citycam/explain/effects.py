"""What the features of a town do to a network's answers, and whether its maps agree.

Toytown draws a picture again without one feature (`citycam.data.toytown.counterfactuals`). What the network answers
then, and where the picture changed, is the truth that maps are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from citycam.config import DataConfig
from citycam.data.sources import source_of
from citycam.data.views import ViewSpec, working_picture

Array = NDArray[np.floating]
# Two features of a picture are compared if their effects on the contrast differ by more than this.
APART = 1.0


@dataclass(frozen=True, slots=True)
class Stripped:
    """Views of pictures from which one feature each was taken, P in all.

    Attributes:
        names: of the N pictures that were asked for.
        place: int (P,), which of the N pictures each is.
        features: P names.
        views: uint8 (P, S, S, 3).
        changed: float32 (P, S, S), the share of a view's pixel that differs from the original, 0 to 1.
    """

    names: tuple[str, ...]
    place: NDArray[np.int64]
    features: tuple[str, ...]
    views: NDArray[np.uint8]
    changed: NDArray[np.float32]

    def masks(self, share: float) -> NDArray[np.bool_]:
        """Return the pixels of which some feature changes at least ``share``, bool (N, S, S); 0: any part of it."""
        side = self.views.shape[1]
        masks = np.zeros((len(self.names), side, side), dtype=bool)
        np.logical_or.at(masks, self.place, (self.changed >= share) & (self.changed > 0))
        return masks


@dataclass(frozen=True, slots=True)
class Effects:
    """What P features do to the answers of a network: with the feature less without it.

    Attributes:
        logit: float64 (P,), of the picture's own city.
        contrast: float64 (P,), of that logit less the mean of the others.
        answer: bool (P,), whether the network answers something else without the feature.
    """

    logit: NDArray[np.float64]
    contrast: NDArray[np.float64]
    answer: NDArray[np.bool_]


def strip_features(config: DataConfig, names: Sequence[str], spec: ViewSpec) -> Stripped | None:
    """Draw pictures again, once without each feature of their city that can be seen in them.

    Args:
        config: the settings of the data source.
        names: of N pictures in its catalog.
        spec: the settings of the plain views.

    Returns:
        None if the source cannot draw pictures again.

    Raises:
        CitycamError: a name is not in the source.
    """
    side, redrawn = spec.image_size, source_of(config).counterfactuals(names)
    if redrawn is None:
        return None
    drawn = list(redrawn)
    places = {name: place for place, name in enumerate(names)}
    changed = [
        np.asarray(Image.fromarray(one.changed.astype(np.float32)).resize((side, side), Image.Resampling.BOX))
        for one in drawn
    ]
    return Stripped(
        names=tuple(names),
        place=np.array([places[one.name] for one in drawn], dtype=np.int64),
        features=tuple(one.feature for one in drawn),
        views=np.array([working_picture(one.picture, spec) for one in drawn], dtype=np.uint8).reshape(
            -1, side, side, 3
        ),
        changed=np.array(changed, dtype=np.float32).reshape(-1, side, side),
    )


def find_effects(before: Array, after: Array, place: NDArray[np.int64], labels: NDArray[np.int64]) -> Effects:
    """Return the effects of features on a network's answers.

    With a single logit, which speaks for class 1, its negative speaks for class 0, and the contrast is the logit.

    Args:
        before: logits (N, K) of the pictures.
        after: logits (P, K) of the pictures without a feature.
        place: (P,), which of the N pictures each is.
        labels: classes (N,) of the pictures.
    """
    whole = _evidence(before[place], labels[place])
    without = _evidence(after, labels[place])
    return Effects(
        logit=whole[0] - without[0],
        contrast=whole[1] - without[1],
        answer=whole[2] != without[2],
    )


def order(pixels: Array, stripped: Stripped, effects: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return of how many pairs of features the one with the larger effect has more of the map's positive mass.

    Pairs are of one picture, and their effects differ by more than `APART`.

    Args:
        pixels: maps (N, S, S) in pixels of the views.
        stripped: P pictures without a feature.
        effects: (P,).

    Returns:
        1, 0, or 0.5 for equal masses, (Q,); and which of the N pictures each pair is of, (Q,). Pairs of a map that is
        not finite or has no positive pixel are NaN.
    """
    blank = ~(np.isfinite(pixels).all(axis=(1, 2)) & (pixels.max(axis=(1, 2)) > 0))
    positive = np.where(blank[:, None, None], 0, np.maximum(pixels.astype(np.float64), 0))
    mass = (positive[stripped.place] * stripped.changed).sum(axis=(1, 2))
    right, places = [], []
    for picture in np.unique(stripped.place).tolist():
        own = np.flatnonzero(stripped.place == picture).tolist()
        for first in own:
            for second in own:
                if effects[first] - effects[second] > APART:
                    won = float(mass[first] > mass[second]) + float(mass[first] == mass[second]) / 2
                    right.append(np.nan if blank[picture] else won)
                    places.append(picture)
    return np.array(right, dtype=np.float64), np.array(places, dtype=np.int64)


def _evidence(logits: Array, labels: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return the logit of each picture's own class (N,), that less the mean of the others, and the answers."""
    values: Array = logits.astype(np.float64)
    if values.shape[1] == 1:
        single = values[:, 0]
        evidence = np.where(labels == 1, single, -single)
        return evidence, evidence, (single > 0).astype(np.int64)
    own: Array = np.take_along_axis(values, labels[:, None], axis=1)[:, 0]
    others = (values.sum(axis=1) - own) / (values.shape[1] - 1)
    return own, own - others, values.argmax(axis=1)
