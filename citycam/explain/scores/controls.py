"""The maps beside which those of methods are scored: some that know no class, and each method's own, dealt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from citycam.cells import CellGrid
from citycam.explain.controls import activation_norm, control_maps, dealt
from citycam.explain.evaluation import to_numpy
from citycam.explain.maps import find_blank
from citycam.explain.scores.subject import Drawn

Views = NDArray[np.uint8]
# Those of `citycam.explain.controls` that are made of pictures.
PICTURES = ("random", "centred", "edges")
NORM = "activation_norm"
# Stands before the name of the method.
DEALT = "dealt_"


def class_blind(
    views: Views,
    digests: Sequence[str],
    activations: Tensor,
    cells: CellGrid,
    noisy: Sequence[tuple[Views, Tensor]] = (),
) -> list[Drawn]:
    """Return the maps that know no class. Their map of the runner-up is the map itself.

    Args:
        views: uint8 (N, S, S, 3).
        digests: N, of the pictures.
        activations: (N, C, h, w), whose norm is a map on ``cells``.
        noisy: the same two of noisy copies.
    """
    pixels = CellGrid.even(views.shape[1], views.shape[1])
    plain, *copies = (_class_blind(*one, digests) for one in ((views, activations), *noisy))
    return [
        Drawn(
            name,
            maps,
            cells if name == NORM else pixels,
            find_blank(maps),
            rivals=maps,
            copies=np.stack([copy[name] for copy in copies]) if copies else None,
        )
        for name, maps in plain.items()
    ]


def _class_blind(views: Views, activations: Tensor, digests: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    made = {name: control_maps(name, views, digests) for name in PICTURES}
    return made | {NORM: activation_norm(to_numpy(activations)).astype(np.float32)}


def dealt_maps(drawn: Drawn, cities: Sequence[str], seed: int) -> Drawn:
    """Return the maps of a method, each dealt to another picture of its city: what the usual place of things in the
    city's pictures is worth."""
    places = dealt(cities, seed)
    return Drawn(f"{DEALT}{drawn.name}", drawn.maps[places], drawn.cells, drawn.blank[places])
