"""Batches: an epoch's order, and pictures read as views by threads while the network works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from citycam.config import AugmentConfig
from citycam.data.catalog import Catalog
from citycam.data.pictures import decode
from citycam.data.views import ViewSpec, normalise, render, view_number
from citycam.seeds import stream


class Reader(Protocol):
    """Reads the network's inputs: pictures (B, 3, S, S) here, kept features (B, D) in `citycam.bank`."""

    def __call__(self, indices: np.ndarray, epoch: int) -> Tensor:
        """Inputs of catalog rows ``indices`` (int64 (B,)) in ``epoch``."""
        ...


class PictureReader:
    """Views of pictures, decoded and rendered by ``threads`` threads, normalised float32 (B, 3, S, S)."""

    def __init__(
        self,
        catalog: Catalog,
        spec: ViewSpec,
        augment: AugmentConfig,
        *,
        training: bool,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        threads: int,
    ) -> None:
        self._catalog, self._spec, self._augment, self._training = catalog, spec, augment, training
        self._mean, self._std = mean, std
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="views")

    def __call__(self, indices: np.ndarray, epoch: int) -> Tensor:
        number = view_number(self._augment, epoch, self._training)

        def view(index: int) -> np.ndarray:
            picture = self._catalog.pictures[index]
            return render(decode(self._catalog.path(picture)), self._spec, number, picture.digest)

        batch = np.stack(list(self._pool.map(view, indices.tolist())))
        return normalise(torch.from_numpy(batch), self._mean, self._std)


class EpochLoader:
    """The batches of one epoch as (inputs, labels, indices); what Lightning takes for a dataloader.

    The order of an epoch is a function of (seed, epoch) alone; ``epoch`` is asked when the epoch begins. No workers and
    no collating: one call of the reader a batch, the next batch read while the network works on this one.
    """

    def __init__(
        self,
        reader: Reader,
        indices: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        epoch: Callable[[], int],
        order_seed: int | None,
    ) -> None:
        self._reader, self._indices, self._labels = reader, indices, torch.from_numpy(labels)
        self._batch_size, self._epoch, self._order_seed = batch_size, epoch, order_seed

    def __len__(self) -> int:
        return -(-len(self._indices) // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        epoch = self._epoch()
        order = self._indices
        if self._order_seed is not None:
            order = order[stream(self._order_seed, "order", epoch).permutation(len(order))]
        batches = [order[start : start + self._batch_size] for start in range(0, len(order), self._batch_size)]
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as ahead:
            coming = ahead.submit(self._reader, batches[0], epoch)
            for number, rows in enumerate(batches):
                inputs = coming.result()
                if number + 1 < len(batches):
                    coming = ahead.submit(self._reader, batches[number + 1], epoch)
                indices = torch.from_numpy(rows)
                yield inputs, self._labels[indices], indices


class CityDataModule(pl.LightningDataModule):
    """Train and val batches for `pytorch_lightning.Trainer`.

    Args:
        train_reader, val_reader: where inputs come from.
        train, val: int64 catalog rows of the two parts.
        labels: int64 (N,), in catalog order.
        batch_size: pictures a step.
        seed: names the stream of the epochs' orders.
    """

    def __init__(
        self,
        *,
        train_reader: Reader,
        val_reader: Reader,
        train: np.ndarray,
        val: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._train_reader, self._val_reader = train_reader, val_reader
        self._train, self._val, self._labels = train, val, labels
        self._batch_size, self._seed = batch_size, seed

    def train_dataloader(self) -> EpochLoader:
        """Shuffled batches of the training part."""
        return self._loader(self._train_reader, self._train, self._seed)

    def val_dataloader(self) -> EpochLoader:
        """Batches of the validation part, in catalog order."""
        return self._loader(self._val_reader, self._val, None)

    def _loader(self, reader: Reader, rows: np.ndarray, order_seed: int | None) -> EpochLoader:
        return EpochLoader(
            reader,
            rows,
            self._labels,
            batch_size=self._batch_size,
            epoch=lambda: self.trainer.current_epoch if self.trainer is not None else 0,
            order_seed=order_seed,
        )
