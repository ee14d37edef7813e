"""Rendered pictures of other towns with their drawn features as labels, to teach a body what streets are made of."""

from __future__ import annotations

import numpy as np
from PIL import Image

from citycam import seeds
from citycam.data.toytown.scene import render
from citycam.data.toytown.street import plan_street
from citycam.data.toytown.towns import CLASS_ID, FEATURES, KINDS, TOWN_FEATURES

# As many pixels of a feature, in a picture of this side, count as drawn.
_SIDE = 128
_SEEN = 64
_FRAMES = 4
_STRIDE = 3


def lesson(seed: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` pictures of towns that are none of the data set's, and which features each shows.

    A town of the lesson has any combination of features but those of the data set's towns, and each of its streets is
    drawn from a stream of its own.

    Returns:
        pictures uint8 (count, size, size, 3); labels float32 (count, number of features), 0 or 1, in the order of
        `towns.FEATURES`.
    """
    pictures = np.empty((count, size, size, 3), np.uint8)
    labels = np.empty((count, len(FEATURES)), np.float32)
    wanted = np.array([CLASS_ID[name] for name in FEATURES])
    for start in range(0, count, _FRAMES):
        rng = seeds.stream(seed, "lesson", start // _FRAMES)
        street = plan_street(rng, other_town(rng), _FRAMES * _STRIDE)
        for row in range(start, min(start + _FRAMES, count)):
            picture, classes = render(street, (row - start) * _STRIDE, _SIDE)
            pictures[row] = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))
            labels[row] = np.bincount(classes.ravel(), minlength=256)[wanted] >= _SEEN
    return pictures, labels


def other_town(rng: np.random.Generator) -> list[str]:
    """A form of most kinds; never exactly what a town of the data set has."""
    while True:
        names = [forms[int(rng.integers(len(forms)))] for forms in KINDS.values() if rng.random() < 0.7]
        if set(names) not in [set(features) for features in TOWN_FEATURES.values()]:
            return names
