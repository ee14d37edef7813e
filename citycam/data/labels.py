"""Labels of a partition, and weights for classes of unequal size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from citycam.config import Balance, Partition
from citycam.data.catalog import Catalog
from citycam.errors import CitycamError, near_matches

# The class of all cities but the target.
REST = "rest"


@dataclass(frozen=True)
class Labels:
    """The label of every picture.

    Attributes:
        partition: ``multi`` or ``binary``.
        classes: the cities (multi), or ("rest", target) (binary).
        values: int64 (N,), indices into ``classes``, in the order of the catalog.
    """

    partition: str
    classes: tuple[str, ...]
    values: np.ndarray

    @property
    def n_logits(self) -> int:
        """The number of logits: 1 for binary, one per city for multi."""
        return 1 if self.partition == Partition.binary.name else len(self.classes)


def make_labels(catalog: Catalog, partition: Partition, target: str | None) -> Labels:
    """Return the labels of every picture.

    Raises:
        CitycamError: ``binary`` without a target, with one that is not a city of the catalog, or with one called rest.
    """
    if partition is Partition.multi:
        order = {city: index for index, city in enumerate(catalog.cities)}
        values = np.array([order[picture.city] for picture in catalog.pictures], dtype=np.int64)
        return Labels(partition.name, catalog.cities, values)
    if target is None:
        raise CitycamError(
            f"partition=binary needs data.target=CITY, the city to tell from all others: one of "
            f"{', '.join(catalog.cities)}."
        )
    if target not in catalog.cities:
        raise CitycamError(
            f"data.target={target} is not a city of {catalog.root}; {near_matches(target, catalog.cities)}"
        )
    if target == REST:
        raise CitycamError(
            f"data.target={target} has the name of all other cities in partition=binary; rename that city's folder, or "
            "use partition=multi."
        )
    values = np.array([picture.city == target for picture in catalog.pictures], dtype=np.int64)
    return Labels(partition.name, (REST, target), values)


def class_weights(values: np.ndarray, n_classes: int, balance: Balance) -> np.ndarray | None:
    """Return weights for the loss: n / (K · count of the class).

    So all classes count alike, and the mean weight over pictures is 1.

    Args:
        values: int (n,), labels of the training pictures, 0 .. K-1.
        n_classes: K.
        balance: ``none``: no weights.

    Returns:
        float32 (K,), or None if no weights are needed (balance is none, or all classes have as many pictures).

    Raises:
        CitycamError: a class has no training picture.
    """
    counts = np.bincount(values, minlength=n_classes)
    if (counts == 0).any():
        raise CitycamError(
            f"Class {int(np.argmin(counts))} of {n_classes} has no training picture, so it cannot be learnt; "
            "add pictures, or choose another split."
        )
    if balance is Balance.none or (counts == counts[0]).all():
        return None
    return (len(values) / (n_classes * counts)).astype(np.float32)
