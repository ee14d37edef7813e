"""The explained pictures of comparison.html, and their maps as 8-bit grids."""

from __future__ import annotations

import base64
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citycam.report.page_thumbs import Thumbs
from citycam.sweep.runs import RunRow

_PICTURES, _FEW = 100, 10
_BYTES = 1_950_000
_DAMAGED = (OSError, ValueError, KeyError, EOFError, IndexError, TypeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class _Sample:
    """What maps.npz explains: digests of its pictures in their order, and the bytes of their grids with all methods."""

    digests: tuple[str, ...]
    cells: int


def gather_maps(rows: Sequence[RunRow], thumbs: Thumbs, *, few: bool) -> dict[str, Any]:
    """Pictures that runs explain, and the maps of each run.

    All runs' first pictures come first, at most 100 (``few``: 10), less where grids are so fine that the page would
    grow beyond some 5 MB; then the first runs alone keep their maps.

    Returns:
        ``pictures``: name, city and thumbnail of each. ``runs``: see `_grids`, by the position in ``rows``.
        ``unreadable``: positions whose maps.npz is damaged. ``explained``: pictures with maps in all. ``left_out``:
        positions whose maps found no room.
    """
    samples: dict[int, _Sample] = {}
    unreadable = []
    for place, row in enumerate(rows):
        try:
            samples[place] = _sample(row.folder)
        except FileNotFoundError:
            continue
        except _DAMAGED:
            unreadable.append(place)
    order = _order(samples.values())
    shown = _fitting(order, samples, _FEW if few else _PICTURES)
    found: dict[int, dict[str, Any]] = {}
    told: dict[str, tuple[str, str]] = {}
    left_out, room = [], _BYTES
    for place, sample in samples.items():
        room -= sample.cells * sum(digest in shown for digest in sample.digests)
        if room < 0:
            left_out.append(place)
            continue
        try:
            found[place] = _grids(rows[place], shown, told)
        except _DAMAGED:
            unreadable.append(place)
    having: dict[str, list[Path]] = {}
    for place in found:
        for digest in samples[place].digests:
            having.setdefault(digest, []).append(rows[place].folder)
    pictures = [[*told.get(digest, ("", "")), thumbs.add(digest, having.get(digest, ()))] for digest in shown]
    return {
        "pictures": pictures,
        "runs": found,
        "unreadable": sorted(unreadable),
        "explained": len(order),
        "left_out": left_out,
    }


def _sample(folder: Path) -> _Sample:

    with (folder / "explain" / "maps.npz").open("rb") as file, np.load(file) as arrays:
        shapes = [arrays[method].shape for method in _methods(arrays.files)]
        return _Sample(tuple(map(str, arrays["digests"])), sum(shape[1] * shape[2] for shape in shapes))


def _methods(files: Sequence[str]) -> list[str]:
    return [name for name in files if f"{name}_blank" in files and f"{name}_max" in files]


def _order(samples: Any) -> list[str]:
    """Digests by their position in a sample, so that runs with other samples are not left out."""
    at: dict[str, int] = {}
    for sample in samples:
        for position, digest in enumerate(sample.digests):
            at[digest] = min(position, at.get(digest, position))
    return sorted(at, key=lambda digest: at[digest])


def _fitting(order: Sequence[str], samples: Mapping[int, _Sample], most: int) -> dict[str, int]:
    """The first of ``order``, at most ``most``, and not below ten for the sake of room; digest to position."""
    each = sum(sample.cells for sample in samples.values())
    number = min(most, max(_FEW, _BYTES // max(each, 1)))
    return {digest: position for position, digest in enumerate(order[:number])}


def _grids(row: RunRow, shown: Mapping[str, int], told: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """A run's maps: ``size`` (h, w), ``pictures`` (P positions), what was predicted, and for each method the base64 of
    P·h·w bytes, 0 to 255 from nothing to the map's own maximum, or the name of the method that they equal, with the
    maxima, None where a map is blank."""

    with (row.folder / "explain" / "maps.npz").open("rb") as file, np.load(file) as arrays:
        digests = [str(digest) for digest in arrays["digests"]]
        places = [place for place, digest in enumerate(digests) if digest in shown]
        for place in places:
            told.setdefault(digests[place], (str(arrays["names"][place]), str(arrays["cities"][place])))
        predicted = [str(name) for name in arrays["predicted"][places]]
        targets = [str(name) for name in arrays["targets"][places]]
        words = list(dict.fromkeys([*predicted, *targets]))
        methods = _methods(arrays.files)
        first = arrays[methods[0]]
        return {
            "size": [int(first.shape[1]), int(first.shape[2])],
            "pictures": [shown[digests[place]] for place in places],
            "words": words,
            "predicted": [words.index(name) for name in predicted],
            "targets": [words.index(name) for name in targets],
            "percent": [round(100 * float(share)) for share in arrays["probability"][places]],
            "correct": [int(bool(right)) for right in arrays["correct"][places]],
            "methods": _by_method({name: (arrays[name][places], arrays[f"{name}_blank"][places]) for name in methods}),
            "same_maps": row.record.explained.get("same_maps"),
        }


def _by_method(maps: Mapping[str, tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> dict[str, Any]:

    found: dict[str, Any] = {}
    known: dict[str, NDArray[np.uint8]] = {}
    for name, (raw, blank) in maps.items():
        grids, peaks = _scaled(raw)
        shown = [None if hidden else float(f"{peak:.3g}") for peak, hidden in zip(peaks, blank, strict=True)]
        # Maps that are equal up to a factor differ here by rounding alone.
        like = next((one for one, its in known.items() if np.allclose(its, grids, rtol=0, atol=1)), None)
        known[name] = grids
        content = {"like": like} if like else {"grids": base64.b64encode(grids.tobytes()).decode("ascii")}
        found[name] = {**content, "peaks": shown}
    return found


def _scaled(raw: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """ReLU of maps (P, h, w), each over its own maximum, as 0 to 255; and the maxima (P,)."""

    positive = np.maximum(np.nan_to_num(raw.astype(np.float64), nan=0.0, posinf=0.0), 0.0)
    peaks = positive.max(axis=(1, 2))
    scaled = positive / np.where(peaks > 0, peaks, 1.0)[:, None, None]
    return np.rint(scaled * 255).astype(np.uint8), peaks
