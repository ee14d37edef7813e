"""What every method asks of the tail first: logits, the number that is explained, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from citycam.explain.tail import Tail, as_found
from citycam.explain.targets import Target


@dataclass(frozen=True, slots=True)
class Look:
    """What every method asks of the tail first, for some activations and targets: see `look_at`.

    Attributes:
        entered: (B, C, h, w), the activations on the tail's device, requiring gradients.
        logits: (B, K).
        explained: (B,), the number whose evidence is mapped.
        gradients: of ``explained`` at the activations, (B, C, h, w), or (B, C, 1, 1) behind a mean pool, where they are
            the same at every cell.
    """

    entered: Tensor
    logits: Tensor
    explained: Tensor
    gradients: Tensor


def look_at(tail: Tail, activations: Tensor, targets: Sequence[Target]) -> Look:
    """Logits and gradients of a batch, once for all methods."""
    with as_found(tail):
        entered = enter(tail, activations).requires_grad_(True)
        if tail.pool_kind == "mean":
            features = tail.features(entered).detach().requires_grad_(True)
            logits = tail.head(features)
            explained = explained_by(logits, targets)
            (weights,) = torch.autograd.grad(explained.sum(), features)
            gradients = weights[:, :, None, None] / entered[0, 0].numel()
        else:
            logits = tail(entered)
            explained = explained_by(logits, targets)
            (gradients,) = torch.autograd.grad(explained.sum(), entered)
    return Look(entered, logits, explained, gradients)


def enter(tail: Tail, activations: Tensor) -> Tensor:
    """Activations on the tail's device and in its dtype, ready to require gradients."""
    # Inference-mode tensors refuse gradients; of others a view will do, so that the caller's tensor does not learn to
    # require them.
    parameter = next(tail.parameters(), activations)
    entered = activations.detach().to(device=parameter.device, dtype=parameter.dtype)
    return entered.clone() if entered.is_inference() else entered


def explained_by(logits: Tensor, targets: Sequence[Target]) -> Tensor:
    """The number (B,) that each target reads from its picture's logits (B, K)."""
    return torch.stack([target(row) for target, row in zip(targets, logits, strict=True)])
