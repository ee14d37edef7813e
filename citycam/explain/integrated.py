"""Integrated gradients along straight paths from blurred copies of the picture itself.

Gradients of activations say what a channel is worth; its cells see the whole picture, so they cannot say where. The
gradient at the picture can, but at the picture alone it is noise. Sundararajan et al. (2017, eq. 1) average it along a
path from a baseline that shows nothing. A blurred copy shows nothing of the things, and, unlike a black picture, is
not itself far from all pictures that the network knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from citycam.cells import blur_matrix, odd
from citycam.explain.evaluation import Array, differentiate, to_numpy
from citycam.explain.targets import Target, target_values

# Widths of the box of each blur, which passes twice, as a share of the picture's side; None: the mean colour.
BASELINES: dict[str, float | None] = {"blur_fine": 11 / 64, "blur": 21 / 64, "blur_coarse": 31 / 64, "mean": None}
# The box that smooths a map twice for the eye and for its highest point, as a share of the side. Twice is
# nearly a Gaussian: its edge weighs less than its middle, so that it may be wider (docs/measured.md).
_SMOOTH = 1 / 13


@dataclass(frozen=True, slots=True)
class Integrated:
    """Integrated gradients of a batch of pictures.

    Attributes:
        raw: float32 (B, S, S), signed: gradient * (picture - baseline), summed over channels, averaged over baselines
            and steps.
        start: float32 (B,), the number explained at the baselines, averaged over them. A map that is complete sums to
            what the picture has more (Sundararajan et al. 2017, proposition 1).
    """

    raw: Array
    start: Array


def integrated_gradients(
    network: Callable[[Tensor], Tensor],
    pictures: Tensor,
    targets: Sequence[Target],
    *,
    baselines: Sequence[str],
    steps: int,
) -> Integrated:
    """Integrate the gradient of a network from baselines made of the pictures themselves to the pictures.

    The integral over each path is a midpoint sum, so that neither end, where nothing is gained, is evaluated.

    Args:
        network: normalised pictures (B, 3, S, S) to logits (B, K), in eval mode and with gradients enabled.
        pictures: (B, 3, S, S).
        targets: B.
        baselines: names in `BASELINES`.
        steps: of each path; ``len(baselines) * steps`` forward and backward passes in all.
    """
    total, start = torch.zeros_like(pictures[:, 0]), torch.zeros_like(pictures[:, 0, 0, 0])
    for name in baselines:
        baseline = blurred(pictures, BASELINES[name])
        difference = pictures - baseline
        for step in range(steps):
            _, _, gradients = differentiate(network, baseline + (step + 0.5) / steps * difference, targets)
            total += (gradients * difference).sum(dim=1)
        with torch.no_grad():
            start += target_values(network(baseline), targets)
    return Integrated(raw=to_numpy(total / (len(baselines) * steps)), start=to_numpy(start / len(baselines)))


def blurred(pictures: Tensor, share: float | None) -> Tensor:
    """Return pictures (B, C, S, S) blurred twice by a box of an odd width near ``share`` of the side, with their edges
    repeated; None: filled with the mean colour of each."""
    if share is None:
        return pictures.mean(dim=(2, 3), keepdim=True).expand_as(pictures)
    widths = [(side, odd(share * side)) for side in pictures.shape[2:]]
    rows, columns = (torch.from_numpy(blur_matrix(side, width)).to(pictures) for side, width in widths)
    return rows @ pictures @ columns.T


def box_of(side: int) -> int:
    """Return the width in pixels of the box that smooths maps of ``side`` pixels twice, as they are shown."""
    return odd(_SMOOTH * side)
