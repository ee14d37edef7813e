"""How a network lays out what it sees: activations as a grid (B, C, h, w), whatever the network's own order is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from citycam import seeds


@dataclass(frozen=True, slots=True)
class Layout:
    """What one forward says of a network at one image size. ``order``: nchw, nhwc or tokens (``prefix`` of which are no
    patch). ``cells``: (h, w). ``channels``: C of the activations. ``features``: D. ``stride``: pixels per cell."""

    order: str
    prefix: int
    channels: int
    cells: tuple[int, int]
    features: int
    stride: int
    stages: tuple[str, ...]


def to_grid(raw: Tensor, layout: Layout) -> Tensor:
    """Activations (B, C, h, w) of a network's own features."""
    if layout.order == "nchw":
        return raw
    if layout.order == "nhwc":
        return raw.permute(0, 3, 1, 2)
    patches = raw[:, layout.prefix :].transpose(1, 2)
    return patches.reshape(*patches.shape[:2], *layout.cells)


def from_grid(activations: Tensor, layout: Layout, *, prefix: float = 0.0) -> Tensor:
    """The inverse of `to_grid`; tokens that are no patch are filled with ``prefix``: the pool drops them again."""
    if layout.order == "nchw":
        return activations
    if layout.order == "nhwc":
        return activations.permute(0, 2, 3, 1)
    patches = activations.flatten(2).transpose(1, 2)
    filler = patches.new_full((patches.shape[0], layout.prefix, patches.shape[2]), prefix)
    return torch.cat([filler, patches], dim=1)


def pool_kind(pool: Callable[[Tensor], Tensor], layout: Layout, like: Tensor) -> str:
    """Find the kind of a pool by trying it: ``mean`` over cells; else ``linear`` where its second derivative is zero
    (piecewise linear), else ``other``. ``pool`` takes the network's own order; ``like`` gives dtype and device.

    Raises:
        ValueError: the pool reads tokens that are no patch.
    """
    shape = (2, layout.channels, *layout.cells)
    draws = torch.randn((2, *shape), generator=seeds.torch_stream("pool_kind")).to(like.device, like.dtype)
    activations, direction = draws[0].requires_grad_(), draws[1]
    with torch.enable_grad():
        features = pool(from_grid(activations, layout))
        if layout.prefix and not torch.equal(features, pool(from_grid(activations, layout, prefix=1.0))):
            raise ValueError("the pool reads tokens that are no patch")
        if features.shape[1] == shape[1] and torch.allclose(features, activations.mean((2, 3)), atol=1e-5):
            return "mean"
        (gradient,) = torch.autograd.grad(features.sum(), activations, create_graph=True)
        if not gradient.requires_grad:
            return "linear"
        (second,) = torch.autograd.grad((gradient * direction).sum(), activations, allow_unused=True)
    return "linear" if second is None or not second.any() else "other"
