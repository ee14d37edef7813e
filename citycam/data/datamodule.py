"""What training reads: the order of an epoch, and views of pictures, read by threads while the network works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from citycam.config import AugmentConfig
from citycam.data.cache import PictureCache
from citycam.data.catalog import Catalog
from citycam.data.views import ViewSpec, normalise, open_working, view_number, views
from citycam.seeds import stream


class Reader(Protocol):
    """A function that reads the network's inputs: pictures (B, 3, S, S) here, features (B, D) in `citycam.bank`."""

    def __call__(self, indices: np.ndarray, epoch: int) -> Tensor:
        """Return the inputs of the catalog rows ``indices``, int64 (B,), in ``epoch``."""
        ...


class PictureReader:
    """The reader of views, decoded and rendered by ``threads`` threads, normalised float32 (B, 3, S, S).

    Args:
        catalog: all pictures.
        spec: the settings of the views.
        augment: decides the number of the view in each epoch.
        rows: the catalog rows that will be read, in every epoch.
        training: whether these are training pictures.
        mean, std: per channel, of pictures in 0-1.
        threads: that decode and render.
        keep: keep decoded pictures on disk, so that only the first epoch decodes.
    """

    def __init__(
        self,
        catalog: Catalog,
        spec: ViewSpec,
        augment: AugmentConfig,
        rows: np.ndarray,
        *,
        training: bool,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        threads: int,
        keep: bool,
    ) -> None:
        self._catalog, self._spec, self._augment, self._training = catalog, spec, augment, training
        self._mean, self._std = mean, std
        self._cache = PictureCache(spec, [catalog.pictures[row].digest for row in rows.tolist()]) if keep else None
        self._epoch = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="views")

    def __call__(self, indices: np.ndarray, epoch: int) -> Tensor:
        number = view_number(self._augment, epoch, self._training)
        pictures = [self._catalog.pictures[index] for index in indices.tolist()]
        if self._cache is not None and epoch != self._epoch:
            self._cache.settle()
        self._epoch = epoch
        kept = self._cache.read([picture.digest for picture in pictures]) if self._cache is not None else {}
        batch = np.empty((len(pictures), self._spec.image_size, self._spec.image_size, 3), dtype=np.uint8)

        def view(place: int) -> np.ndarray:
            picture = pictures[place]
            working = kept.get(picture.digest)
            if working is None:
                working = open_working(self._catalog.path(picture), self._spec)
            batch[place] = views(working, self._spec, [number], picture.digest)[0]
            return working

        for picture, working in zip(pictures, self._pool.map(view, range(len(pictures))), strict=True):
            if self._cache is not None:
                self._cache.keep(picture.digest, working)
        return normalise(torch.from_numpy(batch), self._mean, self._std)


@dataclass(frozen=True)
class RankShare:
    """The share of one process, number ``rank`` of ``ranks``, among those that train one model together."""

    rank: int = 0
    ranks: int = 1

    def places(self, size: int) -> np.ndarray:
        """Return this process's positions in a batch of ``size``, int64 (n,); none if the batch is too small."""
        return np.arange(self.rank, size, self.ranks)


class EpochLoader:
    """The dataloader of an epoch, in chunks (inputs, labels, indices, places).

    There are no workers and no collating: the reader is called once a chunk, and reads the next chunk while the network
    works on this one. Each of several processes reads its share of every batch. If a batch has no picture for a
    process, that process reads one of the others' pictures, so that all take as many steps; its place is -1. ``places``
    are positions in the epoch's order, int64 (N,).

    Args:
        reader: reads inputs.
        indices: int64 catalog rows of the epoch.
        labels: int64 (N,), in the order of the catalog.
        batch: pictures a step, of all processes together.
        chunk: pictures that all processes read at once, a multiple of the batch.
        epoch: returns the number of the epoch; called when the epoch starts.
        order_seed: the order of an epoch is a function of this and the epoch alone; None: as in ``indices``.
        share: of this process.
    """

    def __init__(
        self,
        reader: Reader,
        indices: np.ndarray,
        labels: np.ndarray,
        *,
        batch: int,
        chunk: int,
        epoch: Callable[[], int],
        order_seed: int | None,
        share: RankShare = RankShare(),
    ) -> None:
        self._reader, self._indices, self._labels = reader, indices, torch.from_numpy(labels)
        self._batch, self._chunk, self._share = batch, chunk, share
        self._epoch, self._order_seed = epoch, order_seed
        self.pictures = len(indices)

    def __len__(self) -> int:
        return -(-len(self._indices) // self._chunk)

    def handed_over(self, number: int) -> int:
        """Return the number of pictures in chunk ``number`` of an epoch, of all processes together."""
        return min(self._chunk, self.pictures - number * self._chunk)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        epoch = self._epoch()
        order = self._indices
        if self._order_seed is not None:
            order = order[stream(self._order_seed, "order", epoch).permutation(len(order))]
        chunks = [self._own(start) for start in range(0, len(order), self._chunk)]
        with ThreadPoolExecutor(1, thread_name_prefix="chunks") as ahead:
            coming = ahead.submit(self._reader, order[chunks[0][0]], epoch)
            for number, (read, places) in enumerate(chunks):
                inputs = coming.result()
                if number + 1 < len(chunks):
                    coming = ahead.submit(self._reader, order[chunks[number + 1][0]], epoch)
                indices = torch.from_numpy(order[read])
                yield inputs, self._labels[indices], indices, torch.from_numpy(places)

    def _own(self, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places that this process reads of the chunk at ``start``, and the same with -1 for repeats."""
        read, places = [], []
        for first in range(start, min(start + self._chunk, self.pictures), self._batch):
            size = min(self._batch, self.pictures - first)
            own = self._share.places(size)
            read.append(first + (own if len(own) else np.array([self._share.rank % size])))
            places.append(first + own if len(own) else np.array([-1]))
        return np.concatenate(read), np.concatenate(places)


class CityDataModule(pl.LightningDataModule):
    """The training and validation pictures for `pytorch_lightning.Trainer`.

    Args:
        train_reader, val_reader: read inputs.
        train, val: int64 catalog rows of the two parts.
        labels: int64 (N,), in the order of the catalog.
        batch: pictures a step.
        chunk: pictures read at once, a multiple of the batch.
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
        batch: int,
        chunk: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._train_reader, self._val_reader = train_reader, val_reader
        self._train, self._val, self._labels = train, val, labels
        self._batch, self._chunk, self._seed = batch, chunk, seed

    def train_dataloader(self) -> EpochLoader:
        """Return shuffled chunks of the training part."""
        return self._loader(self._train_reader, self._train, self._seed)

    def val_dataloader(self) -> EpochLoader:
        """Return chunks of the validation part, in the order of the catalog."""
        return self._loader(self._val_reader, self._val, None)

    def _loader(self, reader: Reader, rows: np.ndarray, order_seed: int | None) -> EpochLoader:
        trainer = self.trainer
        return EpochLoader(
            reader,
            rows,
            self._labels,
            batch=self._batch,
            chunk=self._chunk,
            epoch=lambda: trainer.current_epoch if trainer is not None else 0,
            order_seed=order_seed,
            share=RankShare(trainer.global_rank, trainer.world_size) if trainer is not None else RankShare(),
        )
