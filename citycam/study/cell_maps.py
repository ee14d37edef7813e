"""The maps that elements are found on: integrated gradients of every picture's own city, kept on disk by content."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from citycam import progress
from citycam.cells import smoothed
from citycam.explain.tail import eval_mode
from citycam.explain.targets import Contrast, target_values
from citycam.explain.whole import WHOLE_METHODS, Whole, make_whole_maps, seconds_of
from citycam.files import cache_root
from citycam.shards import ShardStore
from citycam.study.subject import Pictures, Subject
from citycam.words import counted, duration, say

Array = NDArray[np.float32]
# Cells along a side of a map; peaks are cells.
CELLS = 16
METHOD = "integrated"
# Pictures whose maps are written together. A killed study makes at most so many again, and always the same together,
# since other batches may round differently.
_BLOCK = 64
# Counts up with every change of the numbers.
_RECIPE = 1


def cell_maps(subject: Subject, some: Pictures) -> Array:
    """Return the maps (N, 16, 16) of the contrast of each picture's own city: smoothed as they are shown, and averaged
    over cells. Those that are not kept yet are made, and how long that takes is said first.

    Raises:
        CitycamError: the network cannot be differentiated, or the cache cannot be written.
    """
    store = ShardStore(_key(subject), cache_root() / "study")
    store.refresh()
    rows = list(zip(some.digests, some.cities.tolist(), strict=True))
    blocks = [slice(start, min(start + _BLOCK, len(rows))) for start in range(0, len(rows), _BLOCK)]
    missing = [block for block in blocks if len(store.missing(rows[block]))]
    if missing:
        count = counted(sum(map(_length, missing)), "picture")
        say(f"maps of {count}: about {duration(_seconds(subject, some, missing))}")
    with progress.bar("maps", len(rows)) as advance:
        for block in blocks:
            if block in missing:
                store.add(rows[block], _made(subject, some, block))
            advance(_length(block))
    return store.read(store.places(rows))


def _made(subject: Subject, some: Pictures, block: slice) -> Array:
    whole = _whole(subject, some, block)
    with eval_mode(subject.network):
        raw = make_whole_maps(METHOD, whole).raw
    maps = smoothed(raw, WHOLE_METHODS[METHOD].box(subject.side))
    return to_cells(maps).astype(np.float32)


def to_cells(maps: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return maps (N, S, S) averaged over `CELLS` x `CELLS` cells; S is at least that, and need not be a multiple."""
    side = maps.shape[1]
    means = np.zeros((CELLS, side))
    edges = np.linspace(0, side, CELLS + 1)
    for cell in range(CELLS):
        pixels = np.arange(side)
        means[cell] = np.clip(np.minimum(edges[cell + 1], pixels + 1) - np.maximum(edges[cell], pixels), 0, None)
    means /= means.sum(axis=1, keepdims=True)
    cells: NDArray[np.floating] = means @ maps @ means.T
    return cells


def _whole(subject: Subject, some: Pictures, block: slice) -> Whole:
    targets = [Contrast(int(city)) for city in some.cities[block]]
    pictures = subject.pictures(some, block)
    return Whole(
        network=subject.network,
        pictures=lambda chosen: pictures[chosen],
        size=subject.side,
        targets=targets,
        explained=contrasts(subject, pictures, some.cities[block]).astype(np.float32),
        settings=subject.run.config.explain,
    )


@torch.no_grad()
def contrasts(subject: Subject, pictures: torch.Tensor, cities: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the logit of the own city of normalised pictures (B, 3, S, S), less the mean of the others, (B,)."""
    targets = [Contrast(int(city)) for city in cities]
    values: NDArray[np.float64] = target_values(subject.network(pictures), targets).double().cpu().numpy()
    return values


def _seconds(subject: Subject, some: Pictures, missing: Sequence[slice]) -> float:
    with eval_mode(subject.network):
        one = seconds_of([METHOD], _whole(subject, some, slice(0, min(8, len(some)))))
    return one / min(8, len(some)) * sum(map(_length, missing))


def _length(block: slice) -> int:
    return int(block.stop - block.start)


def _key(subject: Subject) -> dict[str, object]:
    explain, body = subject.run.config.explain, subject.run.config.backbone.name
    return {
        "what": "study maps",
        "recipe": _RECIPE,
        "backbone": body,
        "weights": list(subject.weights),
        "view": subject.run.inputs.plain_spec.key(),
        "baselines": list(explain.baselines),
        "steps": explain.steps,
        "cities": list(subject.cities),
        "device": torch.device(subject.run.resolved.device).type,
        "box": WHOLE_METHODS[METHOD].box(subject.side),
        "cells": CELLS,
    }
