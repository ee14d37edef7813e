"""Small tails of networks, with activations, for the tests of map methods."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from citycam.explain.methods import METHODS
from citycam.explain.tail import Tail

B, C, H, W, K, COPIES = 5, 6, 4, 3, 3, 4
ALL = sorted(METHODS)
Maps = NDArray[np.float64]


def mean_pool(activations: Tensor) -> Tensor:
    return activations.mean(dim=(2, 3))


class CellPool(nn.Module):
    """A pool whose gradient varies over cells, like VGG's."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(C * H * W, C)
        self.drop = nn.Dropout(0.5)

    def forward(self, activations: Tensor) -> Tensor:
        mixed: Tensor = self.drop(torch.tanh(self.mix(activations.flatten(1))))
        return mixed


def mlp_head(features: int = C) -> nn.Module:
    return nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, K))


def make_tail(pool_kind: str = "mean") -> Tail:
    pool = mean_pool if pool_kind == "mean" else CellPool()
    return Tail(pool, mlp_head(), pool_kind=pool_kind).eval()


def make_activations(seed: int = 1, count: int = B) -> Tensor:
    return torch.relu(torch.randn(count, C, H, W, generator=torch.Generator().manual_seed(seed)))


def make_noisy(activations: Tensor, seed: int = 2) -> Tensor:
    noise = torch.randn(COPIES, *activations.shape, generator=torch.Generator().manual_seed(seed))
    return torch.relu(activations + 0.3 * noise)


def gradient_of(tail: Tail, activations: Tensor, index: int = 0) -> Maps:
    leaf = activations.clone().requires_grad_(True)
    return torch.autograd.grad(tail(leaf)[:, index].sum(), leaf)[0].numpy()
