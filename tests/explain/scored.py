"""A small network with pictures and maps, for the tests of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from citycam.cells import CellGrid
from citycam.explain.effects import Stripped
from citycam.explain.scores.subject import Causes, Drawn, Subject
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
    causes: Causes | None = None,
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
        causes=causes,
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
        causes=None if subject.causes is None else _causes_of(subject.causes, place),
    )


def make_causes(count: int = B) -> Causes:
    """Two features in each picture, one beside the other, the second with twice the effect of the first."""
    changed = np.zeros((count, 2, SIDE, SIDE), dtype=np.float32)
    changed[:, 0, :5, :3] = changed[:, 1, :5, 3:7] = 1
    stripped = Stripped(
        names=tuple(f"picture {place}" for place in range(count)),
        place=np.repeat(np.arange(count), 2),
        features=("roof", "sign") * count,
        views=np.zeros((2 * count, SIDE, SIDE, 3), dtype=np.uint8),
        changed=changed.reshape(-1, SIDE, SIDE),
    )
    return Causes(stripped, np.tile([2.0, 4.0], count))


def _causes_of(causes: Causes, place: int) -> Causes:
    its = causes.stripped
    own = its.place == place
    features = tuple(feature for feature, is_own in zip(its.features, own, strict=True) if is_own)
    stripped = Stripped(
        (its.names[place],), np.zeros(own.sum(), dtype=np.int64), features, its.views[own], its.changed[own]
    )
    return Causes(stripped, causes.effects[own])


def drawn(maps: Maps, name: str = "gradcam", **more: Maps) -> Drawn:
    """Maps whose cells divide the picture evenly, none of them blank."""
    blank = np.zeros(len(maps), dtype=bool)
    return Drawn(name, maps.astype(np.float32), CellGrid.even(*maps.shape[1:]), blank, **more)


def random_maps(count: int = B, height: int = H, width: int = W, seed: int = 0) -> Maps:
    return np.random.default_rng(seed).standard_normal((count, height, width)).astype(np.float32)
