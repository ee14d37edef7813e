"""The order of a map's cells or pixels, ties broken by chance, and the masks of its highest and lowest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citycam import seeds


def ranks(maps: NDArray[np.floating], digests: Sequence[str], seed: int) -> Tensor:
    """Return the rank of every cell of maps (B, h, w), int64 (B, h, w): 0 is the highest.

    Equal cells come in a random order of their own picture, the same for all of its maps. So a share of the cells is
    always that share: a threshold would take all equal cells or none of them.

    Args:
        digests: B, of the pictures.
    """
    values = torch.from_numpy(np.ascontiguousarray(maps)).flatten(1)
    chance = torch.from_numpy(
        np.stack([seeds.stream(seed, "ties", digest).permutation(values.shape[1]) for digest in digests])
    )
    order = chance.gather(1, values.gather(1, chance).argsort(dim=1, descending=True, stable=True))
    places = torch.arange(values.shape[1]).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).reshape(maps.shape)


def highest(order: Tensor, share: float) -> Tensor:
    """Return masks bool (B, h, w) of the ``share`` of cells with the highest values; see `ranks`."""
    return order < count(order, share)


def lowest(order: Tensor, share: float) -> Tensor:
    """Return masks bool (B, h, w) of the ``share`` of cells with the lowest values; see `ranks`."""
    return order >= order[0].numel() - count(order, share)


def count(order: Tensor, share: float) -> int:
    """Return how many cells of a map are a ``share`` of it: the nearest whole number, and at least one."""
    return max(1, round(share * order[0].numel()))
