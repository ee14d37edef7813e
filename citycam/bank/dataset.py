"""Read features for training from a store, by the same `Reader` interface as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from citycam.config import AugmentConfig
from citycam.data.catalog import Catalog
from citycam.data.views import view_number
from citycam.shards import ShardStore, view_keys


class FeatureReader:
    """Returns the features (B, D) of catalog rows in an epoch, from a store.

    Args:
        store: holds every view of ``epochs``.
        indices: the catalog rows that will be read.
    """

    def __init__(
        self,
        store: ShardStore,
        catalog: Catalog,
        indices: np.ndarray,
        augment: AugmentConfig,
        *,
        training: bool,
        epochs: int,
    ) -> None:
        self._store, self._augment, self._training = store, augment, training
        self._row_of = np.full(len(catalog.pictures), -1, dtype=np.int64)
        self._row_of[indices] = np.arange(len(indices))
        digests = [catalog.pictures[index].digest for index in indices.tolist()]
        self._places = {
            number: store.places(view_keys(digests, [number]))
            for number in view_numbers(augment, epochs, training=training)
        }

    def __call__(self, indices: np.ndarray, epoch: int) -> Tensor:
        number = view_number(self._augment, epoch, self._training)
        return torch.from_numpy(self._store.read(self._places[number][self._row_of[indices]]))


def view_numbers(augment: AugmentConfig, epochs: int, *, training: bool) -> Sequence[int]:
    """Return the distinct view numbers that ``epochs`` epochs need, in order."""
    return list(dict.fromkeys(view_number(augment, epoch, training) for epoch in range(epochs)))
