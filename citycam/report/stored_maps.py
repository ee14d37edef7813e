"""The maps of a run, read from its explain/maps.npz."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citycam.cells import CellGrid
from citycam.errors import DamagedFile
from citycam.files import reason_of
from citycam.words import is_text

NAME = "explain/maps.npz"
# Columns beside the maps: the kind of numpy's type that each has.
_COLUMNS = {"digests": "U", "names": "U", "cities": "U", "predicted": "U", "probability": "f", "correct": "b"}
_COLUMNS |= {"targets": "U"}
# Bytes of all arrays together, and the side of a map: more than any run of ours has.
_MOST, _WIDEST = 2**31, 4096


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
        DamagedFile: the file cannot be read.
    """
    with _open(folder) as (arrays, headers):
        shapes = [headers[method].shape for method in _methods(headers)]
        return Sample(_texts(arrays["digests"]), sum(shape[1] * shape[2] for shape in shapes))


def read_maps(folder: Path) -> StoredMaps:
    """Return the maps of a run's ``folder``.

    Raises:
        FileNotFoundError: the run has no maps.
        DamagedFile: the file cannot be read, or its arrays do not fit each other.
    """
    with _open(folder) as (arrays, headers):
        probability = arrays["probability"]
        if not ((probability >= 0) & (probability <= 1)).all():
            raise ValueError("a probability is none")
        methods = _methods(headers)
        return StoredMaps(
            digests=_texts(arrays["digests"]),
            names=_texts(arrays["names"]),
            cities=_texts(arrays["cities"]),
            predicted=_texts(arrays["predicted"]),
            probability=tuple(probability.tolist()),
            correct=tuple(arrays["correct"].tolist()),
            targets=_texts(arrays["targets"]),
            maps={method: arrays[method] for method in methods},
            blank={method: arrays[f"{method}_blank"] for method in methods},
            cells=_cells(arrays, {headers[method].shape[1:] for method in methods}),
        )


@dataclass(frozen=True, slots=True)
class _Header:
    """What the file says of an array before it is read."""

    shape: tuple[int, ...]
    kind: str
    size: int


@contextlib.contextmanager
def _open(folder: Path) -> Iterator[tuple[Mapping[str, Any], dict[str, _Header]]]:
    """Yield the arrays, which are read when they are asked for, and their headers, which fit each other."""
    path = folder / NAME
    if path.exists() and not path.is_file():
        raise DamagedFile(path, "it is no file")
    try:
        # Opened here, since numpy leaves the file open where it is damaged.
        with path.open("rb") as file:
            headers = _headers(file)
            _check(headers)
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                yield arrays, headers
    except (FileNotFoundError, DamagedFile):
        raise
    except Exception as error:  # damage shows as almost any exception of zip, zlib and numpy
        raise DamagedFile(path, reason_of(error)) from error


def _headers(file: Any) -> dict[str, _Header]:
    headers = {}
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as member:
                version = np.lib.format.read_magic(member)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = read[version](member)
                size = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if size != entry.file_size - member.tell():
                    raise ValueError(f"{entry.filename} has another size than it says")
            headers[entry.filename.removesuffix(".npy")] = _Header(shape, dtype.kind, size)
    return headers


def _check(headers: Mapping[str, _Header]) -> None:
    """Refuse arrays that are missing, of other types or shapes, or too large together.

    Raises:
        ValueError: of what does not fit.
    """
    if sum(header.size for header in headers.values()) > _MOST:
        raise ValueError("its arrays are too large")
    columns = dict(_COLUMNS)
    for method in _methods(headers):
        columns |= {f"{method}_blank": "b", f"{method}_max": "f"}
        header = headers[method]
        if len(header.shape) != 3 or header.kind != "f" or not all(0 < side <= _WIDEST for side in header.shape[1:]):
            raise ValueError(f"{method} holds no maps")
    lacking = [name for name in columns if name not in headers]
    if lacking:
        raise ValueError(f"it lacks {lacking[0]}")
    odd = [name for name, kind in columns.items() if len(headers[name].shape) != 1 or headers[name].kind != kind]
    if odd:
        raise ValueError(f"{odd[0]} is no such column")
    lengths = {headers[name].shape[0] for name in (*columns, *_methods(headers))}
    if len(lengths) > 1 or lengths == {0}:
        raise ValueError("its arrays have different lengths" if len(lengths) > 1 else "its arrays are empty")


def _methods(headers: Mapping[str, _Header]) -> list[str]:
    """Return the methods among the names of the arrays.

    Raises:
        ValueError: there is none.
    """
    methods = [name for name in headers if f"{name}_blank" in headers and f"{name}_max" in headers]
    if not methods:
        raise ValueError("it holds no maps")
    return methods


def _texts(column: NDArray[np.str_]) -> tuple[str, ...]:
    texts = tuple(column.tolist())
    if not all(map(is_text, texts)):
        raise ValueError("a name is no text")
    return texts


def _cells(arrays: Mapping[str, Any], shapes: set[tuple[int, ...]]) -> CellGrid:
    """Return the grid of cells that the file describes.

    Args:
        shapes: (h, w) of the maps of each method.

    Raises:
        ValueError: its centres do not go up, are no numbers, or are not those of every map.
    """
    if "cell_rows" not in arrays and "cell_columns" not in arrays:
        height, width = max(shapes)
        cells = CellGrid.even(height, width)
    else:
        rows, columns = arrays["cell_rows"], arrays["cell_columns"]
        if any(centres.dtype.kind != "f" or not np.all(np.diff(centres) > 0) for centres in (rows, columns)):
            raise ValueError("cells in disorder")
        cells = CellGrid(tuple(rows.tolist()), tuple(columns.tolist()))
    if shapes != {(len(cells.rows), len(cells.columns))}:
        raise ValueError("its maps have other cells than it says")
    return cells
