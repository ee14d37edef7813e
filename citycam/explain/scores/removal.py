"""Cells taken out of the activations, exactly: only the tail is evaluated, so these scores cost next to nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citycam.explain.evaluation import move_to, to_numpy
from citycam.explain.scores.ranks import highest, ranks
from citycam.explain.scores.registry import HIGHER, score
from citycam.explain.scores.shape import correlation
from citycam.explain.scores.subject import Drawn, Subject
from citycam.explain.tail import Tail, eval_mode
from citycam.explain.targets import Target, target_values

Array = NDArray[np.floating]
# The share of the cells that is taken out at once.
SHARE = 0.2
# Values of activations in memory at a time.
_AT_ONCE = 2**25


@score(
    "removal",
    "loss without the highest cells",
    better=HIGHER,
    needs="tail",
    hides="A cell of the last layer sees far beyond its place, so the right cell need not show the right place.",
)
def removal(subject: Subject, drawn: Drawn) -> Array:
    """The loss (N,) of the number explained without the highest fifth of the map's cells, which are set to zero."""
    order = ranks(drawn.on_cells(subject.cells, subject.size), subject.digests, subject.seed)
    masks = highest(order, SHARE).flatten(1)[:, None]
    return without_cells(subject, masks)[:, 0]


@score(
    "removal_order",
    "agreement with the loss of each cell",
    better=HIGHER,
    needs="tail",
    hides="Only cells of the last layer are compared, one at a time; CAM behind a linear head agrees by construction.",
)
def removal_order(subject: Subject, drawn: Drawn) -> Array:
    """The correlation (N,) over cells of the map with the loss of the number explained without each cell."""
    maps = drawn.on_cells(subject.cells, subject.size).reshape(len(subject), -1)
    if "each cell" not in subject.kept:
        single = torch.eye(maps.shape[1], dtype=torch.bool).expand(len(subject), -1, -1)
        subject.kept["each cell"] = without_cells(subject, single)
    return correlation(maps, subject.kept["each cell"])


def without_cells(subject: Subject, masks: Tensor) -> Array:
    """Return what the number explained loses if cells of the activations are set to zero, float64 (N, M).

    Args:
        masks: bool (N, M, h * w), M sets of cells for each picture.
    """
    tail, cells = subject.tail, masks.shape[2]
    step = max(1, _AT_ONCE // (masks.shape[1] * subject.activations.shape[1] * cells))
    losses = []
    with eval_mode(tail), torch.no_grad():
        for start in range(0, len(subject), step):
            some = slice(start, start + step)
            activations = move_to(tail, subject.activations[some])
            losses.append(_losses(tail, activations, masks[some].to(activations), subject.targets[some]))
    return np.concatenate(losses)


def _losses(tail: Tail, activations: Tensor, masks: Tensor, targets: Sequence[Target]) -> Array:
    full = target_values(tail(activations), targets)
    if tail.pool_kind == "mean":
        # What a cell adds to a mean is known without taking it out. On a denser grid than the network's own, this is
        # the cell's share in the mean that the maps explain.
        taken = torch.einsum("bmp,bcp->bmc", masks, activations.flatten(2)) / masks.shape[2]
        left = tail.head((tail.features(activations)[:, None] - taken).flatten(0, 1))
    else:
        kept = (1 - masks).reshape(*masks.shape[:2], 1, *activations.shape[2:])
        left = tail((activations[:, None] * kept).flatten(0, 1))
    repeated = [target for target in targets for _ in range(masks.shape[1])]
    without = target_values(left, repeated).reshape(masks.shape[:2])
    return to_numpy(full[:, None].double() - without.double())
