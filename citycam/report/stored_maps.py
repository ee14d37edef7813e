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

from citycam.cells import CellGrid, smoothed
from citycam.errors import DamagedFile
from citycam.files import reason_of
from citycam.words import is_text

NAME = "explain/maps.npz"
# Columns beside the maps: the kind of numpy's type that each has.
_COLUMNS = {"digests": "U", "names": "U", "cities": "U", "predicted": "U", "probability": "f", "correct": "b"}
# Bytes of all arrays together, and the side of a map: more than any run of ours has.
_MOST, _WIDEST = 2**31, 4096


@dataclass(frozen=True, slots=True)
class Sample:
    """What maps.npz explains: the digests of its pictures, and the sizes (h, w) of the maps of methods: of those that
    are shown as they are, and of those that are smoothed first."""

    digests: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    smoothed_sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class MethodMaps:
    """The N maps of one method.

    Attributes:
        raw: float32 (N, h, w).
        blank: whether a map is blank (N,).
        targets: what the maps explain (N,).
        cells: of every map. Files of older versions do not say where cells look: theirs divide the picture evenly.
        box: the width of the box, in cells, that smooths a map twice for the eye.
    """

    raw: NDArray[np.float32]
    blank: NDArray[np.bool_]
    targets: tuple[str, ...]
    cells: CellGrid
    box: int

    def smoothed(self, index: int) -> NDArray[np.floating]:
        """Return the map (h, w) at a position as it is shown."""
        return smoothed(self.raw[index], self.box)


@dataclass(frozen=True, slots=True)
class StoredMaps:
    """The maps of N pictures.

    Attributes:
        digests, names, cities: of the pictures (N,); ``cities`` are the true ones.
        predicted, probability, correct: the predicted class, its probability, and whether it is right (N,).
        methods: the maps of each method.
    """

    digests: tuple[str, ...]
    names: tuple[str, ...]
    cities: tuple[str, ...]
    predicted: tuple[str, ...]
    probability: tuple[float, ...]
    correct: tuple[bool, ...]
    methods: dict[str, MethodMaps]


def read_sample(folder: Path) -> Sample:
    """Return which pictures a run's ``folder`` explains, and the size of its maps.

    Raises:
        FileNotFoundError: the run has no maps.
        DamagedFile: the file cannot be read.
    """
    with _open(folder) as (arrays, headers):
        sizes: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        for method in _methods(headers):
            _, height, width = headers[method].shape
            sizes[f"{method}_box" in headers].append((height, width))
        return Sample(_texts(arrays["digests"]), tuple(sizes[False]), tuple(sizes[True]))


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
        return StoredMaps(
            digests=_texts(arrays["digests"]),
            names=_texts(arrays["names"]),
            cities=_texts(arrays["cities"]),
            predicted=_texts(arrays["predicted"]),
            probability=tuple(probability.tolist()),
            correct=tuple(arrays["correct"].tolist()),
            methods={method: _read_method(arrays, method) for method in _methods(headers)},
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


def _read_method(arrays: Mapping[str, Any], method: str) -> MethodMaps:
    """Return the maps of one method.

    Raises:
        ValueError: the centres of its cells do not go up, are no numbers, or are not those of its maps; its targets or
            its box do not fit.
    """
    raw = arrays[method]
    # Methods without columns of their own have the common ones.
    rows, columns = (arrays.get(f"{method}_{side}", arrays.get(f"cell_{side}")) for side in ("rows", "columns"))
    if (rows is None) != (columns is None):
        raise ValueError("it has cells of one side only")
    if rows is None or columns is None:
        cells = CellGrid.even(*raw.shape[1:])
    else:
        if any(its.ndim != 1 or its.dtype.kind != "f" or not np.all(np.diff(its) > 0) for its in (rows, columns)):
            raise ValueError("cells in disorder")
        cells = CellGrid(tuple(rows.tolist()), tuple(columns.tolist()))
    if raw.shape[1:] != (len(cells.rows), len(cells.columns)):
        raise ValueError(f"{method} has other cells than it says")
    targets = arrays.get(f"{method}_targets", arrays.get("targets"))
    if targets is None or targets.dtype.kind != "U" or targets.shape != (len(raw),):
        raise ValueError(f"the targets of {method} do not fit")
    box = arrays.get(f"{method}_box", np.array([1]))
    if box.shape != (1,) or box.dtype.kind not in "iu" or not 1 <= box[0] <= min(raw.shape[1:]) or not box[0] % 2:
        raise ValueError(f"the box of {method} does not fit")
    return MethodMaps(raw, arrays[f"{method}_blank"], _texts(targets), cells, int(box[0]))
