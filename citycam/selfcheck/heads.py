"""Heads on planted pictures, trained as the settings of a run say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from citycam.config import Config
from citycam.data.datamodule import EpochLoader
from citycam.data.inputs import PlannedRun
from citycam.errors import CitycamError
from citycam.model import metrics
from citycam.model.head import make_head
from citycam.model.optimizers import make_optimizer, make_schedule

# Batches that are read at once.
_BATCHES = 16


def train_head(run: PlannedRun, features: np.ndarray, device: torch.device) -> nn.Module:
    """Return a head, trained by the run's optimizer, epochs, batch size, class weights and seed.

    On equal features it is the head that a run of the program gets, which shows its pictures in the same order.

    Args:
        features: (N, D) of ``run.inputs.train``.

    Raises:
        CitycamError: training diverges.
    """
    config, inputs = run.config, run.inputs
    head = make_head(config.head, features.shape[1], inputs.labels.n_logits, config.seed).to(device)
    optimizer = make_optimizer(config.optimizer, head.parameters())
    schedule = make_schedule(config.optimizer, optimizer)
    weights = None if inputs.weights is None else torch.from_numpy(inputs.weights).to(device)
    with _one_thread():
        for epoch in range(config.epochs):
            for batch, labels in _batches(run, features, epoch):
                logits = head(batch.to(device))
                loss = metrics.loss(logits, labels.to(device), config.partition.name, weights)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            _check(loss, config, epoch)
            if schedule is not None:
                schedule.step()
    return head.requires_grad_(False).eval()


def _batches(run: PlannedRun, features: np.ndarray, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield features and labels of an epoch, batch by batch, in the order of the program's own loader."""
    inputs, config = run.inputs, run.config
    place_of = np.zeros(len(inputs.catalog.pictures), dtype=np.int64)
    place_of[inputs.train] = np.arange(len(inputs.train))
    loader = EpochLoader(
        lambda rows, _epoch: torch.from_numpy(features[place_of[rows]]),
        inputs.train,
        inputs.labels.values,
        batch=config.batch_size,
        chunk=config.batch_size * _BATCHES,
        epoch=lambda: epoch,
        order_seed=config.seed,
    )
    for read, labels, _indices, _places in loader:
        yield from zip(torch.split(read, config.batch_size), torch.split(labels, config.batch_size), strict=True)


def _check(loss: Tensor, config: Config, epoch: int) -> None:
    if not bool(torch.isfinite(loss)):
        raise CitycamError(
            f"Training the head on planted pictures has diverged by the end of epoch {epoch + 1}; try a smaller "
            f"optimizer.lr (it is {config.optimizer.lr:g}).",
            exit_code=1,
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, as the program does for a head alone: its matrices are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
