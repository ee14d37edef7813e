"""The small part of a network that maps explain: pool and head, from activations to logits.

The body runs once per picture. Every method, class and contrast then costs only the tail: an explainer takes the tail
as its model and the activations as its input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from citycam.errors import CitycamError

POOL_KINDS = ("mean", "linear", "other")


class Tail(nn.Module):
    """The module ``logits = head(pool(activations))``.

    ``entrance`` is an identity at the activations. It is the target layer for any class of pytorch-grad-cam, including
    those that citycam does not use.

    On a grid that dilation made denser, features and logits stay those of the plain network. The value of the features
    comes from the coarse sub-grid, their gradient from the mean over all cells (a straight-through pool)::

        features = plain + (mean(dense) - mean(dense).detach()),  plain = mean(dense[..., ::k, ::k]).detach()

    Args:
        pool: (B, C, h, w) to (B, D). If it is a method of a module, that module becomes part of the tail.
        head: (B, D) to logits (B, K).
        pool_kind: ``mean`` (over cells), ``linear`` (VGG's fully connected layers count as such) or ``other``.
        plain_stride_step: k, the plain network's stride divided by the stride of the activations; 1 for the plain grid.

    Raises:
        ValueError: the kind is unknown, or k > 1 and the pool is not a mean.
    """

    def __init__(
        self,
        pool: Callable[[Tensor], Tensor],
        head: nn.Module,
        *,
        pool_kind: str,
        plain_stride_step: int = 1,
    ) -> None:
        super().__init__()
        if pool_kind not in POOL_KINDS:
            raise ValueError(f"pool_kind={pool_kind!r} must be one of {', '.join(POOL_KINDS)}")
        if plain_stride_step < 1 or (plain_stride_step > 1 and pool_kind != "mean"):
            raise ValueError(f"plain_stride_step={plain_stride_step} does not fit pool_kind={pool_kind!r}")
        self.entrance = nn.Identity()
        owner = getattr(pool, "__self__", None)
        self.pool_owner = owner if isinstance(owner, nn.Module) else None
        self.pool = pool
        self.head = head
        self.pool_kind = pool_kind
        self.plain_stride_step = plain_stride_step

    def features(self, activations: Tensor) -> Tensor:
        """Return the pooled features (B, D) of the plain network, with the gradient of all cells of ``activations``."""
        pooled = self.pool(activations)
        if self.plain_stride_step == 1:
            return pooled
        plain = self.pool(self.plain_grid(activations)).detach()
        return plain + (pooled - pooled.detach())

    def plain_grid(self, cells: Tensor) -> Tensor:
        """Return those of the cells (..., h, w) that the plain network has too."""
        step = self.plain_stride_step
        return cells[..., ::step, ::step]

    def forward(self, activations: Tensor) -> Tensor:
        """Return the logits (B, K) of activations (B, C, h, w)."""
        logits: Tensor = self.head(self.features(self.entrance(activations)))
        return logits


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module in eval mode, with gradients enabled and autocast off, and restore the mode of each part at the end.

    Gradients are enabled under ``no_grad`` and in inference mode too.
    """
    training = [part for part in module.modules() if part.training]
    device = next((parameter.device.type for parameter in module.parameters()), "cpu")
    try:
        for part in training:
            part.training = False
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
            yield
    finally:
        for part in training:
            part.training = True


def head_bias(head: nn.Module, features: Tensor) -> Tensor:
    """Return the constant term of a piecewise-linear head at these features: b2 + W2 (active * b1), layer by layer.

    It is computed from the head's biases and its active units, never from the logits, so that
    ``logits = J features + bias`` is a real check.

    Args:
        head: Linear, ReLU, Dropout, Identity, or a Sequential of them.
        features: (B, D).

    Returns:
        (B, K).

    Raises:
        CitycamError: the head has another kind of layer.
    """
    value, bias = features, torch.zeros_like(features)
    for layer in _layers(head):
        if isinstance(layer, nn.Linear):
            bias = nn.functional.linear(bias, layer.weight, layer.bias)
        elif isinstance(layer, nn.ReLU):
            bias = bias * (value > 0)
        elif not isinstance(layer, nn.Identity | nn.Dropout):
            raise CitycamError(
                f"CAM reads a head of Linear and ReLU layers, and this one has {type(layer).__name__}; "
                "remove cam from explain.methods, or replace it by hirescam."
            )
        value = layer(value)
    return bias


def _layers(head: nn.Module) -> Iterator[nn.Module]:
    if isinstance(head, nn.Sequential):
        for part in head:
            yield from _layers(part)
    else:
        yield head
