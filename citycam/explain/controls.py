"""Maps that know no class: what any method has to beat before its maps say anything of a network.

A map that points at a red disc may do so because the network uses the disc, or because the disc is red. The controls
here never see the head, so they cannot tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from citycam import seeds
from citycam.cells import smoothed
from citycam.explain.integrated import BASELINES, blurred, box_of

Array = NDArray[np.floating]
# Standard deviation of the bump, as a share of the side.
_CENTRED = 1 / 4
_GREY = np.array([0.299, 0.587, 0.114])


# From views, float64 (B, S, S, 3) in 0..1, and the pictures' digests, to maps (B, S, S), not smoothed.
Formula = Callable[[Array, Sequence[str]], Array]
CONTROLS: dict[str, Formula] = {}


def control(name: str) -> Callable[[Formula], Formula]:
    """Register a formula as a control."""

    def register(formula: Formula) -> Formula:
        CONTROLS[name] = formula
        return formula

    return register


def control_maps(name: str, views: NDArray[np.uint8], digests: Sequence[str]) -> NDArray[np.float32]:
    """Return a control's maps of views, float32 (N, S, S), smoothed like those of ``integrated``.

    Args:
        name: in `CONTROLS`.
        views: uint8 (N, S, S, 3).
        digests: N, of the pictures: the seed of what is random.
    """
    maps = CONTROLS[name](views / 255, digests)
    return smoothed(maps, box_of(views.shape[1])).astype(np.float32)


def activation_norm(activations: Array) -> Array:
    """Return the norm over channels of activations (N, C, h, w) at each cell, (N, h, w)."""
    norms: Array = np.sqrt(np.square(activations.astype(np.float64)).sum(axis=1))
    return norms


def dealt(groups: Sequence[str], seed: int) -> NDArray[np.intp]:
    """Return for each of N pictures another one of its own group, whose map it is dealt, int (N,).

    Within a group of n pictures it is a shift by a random number from 1 to n - 1 of a random order, so that every
    picture's map is dealt once; the only picture of a group gets its own.
    """
    names, places = np.asarray(groups), np.arange(len(groups))
    for name in dict.fromkeys(groups):
        own = np.flatnonzero(names == name)
        if len(own) > 1:
            random = seeds.stream(seed, "dealt", str(name))
            order = random.permutation(own)
            places[order] = np.roll(order, int(random.integers(1, len(own))))
    return places


@control("blur_difference")
def _blur_difference(views: Array, _digests: Sequence[str]) -> Array:
    """|picture - blurred picture|, summed over channels: integrated gradients of a network that is flat."""
    pictures = torch.from_numpy(views).permute(0, 3, 1, 2)
    return (pictures - blurred(pictures, BASELINES["blur"])).abs().sum(dim=1).numpy()


@control("edges")
def _edges(views: Array, _digests: Sequence[str]) -> Array:
    """The magnitude of the Sobel gradient of the grey picture."""
    grey = views @ _GREY
    # scipy's own sobel would smooth over the pictures of a batch too.
    down, across = (
        ndimage.correlate1d(
            ndimage.correlate1d(grey, [-1, 0, 1], axis=axis, mode="nearest"), [1, 2, 1], axis=3 - axis, mode="nearest"
        )
        for axis in (1, 2)
    )
    magnitudes: Array = np.hypot(down, across)
    return magnitudes


@control("saturation")
def _saturation(views: Array, _digests: Sequence[str]) -> Array:
    """The largest less the smallest of the three colours: how far a pixel is from grey."""
    distances: Array = views.max(axis=3) - views.min(axis=3)
    return distances


@control("centred")
def _centred(views: Array, _digests: Sequence[str]) -> Array:
    """A bump in the middle of the picture."""
    side = views.shape[1]
    place = (np.arange(side) + 0.5) / side - 0.5
    bump = np.exp(-(place[:, None] ** 2 + place[None, :] ** 2) / (2 * _CENTRED**2))
    return np.broadcast_to(bump, (len(views), side, side))


@control("random")
def _random(views: Array, digests: Sequence[str]) -> Array:
    """Noise of its own for each picture."""
    side = views.shape[1]
    return np.stack([seeds.stream(0, "random map", digest).random((side, side)) for digest in digests])
