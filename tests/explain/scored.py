"""A small network with pictures and maps, for the tests of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from citycam.cells import CellGrid
from citycam.explain.scores.subject import Drawn, Subject
from citycam.explain.tail import Tail
from citycam.explain.targets import LogitTarget, Target
from tests.explain.tails import B, H, K, W, make_activations, make_tail

SIDE = 16
Maps = NDArray[np.floating]


def make_network() -> nn.Module:
    torch.manual_seed(3)
    layers = (nn.Conv2d(3, 5, 5, padding=2), nn.Tanh(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(80, K))
    return nn.Sequential(*layers).eval()


def make_pictures(count: int = B, side: int = SIDE) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(11))


def make_subject(
    count: int = B,
    *,
    tail: Tail | None = None,
    activations: Tensor | None = None,
    targets: Sequence[Target] | None = None,
    pictures: Tensor | None = None,
    masks: NDArray[np.bool_] | None = None,
) -> Subject:
    """A subject of ``count`` pictures; what is not given is random, and the same every time."""
    batch = make_pictures(count) if pictures is None else pictures
    inputs = make_activations(count=count) if activations is None else activations
    return Subject(
        digests=[f"digest {place}" for place in range(count)],
        tail=tail or make_tail(),
        activations=inputs,
        cells=CellGrid.even(*inputs.shape[2:]),
        targets=targets or [LogitTarget(place % K) for place in range(count)],
        network=make_network(),
        pictures=lambda some: batch[some],
        size=batch.shape[-1],
        masks=masks,
    )


def part(subject: Subject, place: int) -> Subject:
    """The same with one of the pictures."""
    some = slice(place, place + 1)
    batch = subject.pictures(some)
    return Subject(
        digests=subject.digests[some],
        tail=subject.tail,
        activations=subject.activations[some],
        cells=subject.cells,
        targets=subject.targets[some],
        network=subject.network,
        pictures=lambda rows: batch[rows],
        size=subject.size,
        masks=None if subject.masks is None else subject.masks[some],
    )


def drawn(maps: Maps, name: str = "gradcam", **more: Maps) -> Drawn:
    """Maps whose cells divide the picture evenly, none of them blank."""
    blank = np.zeros(len(maps), dtype=bool)
    return Drawn(name, maps.astype(np.float32), CellGrid.even(*maps.shape[1:]), blank, **more)


def random_maps(count: int = B, height: int = H, width: int = W, seed: int = 0) -> Maps:
    return np.random.default_rng(seed).standard_normal((count, height, width)).astype(np.float32)
