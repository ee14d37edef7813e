"""The tables of a run's folder, each written whole or not at all; `citycam.sweep.stored` reads them back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from citycam.files import write_csv
from citycam.sweep.stored import NEAREST, NEAREST_COLUMNS


class ClassRow(Protocol):
    """The row of a class in `write_per_class`; `citycam.model.metrics.ClassRow` is one."""

    @property
    def name(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def predicted(self) -> int: ...
    @property
    def precision(self) -> float | None: ...
    @property
    def recall(self) -> float | None: ...


def write_metrics(folder: Path, epochs: Sequence[Mapping[str, float]], measures: Collection[str]) -> None:
    """Write ``metrics.csv``: a row per epoch.

    Its columns are ``epoch``, every measure of train, every measure of val, then what else an epoch has, by name.

    Args:
        folder: the run's folder.
        epochs: values by column; the cell of a value that an epoch lacks is empty.
        measures: names, in the order of the columns.
    """
    columns = ["epoch", *(f"{part}_{measure}" for part in ("train", "val") for measure in measures)]
    columns += sorted({key for epoch in epochs for key in epoch} - set(columns))
    write_csv(folder / "metrics.csv", columns, ([epoch.get(column) for column in columns] for epoch in epochs))


def write_predictions(
    path: Path,
    *,
    paths: Sequence[str],
    cities: Sequence[str],
    labels: Sequence[int] | NDArray[np.int64],
    predicted: Sequence[int] | NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
) -> None:
    """Write ``predictions.csv``: a row per picture with its city, label, prediction and a probability per class.

    Args:
        path: the file.
        paths: names of the pictures in the catalog (N,).
        cities: (N,).
        labels: true class numbers (N,).
        predicted: class numbers (N,).
        probabilities: (N, K); column ``p_NAME`` holds those of a class.
        classes: names (K,).

    Raises:
        ValueError: the lengths of the columns differ.
    """
    columns = zip(paths, cities, _names(labels, classes), _names(predicted, classes), probabilities, strict=True)
    write_csv(
        path,
        ["path", "city", "label", "predicted", *(f"p_{name}" for name in classes)],
        ([*cells, *shares.tolist()] for *cells, shares in columns),
    )


def write_confusion(folder: Path, counts: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Write ``confusion.csv``: numbers of pictures (K, K) by true class (rows) and predicted class (columns)."""
    rows = ([name, *row.tolist()] for name, row in zip(classes, counts, strict=True))
    write_csv(folder / "confusion.csv", ["true", *classes], rows)


def write_per_class(folder: Path, rows: Iterable[ClassRow]) -> None:
    """Write ``per_class.csv``: pictures, predictions, precision and recall of each class; undefined is empty."""
    cells = ([row.name, row.n, row.predicted, row.precision, row.recall] for row in rows)
    write_csv(folder / "per_class.csv", ["class", "n", "predicted", "precision", "recall"], cells)


def write_split(folder: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write ``split.csv``: rows of (path, digest, city, group or None, part)."""
    write_csv(folder / "split.csv", ["path", "digest", "city", "group", "part"], rows)


def write_skipped(folder: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write ``skipped.csv``: rows of (path, reason), one per skipped picture; the file is written even without rows."""
    write_csv(folder / "skipped.csv", ["path", "reason"], rows)


def _names(numbers: Sequence[int] | NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    return [classes[int(number)] for number in numbers]


def write_nearest(folder: Path, rows: Iterable[tuple[str, str, str, str, float]]) -> None:
    """Write explain/nearest.csv: for each explained picture the training pictures most like it, as digest of both, name
    and city of the other, and likeness."""
    write_csv(folder / NEAREST, NEAREST_COLUMNS, rows)
