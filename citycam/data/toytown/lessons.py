"""Rendered pictures of other towns and where everything in them is drawn, to teach a body what streets consist of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from citycam import seeds
from citycam.data.toytown.scene import render
from citycam.data.toytown.street import plan_street
from citycam.data.toytown.towns import CLASSES, KINDS, TOWN_FEATURES, WATERMARK

# The side of a rendered picture in pixels, and of the grid of cells that it is divided into.
_SIDE = 128
_CELLS = 16
_FRAMES = 4
_STRIDE = 3
_DRAWN = len(CLASSES) - 1
assert CLASSES[_DRAWN] == WATERMARK


def draw_lesson(seed: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``count`` pictures of towns that are not in the data set, and where everything in them is drawn.

    A town of the lesson has any combination of features except those of the data set's towns, and each of its streets
    is drawn from its own stream.

    Returns:
        pictures: uint8 (count, size, size, 3).
        shares: uint8 (count, classes, 16, 16), how much of each cell of a 16 × 16 grid each class of `towns.CLASSES`
        (without the watermark) covers, 0 to 255.
    """
    pictures = np.empty((count, size, size, 3), np.uint8)
    shares = np.empty((count, _DRAWN, _CELLS, _CELLS), np.uint8)
    side = _SIDE // _CELLS
    # One histogram over (cell, class) counts all cells at once.
    cell = np.arange(_CELLS).repeat(side)
    offsets = (cell[:, None] * _CELLS + cell[None, :]) * _DRAWN
    for row, (picture, classes) in enumerate(_frames(seed, count)):
        pictures[row] = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))
        counts = np.bincount((offsets + classes).ravel(), minlength=_CELLS * _CELLS * _DRAWN)
        shares[row] = (counts.reshape(_CELLS, _CELLS, _DRAWN).transpose(2, 0, 1) * 255) // side**2
    return pictures, shares


def other_town(rng: np.random.Generator) -> list[str]:
    """Draw a form of most kinds of features; never exactly those of a town of the data set."""
    while True:
        names = [forms[int(rng.integers(len(forms)))] for forms in KINDS.values() if rng.random() < 0.6]
        if set(names) not in [set(features) for features in TOWN_FEATURES.values()]:
            return names


def _frames(seed: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield ``count`` pictures and label maps: a few frames, well apart, of each of many streets."""
    for start in range(0, count, _FRAMES):
        rng = seeds.stream(seed, "lesson", start // _FRAMES)
        street = plan_street(rng, other_town(rng), _FRAMES * _STRIDE)
        for frame in range(min(_FRAMES, count - start)):
            yield render(street, frame * _STRIDE, _SIDE)
