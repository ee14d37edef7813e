"""Is a picture a photograph? Maps, drawings and logos have no shadows, or large areas of one colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from citycam.config import Decoder
from citycam.data.views import open_working, plain_spec

# Pixels a side of the square that is measured: lines of a street map are still dark there.
_SIDE = 256
# Luminance that all but the darkest 5 % of pixels exceed: a photograph without shadows is of fog. (Of 2,555 pictures of
# seven cities from the web 120 exceed this or the share below, most of them maps, drawings and logos.)
_DARKEST, _SHADOWS = 100.0, 0.05
# The share of pixels that equal their right and lower neighbours: clear skies hardly reach it.
_FLAT = 0.4
_LUMINANCE = np.array([0.299, 0.587, 0.114])


def unlike_photograph(path: Path) -> float:
    """Return how little a picture is like a photograph: above 1 for most maps, drawings and logos, and below for nearly
    all photographs, but for fog and for lights at night.

    Raises:
        UnreadablePicture: see `citycam.data.pictures.decode`.
    """
    return measured(open_working(path, plain_spec(_SIDE, Decoder.draft)))


def measured(picture: np.ndarray) -> float:
    """Return the same of a picture, uint8 (H, W, 3)."""
    luminance = picture @ _LUMINANCE
    whole = picture.astype(np.int16)
    right, below = np.abs(np.diff(whole, axis=1))[:-1], np.abs(np.diff(whole, axis=0))[:, :-1]
    flat = float((np.maximum(right, below).max(axis=2) == 0).mean())
    return max(float(np.quantile(luminance, _SHADOWS)) / _DARKEST, flat / _FLAT)
