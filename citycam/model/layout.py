"""The layout of activations: conversion between a network's own order and a grid (B, C, h, w), and kinds of pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from citycam import seeds


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a network's activations at one image size.

    Attributes:
        order: ``nchw``, ``nhwc`` or ``tokens``.
        prefix: number of tokens before those of patches.
        channels: C.
        cells: (h, w).
        features: D.
        stride: pixels per cell.
        centre: of the first cell, in pixels from the upper and the left edge (see `citycam.model.centres`); None if the
            layers do not tell.
        stages: names, from input to output.
    """

    order: str
    prefix: int
    channels: int
    cells: tuple[int, int]
    features: int
    stride: int
    centre: float | None
    stages: tuple[str, ...]


class Ordered(Protocol):
    """What has the order of activations; see `Layout`."""

    @property
    def order(self) -> str: ...
    @property
    def prefix(self) -> int: ...
    @property
    def cells(self) -> tuple[int, int]: ...


def to_grid(raw: Tensor, layout: Ordered) -> Tensor:
    """Return activations in a network's own order as (B, C, h, w)."""
    if layout.order == "nchw":
        return raw
    if layout.order == "nhwc":
        return raw.permute(0, 3, 1, 2)
    patches = raw[:, layout.prefix :].transpose(1, 2)
    return patches.reshape(*patches.shape[:2], *layout.cells)


def from_grid(activations: Tensor, layout: Layout, *, prefix: float = 0.0) -> Tensor:
    """Return the inverse of `to_grid`; tokens that the pool drops have the value ``prefix``."""
    if layout.order == "nchw":
        return activations
    if layout.order == "nhwc":
        return activations.permute(0, 2, 3, 1)
    patches = activations.flatten(2).transpose(1, 2)
    filler = patches.new_full((patches.shape[0], layout.prefix, patches.shape[2]), prefix)
    return torch.cat([filler, patches], dim=1)


def pool_kind(pool: Callable[[Tensor], Tensor], layout: Layout, like: Tensor) -> str:
    """Return the kind of a pool, found by evaluating it.

    The kind is ``mean`` if the pool is the mean over cells, else ``linear`` if its second derivative is zero (piecewise
    linear), else ``other``.

    Args:
        pool: takes activations in the network's own order.
        layout: of the activations.
        like: a tensor with the dtype and the device to compute with.

    Raises:
        ValueError: the pool reads tokens that are not of patches.
    """
    shape = (2, layout.channels, *layout.cells)
    draws = torch.randn((2, *shape), generator=seeds.torch_stream("pool_kind")).to(like.device, like.dtype)
    activations, direction = draws[0].requires_grad_(), draws[1]
    with torch.enable_grad():
        features = pool(from_grid(activations, layout))
        if layout.prefix and not torch.equal(features, pool(from_grid(activations, layout, prefix=1.0))):
            raise ValueError("the pool reads tokens that are not of patches")
        if features.shape[1] == shape[1] and torch.allclose(features, activations.mean((2, 3)), atol=1e-5):
            return "mean"
        (gradient,) = torch.autograd.grad(features.sum(), activations, create_graph=True)
        if not gradient.requires_grad:
            return "linear"
        (second,) = torch.autograd.grad((gradient * direction).sum(), activations, allow_unused=True)
    return "linear" if second is None or not second.any() else "other"
