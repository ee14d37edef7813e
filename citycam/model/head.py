"""Heads: features (B, D) to logits (B, K), without sigmoid or softmax, since losses and maps need logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from citycam import seeds
from citycam.config import HeadConfig


def make_head(config: HeadConfig, features: int, logits: int, seed: int) -> nn.Module:
    """Return the head that ``config`` names, with initial weights that depend on ``seed`` alone.

    Weights and biases have the distribution of torch's own Linear, uniform within ±1/√fan_in.
    """
    return HEADS[config.kind](config, features, logits, seeds.torch_stream(seed, "head"))


def _mlp(config: HeadConfig, features: int, logits: int, generator: torch.Generator) -> nn.Module:
    return nn.Sequential(
        _linear(features, config.hidden, generator), nn.ReLU(), _linear(config.hidden, logits, generator)
    )


def _single(_config: HeadConfig, features: int, logits: int, generator: torch.Generator) -> nn.Module:
    return _linear(features, logits, generator)


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    # Without skip_init a Linear would draw from torch's global generator.
    linear: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    bound = inputs**-0.5
    with torch.no_grad():
        linear.weight.uniform_(-bound, bound, generator=generator)
        linear.bias.uniform_(-bound, bound, generator=generator)
    return linear


HEADS: dict[str, Callable[[HeadConfig, int, int, torch.Generator], nn.Module]] = {"mlp": _mlp, "linear": _single}
