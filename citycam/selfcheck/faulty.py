"""Published faults of maps, for reproduction and for this check alone: it has to see that they are faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from citycam.explain.evaluation import Array, evaluate, to_numpy
from citycam.explain.maps import explain
from citycam.explain.methods import METHODS
from citycam.explain.tail import Tail, eval_mode
from citycam.explain.targets import LogitTarget


@dataclass(frozen=True)
class Inputs:
    """What the faulty variants read, for N pictures.

    Attributes:
        activations: (N, C, h, w).
        noisy: see `citycam.explain.evaluation.evaluate`.
        last: (N, C, h, w), activations of the last noisy copy.
        target: the logit that is explained.
    """

    tail: Tail
    activations: Tensor
    noisy: Tensor
    last: Tensor
    target: int


@dataclass(frozen=True)
class Variant:
    """A faulty variant. ``title``: as tables call it. ``right``: the method whose right form it misses. ``maps``: raw
    maps (N, h, w), or None where the network has no such fault."""

    title: str
    right: str
    maps: Callable[[Inputs], Array | None]


def first_linear(inputs: Inputs) -> Array | None:
    """CAM with the rows of the first linear layer of the head: its "class" c is the hidden unit c.

    A head of one layer has no such fault, and where features are not the means of the channels, no such map.
    """
    linear = [layer for layer in inputs.tail.head.modules() if isinstance(layer, nn.Linear)]
    first, channels = linear[0], inputs.activations.shape[1]
    if len(linear) < 2 or inputs.tail.pool_kind != "mean" or first.in_features != channels:
        return None
    with torch.no_grad():
        weights = first.weight[inputs.target].to(inputs.activations)
        return to_numpy(torch.einsum("c,nchw->nhw", weights, inputs.activations))


@dataclass(frozen=True, slots=True)
class _SigmoidTarget:
    """The sigmoid of a logit, whose gradient vanishes where the network is sure."""

    index: int
    words: str = ""

    @property
    def named(self) -> tuple[int, ...]:
        return (self.index,)

    def __call__(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits[self.index])


def sigmoid(inputs: Inputs) -> Array | None:
    """Grad-CAM of the sigmoid of the logit: that of the logit, times a factor that vanishes where it is sure."""
    targets = [_SigmoidTarget(inputs.target)] * len(inputs.activations)
    return explain("gradcam", inputs.tail, inputs.activations, targets).raw


def last_noisy(inputs: Inputs) -> Array | None:
    """Smooth Grad-CAM++ whose weights are painted on the activations of the last noisy copy, not of the picture."""
    targets = [LogitTarget(inputs.target)] * len(inputs.activations)
    evaluation = evaluate(inputs.tail, inputs.activations, targets, noisy=inputs.noisy)
    with eval_mode(inputs.tail):
        weights = METHODS["smoothgradcampp"].formula(evaluation)
    maps: Array = np.einsum("nc,nchw->nhw", weights, to_numpy(inputs.last))
    return maps


FAULTY: dict[str, Variant] = {
    "cam_first_linear": Variant("CAM of the first linear layer (not class-specific)", "cam", first_linear),
    "gradcam_sigmoid": Variant("Grad-CAM of the sigmoid (faulty)", "gradcam", sigmoid),
    "smoothgradcampp_last_noisy": Variant(
        "Smooth Grad-CAM++ on the last noisy copy (faulty)", "smoothgradcampp", last_noisy
    ),
}
