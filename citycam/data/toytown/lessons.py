"""Rendered pictures of other towns with their drawn features as labels, to teach a body what streets are made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from citycam import seeds
from citycam.data.toytown.scene import render
from citycam.data.toytown.street import plan_street
from citycam.data.toytown.towns import CLASS_ID, CLASSES, FEATURES, KINDS, TOWN_FEATURES, WATERMARK

# As many pixels of a feature, in a picture of this side, count as drawn.
_SIDE = 128
_SEEN = 64
_CELLS = 16
_FRAMES = 4
_STRIDE = 3
_DRAWN = len(CLASSES) - 1
assert CLASSES[_DRAWN] == WATERMARK


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
    for row, (picture, classes) in enumerate(_frames(seed, count)):
        pictures[row] = _resized(picture, size)
        labels[row] = np.bincount(classes.ravel(), minlength=len(CLASSES))[wanted] >= _SEEN
    return pictures, labels


def lesson_by_place(seed: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of `lesson`, and where everything in them is drawn.

    Returns:
        pictures uint8 (count, size, size, 3); shares uint8 (count, classes, 16, 16): how much of each cell of a 16 × 16
        grid each class of `towns.CLASSES` (but the watermark) covers, 0 to 255.
    """
    pictures = np.empty((count, size, size, 3), np.uint8)
    shares = np.empty((count, _DRAWN, _CELLS, _CELLS), np.uint8)
    side = _SIDE // _CELLS
    # One histogram over (cell, class) counts all cells at once.
    cell = np.arange(_CELLS).repeat(side)
    offsets = (cell[:, None] * _CELLS + cell[None, :]) * _DRAWN
    for row, (picture, classes) in enumerate(_frames(seed, count)):
        pictures[row] = _resized(picture, size)
        counts = np.bincount((offsets + classes).ravel(), minlength=_CELLS * _CELLS * _DRAWN)
        shares[row] = (counts.reshape(_CELLS, _CELLS, _DRAWN).transpose(2, 0, 1) * 255) // side**2
    return pictures, shares


def other_town(rng: np.random.Generator) -> list[str]:
    """A form of most kinds; never exactly what a town of the data set has."""
    while True:
        names = [forms[int(rng.integers(len(forms)))] for forms in KINDS.values() if rng.random() < 0.6]
        if set(names) not in [set(features) for features in TOWN_FEATURES.values()]:
            return names


def _frames(seed: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """``count`` pictures and label maps: a few frames, well apart, of each of many streets."""
    for start in range(0, count, _FRAMES):
        rng = seeds.stream(seed, "lesson", start // _FRAMES)
        street = plan_street(rng, other_town(rng), _FRAMES * _STRIDE)
        for frame in range(min(_FRAMES, count - start)):
            yield render(street, frame * _STRIDE, _SIDE)


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))
