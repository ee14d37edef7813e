"""Diverged training: the step at which a loss is not finite, the pictures in it, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from citycam.errors import CitycamError
from citycam.files import write_csv

# The table in a run's folder of the pictures of the step at which training diverged, with their losses.
DIVERGED = "diverged.csv"
_LISTED = 3


def divergence_error(
    folder: Path | None,
    pictures: Sequence[str],
    losses: Tensor,
    finite: Tensor,
    *,
    loss: float,
    epoch: int,
    step: int,
    steps: int,
    lr: float,
) -> CitycamError:
    """Return the error for a step whose loss is not finite, and write the pictures of its batch to ``diverged.csv``.

    Args:
        folder: the run's; None if another process writes.
        pictures: names of the batch's pictures (N,).
        losses: of each picture (N,).
        finite: bool (N,), whether all inputs of the picture to the network are finite.
        loss: of the whole batch.
        epoch, step: from 1.
        steps: number of steps in an epoch.
        lr: learning rate.
    """
    if folder is not None:
        rows = [(epoch, step, name, value) for name, value in zip(pictures, losses.tolist(), strict=True)]
        write_csv(folder / DIVERGED, ["epoch", "step", "picture", "loss"], rows)
    where = f"Training has diverged in epoch {epoch}, step {step} of {steps}"
    without_features = _select(pictures, ~finite)
    if without_features:
        return CitycamError(
            f"{where}: the backbone's features of {list_names(without_features)} are not finite; compute them with "
            f"precision=fp32, and look at these pictures (the whole batch is in {DIVERGED}).",
            exit_code=1,
        )
    # A sum can overflow although every picture's loss is finite; then the whole batch is named.
    without_loss = _select(pictures, ~torch.isfinite(losses)) or list(pictures)
    return CitycamError(
        f"{where}: the loss is {loss:g} over {list_names(without_loss)} (the whole batch is in {DIVERGED}); "
        f"try a smaller optimizer.lr (it is {lr:g}).",
        exit_code=1,
    )


def list_names(pictures: Sequence[str]) -> str:
    """Return the first three names, and the number of the others."""
    more = f" and {len(pictures) - _LISTED} more pictures" if len(pictures) > _LISTED else ""
    return ", ".join(pictures[:_LISTED]) + more


def _select(pictures: Sequence[str], mask: Tensor) -> list[str]:
    return [name for name, selected in zip(pictures, mask.tolist(), strict=True) if selected]
