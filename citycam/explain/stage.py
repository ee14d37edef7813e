"""Evaluation of an earlier stage: its activations, and the gradients of what is explained with respect to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from citycam.explain.evaluation import Evaluation, to_numpy
from citycam.explain.tail import Tail
from citycam.explain.targets import Target, target_values
from citycam.model.stage_grid import StageGrid


def evaluate_stage(
    network: Callable[[Tensor], Tensor],
    module: nn.Module,
    grid: StageGrid,
    pictures: Tensor,
    targets: Sequence[Target],
    tail: Tail,
) -> Evaluation:
    """Pass pictures through a network, and differentiate what is explained at the output of one of its stages.

    Args:
        network: normalised pictures (B, 3, S, S) to logits (B, K), in eval mode and with gradients enabled.
        module: the one in it whose output is that of the stage.
        grid: of the stage.
        pictures: (B, 3, S, S).
        targets: B.
        tail: of the network, for the formulas that ask for it.
    """
    kept: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        # What lies before needs no gradient. The copy is for layers that work in place, which a leaf refuses.
        kept.append(output.detach().requires_grad_(True))
        return kept[0] * 1

    handle = module.register_forward_hook(cut)
    try:
        logits = network(pictures)
    finally:
        handle.remove()
    explained = target_values(logits, targets)
    (gradients,) = torch.autograd.grad(explained.sum(), kept[0])
    leaf = grid.from_network(kept[0].detach())
    return Evaluation(
        tail=tail,
        targets=targets,
        leaf=leaf,
        activations=to_numpy(leaf),
        logits=to_numpy(logits),
        explained=to_numpy(explained),
        gradients=to_numpy(grid.from_network(gradients)),
        noisy=None,
    )
