"""The maps of a run, read from its explain/maps.npz."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citycam.cells import CellGrid

# What numpy raises for a damaged file, or for one whose arrays do not fit each other.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, IndexError, TypeError, zipfile.BadZipFile, zlib.error)


class DamagedMaps(Exception):
    """The file is damaged, or another program wrote it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What maps.npz explains: the digests of its pictures, and the number of cells of one picture's maps together."""

    digests: tuple[str, ...]
    cells: int


@dataclass(frozen=True, slots=True)
class StoredMaps:
    """The maps of N pictures.

    Attributes:
        digests, names, cities: of the pictures (N,); ``cities`` are the true ones.
        predicted, probability, correct: the predicted class, its probability, and whether it is right (N,).
        targets: what the maps explain (N,).
        maps: raw maps by method, float32 (N, h, w).
        blank: whether a map is blank, by method (N,).
        cells: of every map. Files of older versions do not say where cells look: theirs divide the picture evenly.
    """

    digests: tuple[str, ...]
    names: tuple[str, ...]
    cities: tuple[str, ...]
    predicted: tuple[str, ...]
    probability: tuple[float, ...]
    correct: tuple[bool, ...]
    targets: tuple[str, ...]
    maps: dict[str, NDArray[np.float32]]
    blank: dict[str, NDArray[np.bool_]]
    cells: CellGrid


def read_sample(folder: Path) -> Sample:
    """Return which pictures a run's ``folder`` explains, and the size of its maps.

    Raises:
        FileNotFoundError: the run has no maps.
        DamagedMaps: the file cannot be read.
    """
    with _open(folder) as arrays:
        shapes = [arrays[method].shape for method in _methods(list(arrays))]
        return Sample(tuple(arrays["digests"].tolist()), sum(shape[1] * shape[2] for shape in shapes))


def read_maps(folder: Path) -> StoredMaps:
    """Return the maps of a run's ``folder``.

    Raises:
        FileNotFoundError: the run has no maps.
        DamagedMaps: the file cannot be read, or the lengths of its arrays differ.
    """
    with _open(folder) as arrays:
        methods = _methods(list(arrays))
        stored = StoredMaps(
            digests=tuple(arrays["digests"].tolist()),
            names=tuple(arrays["names"].tolist()),
            cities=tuple(arrays["cities"].tolist()),
            predicted=tuple(arrays["predicted"].tolist()),
            probability=tuple(arrays["probability"].tolist()),
            correct=tuple(arrays["correct"].tolist()),
            targets=tuple(arrays["targets"].tolist()),
            maps={method: arrays[method] for method in methods},
            blank={method: arrays[f"{method}_blank"] for method in methods},
            cells=_cells(arrays, arrays[methods[0]].shape[1:]),
        )
        _check_lengths(stored)
        return stored


@contextlib.contextmanager
def _open(folder: Path) -> Iterator[Mapping[str, Any]]:
    try:
        # Opened here, since numpy leaves the file open where it is damaged.
        with (folder / "explain" / "maps.npz").open("rb") as file, np.load(file) as arrays:
            yield arrays
    except FileNotFoundError:
        raise
    except _DAMAGED as error:
        raise DamagedMaps(str(error)) from error


def _methods(names: Sequence[str]) -> list[str]:
    """Return the methods among the ``names`` of the arrays.

    Raises:
        ValueError: there is none.
    """
    methods = [name for name in names if f"{name}_blank" in names and f"{name}_max" in names]
    if not methods:
        raise ValueError("no maps")
    return methods


def _cells(arrays: Mapping[str, Any], shape: tuple[int, int]) -> CellGrid:
    """Return the grid of cells that the file describes.

    Raises:
        ValueError: its centres do not go up, or are no numbers.
    """
    if "cell_rows" not in arrays and "cell_columns" not in arrays:
        return CellGrid.even(*shape)
    rows, columns = arrays["cell_rows"], arrays["cell_columns"]
    if any(centres.dtype.kind != "f" or not np.all(np.diff(centres) > 0) for centres in (rows, columns)):
        raise ValueError("cells in disorder")
    return CellGrid(tuple(rows.tolist()), tuple(columns.tolist()))


def _check_lengths(stored: StoredMaps) -> None:
    count = len(stored.digests)
    columns = (stored.names, stored.cities, stored.predicted, stored.probability, stored.correct, stored.targets)
    lengths = {len(column) for column in (*columns, *stored.maps.values(), *stored.blank.values())}
    cells = (len(stored.cells.rows), len(stored.cells.columns))
    if lengths != {count} or any(maps.shape[1:] != cells for maps in stored.maps.values()):
        raise ValueError("arrays of different lengths")
