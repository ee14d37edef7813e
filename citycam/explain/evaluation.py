"""The evaluation of a tail that all methods share: logits, the number explained, and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citycam.errors import CitycamError
from citycam.explain.tail import Tail, eval_mode
from citycam.explain.targets import Target, target_values

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluation of a tail at a batch of activations: everything that the formula of a method reads.

    Attributes:
        tail: what is explained.
        targets: B, one per picture.
        leaf: (B, C, h, w), the activations on the tail's device and in its dtype, requiring gradients.
        activations: the same as an array.
        logits: (B, K).
        explained: (B,), the number whose evidence is mapped.
        gradients: of ``explained`` with respect to the activations, (B, C, h, w), or (B, C, 1, 1) behind a mean pool,
            where every cell has the same gradient.
        noisy: (n, B, C, h', w'), activations of n noisy copies of each picture, or None.
    """

    tail: Tail
    targets: Sequence[Target]
    leaf: Tensor
    activations: Array
    logits: Array
    explained: Array
    gradients: Array
    noisy: Tensor | None


def evaluate(tail: Tail, activations: Tensor, targets: Sequence[Target], *, noisy: Tensor | None = None) -> Evaluation:
    """Evaluate the tail and differentiate it, once for all methods.

    Args:
        activations: (B, C, h, w), the output of the body; moved to the tail's device and dtype.
        targets: B.
        noisy: activations (n, B, C, h', w') of n noisy copies of each picture. Behind a mean pool they may be of the
            plain grid, or already averaged over cells (h' = w' = 1): the gradient is the same.

    Raises:
        ValueError: targets or shapes do not fit the activations.
    """
    if activations.ndim != 4:
        raise ValueError(f"activations must be (B, C, h, w), got {tuple(activations.shape)}")
    if len(targets) != len(activations):
        raise ValueError(f"{len(targets)} targets for {len(activations)} pictures")
    with eval_mode(tail):
        leaf = move_to(tail, activations).requires_grad_(True)
        if tail.pool_kind == "mean":
            logits, explained, weights = differentiate(tail.head, tail.features(leaf), targets)
            gradients = weights[:, :, None, None] / leaf[0, 0].numel()
        else:
            logits, explained, gradients = differentiate(tail, leaf, targets)
    return Evaluation(
        tail=tail,
        targets=targets,
        leaf=leaf,
        activations=to_numpy(leaf),
        logits=to_numpy(logits),
        explained=to_numpy(explained),
        gradients=to_numpy(gradients),
        noisy=noisy,
    )


def noisy_gradients(evaluation: Evaluation) -> Array:
    """Return the gradients at the noisy copies, (n, B, C, h, w), or (n, B, C, 1, 1) behind a mean pool.

    Raises:
        ValueError: there are no noisy copies, or their shape does not fit the activations.
    """
    tail, clean, noisy = evaluation.tail, evaluation.leaf, evaluation.noisy
    if noisy is None or noisy.ndim != 5 or noisy.shape[1:3] != clean.shape[:2]:
        got = None if noisy is None else tuple(noisy.shape)
        raise ValueError(f"the method needs noisy (n, {len(clean)}, {clean.shape[1]}, h, w), got {got}")
    copies = move_to(tail, noisy.flatten(0, 1))
    targets = list(evaluation.targets) * len(noisy)
    if tail.pool_kind == "mean":
        pool = tail.features if copies.shape[2:] == clean.shape[2:] else tail.pool
        _, _, gradients = differentiate(tail.head, pool(copies), targets)
        gradients = gradients[:, :, None, None] / clean[0, 0].numel()
    else:
        _, _, gradients = differentiate(tail, copies, targets)
    return to_numpy(gradients).reshape(len(noisy), len(clean), *gradients.shape[1:])


def differentiate(
    function: Callable[[Tensor], Tensor], inputs: Tensor, targets: Sequence[Target]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a function's logits (B, K), the numbers explained (B,), and their gradients at the inputs (B, ...).

    Raises:
        CitycamError: the function cannot be differentiated.
    """
    leaf = inputs.detach().requires_grad_(True)
    logits = function(leaf)
    explained = target_values(logits, targets)
    if not explained.requires_grad:
        raise CitycamError(
            "This network cannot be differentiated, and only explain.methods=[occlusion] needs no gradient; take that, "
            "or explain=none."
        )
    (gradients,) = torch.autograd.grad(explained.sum(), leaf)
    return logits, explained, gradients


def move_to(tail: Tail, activations: Tensor) -> Tensor:
    """Return the activations, detached, on the tail's device and in its dtype."""
    # Inference-mode tensors refuse gradients and are copied. Others are shared: the detached tensor may require
    # gradients without the caller's doing so.
    parameter = next(tail.parameters(), activations)
    moved = activations.detach().to(device=parameter.device, dtype=parameter.dtype)
    return moved.clone() if moved.is_inference() else moved


def to_numpy(tensor: Tensor) -> Array:
    """Return a tensor's values as an array."""
    array: Array = tensor.detach().cpu().numpy()
    return array
