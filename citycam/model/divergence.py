"""Training that ends in numbers that are none: where it happened, on which pictures, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from citycam.errors import CitycamError
from citycam.files import write_csv

# In a run's folder: the pictures of the step at which training diverged, each with its loss.
DIVERGED = "diverged.csv"
_NAMED = 3


def diverged(
    folder: Path | None,
    pictures: Sequence[str],
    losses: Tensor,
    readable: Tensor,
    *,
    loss: float,
    epoch: int,
    step: int,
    steps: int,
    lr: float,
) -> CitycamError:
    """The error for a step whose loss is not finite; every picture of its batch goes to ``diverged.csv``.

    Args:
        folder: the run's; None where another process writes.
        pictures: names of the batch's (N).
        losses: of each picture, (N,).
        readable: bool (N,), whether the picture's inputs to the network are numbers.
        loss: of the whole batch.
        epoch, step: counted from 1; ``steps``: of an epoch.
    """
    if folder is not None:
        rows = [(epoch, step, name, value) for name, value in zip(pictures, losses.tolist(), strict=True)]
        write_csv(folder / DIVERGED, ["epoch", "step", "picture", "loss"], rows)
    where = f"Training has diverged in epoch {epoch}, step {step} of {steps}"
    unreadable = _chosen(pictures, ~readable)
    if unreadable:
        return CitycamError(
            f"{where}: what the backbone makes of {named(unreadable)} are not numbers; compute it with "
            f"precision=fp32, and look at these pictures (the whole batch is in {DIVERGED}).",
            exit_code=1,
        )
    # A sum can overflow although no picture's own loss does; then it is the whole batch's.
    guilty = _chosen(pictures, ~torch.isfinite(losses)) or list(pictures)
    return CitycamError(
        f"{where}: the loss is {loss:g} over {named(guilty)} (the whole batch is in {DIVERGED}); "
        f"try a smaller optimizer.lr (it is {lr:g}).",
        exit_code=1,
    )


def named(pictures: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(pictures) - _NAMED} more pictures" if len(pictures) > _NAMED else ""
    return ", ".join(pictures[:_NAMED]) + more


def _chosen(pictures: Sequence[str], which: Tensor) -> list[str]:
    return [name for name, chosen in zip(pictures, which.tolist(), strict=True) if chosen]
