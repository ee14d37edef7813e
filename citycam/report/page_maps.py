"""The explained pictures of comparison.html, and their maps as 8-bit grids."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citycam.cells import CellGrid
from citycam.errors import DamagedFile
from citycam.report.page_thumbs import Thumbs
from citycam.report.stored_maps import MethodMaps, Sample, StoredMaps, read_maps, read_sample
from citycam.sweep.runs import RunRow
from citycam.sweep.stored import read_nearest
from citycam.words import decimal

_PICTURES, _FEW, _NEAREST = 100, 10, 40
_BYTES = 1_950_000
# Cells along a side of a map on the page, and on that of many runs: maps of pixels are averaged over blocks.
_SIDE, _FEW_SIDE = 32, 16


def gather_maps(rows: Sequence[RunRow], thumbs: Thumbs, *, few: bool) -> dict[str, Any]:
    """Return the pictures that runs explain, and the maps of each run.

    The page shows at most 100 pictures (``few``: 10), taken from the start of every run's sample in turn. It shows
    fewer, but at least 10, if the grids would make it larger than about 5 MB; then only the first runs keep their maps.

    Returns:
        ``pictures``: name, city and thumbnail of each. ``nearest``: see `_nearest`. ``runs``: see `_grids`, by the
        index in ``rows``. ``cells``: the centres of rows and of columns of each grid that methods have, see `CellGrid`.
        ``unreadable``: indices of runs whose maps.npz is damaged. ``explained``: the number of pictures with maps.
        ``left_out``: indices of runs whose maps are too many for the page.
    """
    samples: dict[int, Sample] = {}
    unreadable: set[int] = set()
    for index, row in enumerate(rows):
        try:
            samples[index] = read_sample(row.folder)
        except FileNotFoundError:
            continue
        except DamagedFile:
            unreadable.add(index)
    digests, side = _in_order(samples.values()), _FEW_SIDE if few else _SIDE
    sizes = {index: _bytes(sample, side) for index, sample in samples.items()}
    shown = _shown(digests, sum(sizes.values()), _FEW if few else _PICTURES)
    kept = _fitting(samples, sizes, shown)
    grids: dict[int, dict[str, Any]] = {}
    cells: dict[CellGrid, int] = {}
    captions: dict[str, tuple[str, str]] = {}
    folders: dict[str, list[Path]] = {}
    for index in kept:
        try:
            stored = read_maps(rows[index].folder)
        except (FileNotFoundError, DamagedFile):
            unreadable.add(index)
            continue
        grids[index] = _grids(stored, shown, cells, side) | {"same_maps": rows[index].record.explained.get("same_maps")}
        for digest, *caption in zip(stored.digests, stored.names, stored.cities, strict=True):
            captions.setdefault(digest, (caption[0], caption[1]))
            folders.setdefault(digest, []).append(rows[index].folder)
    return {
        "pictures": [
            [*captions.get(digest, ("", "")), thumbs.add(digest, folders.get(digest, ()))] for digest in shown
        ],
        "nearest": _nearest([rows[index].folder for index in kept], list(shown)[:_NEAREST], thumbs),
        "runs": grids,
        "cells": [[[round(centre, 5) for centre in side] for side in (its.rows, its.columns)] for its in cells],
        "unreadable": sorted(unreadable),
        "explained": len(digests),
        "left_out": list(samples)[len(kept) :],
    }


def _nearest(folders: Sequence[Path], digests: Sequence[str], thumbs: Thumbs) -> list[list[list[Any]]]:
    """Return for each of the first pictures the training pictures most like it, as the first run that knows some says:
    thumbnail, city and likeness of each."""
    known: dict[str, list[list[Any]]] = {}
    for folder in folders:
        try:
            stored = read_nearest(folder)
        except (FileNotFoundError, DamagedFile):
            continue
        for digest in digests:
            if digest in stored and digest not in known:
                its = [[thumbs.add(other, [folder]), city, decimal(share, 2)] for other, city, share in stored[digest]]
                known[digest] = its
    return [known.get(digest, []) for digest in digests]


def _in_order(samples: Iterable[Sample]) -> list[str]:
    """Return digests by their position in a sample, so that every run's first pictures come first."""
    positions: dict[str, int] = {}
    for sample in samples:
        for position, digest in enumerate(sample.digests):
            positions[digest] = min(position, positions.get(digest, position))
    return sorted(positions, key=lambda digest: positions[digest])


def _shown(digests: Sequence[str], bytes_per_picture: int, most: int) -> dict[str, int]:
    """Return the position on the page of each digest that is shown."""
    number = min(most, max(_FEW, _BYTES // max(bytes_per_picture, 1)))
    return {digest: position for position, digest in enumerate(digests[:number])}


def _fitting(samples: Mapping[int, Sample], sizes: Mapping[int, int], shown: Mapping[str, int]) -> list[int]:
    """Return the indices of the first runs whose maps fit together.

    Args:
        sizes: bytes of one picture's maps, by run.
    """
    kept, room = [], _BYTES
    for index, sample in samples.items():
        room -= sizes[index] * sum(digest in shown for digest in sample.digests)
        if room < 0:
            break
        kept.append(index)
    return kept


def _bytes(sample: Sample, side: int) -> int:
    """Return how many bytes the maps of one picture of a run take on the page."""
    as_they_are = sum(height * width for height, width in sample.sizes)
    return as_they_are + sum(min(height, side) * min(width, side) for height, width in sample.smoothed_sizes)


def _grids(stored: StoredMaps, shown: Mapping[str, int], cells: dict[CellGrid, int], side: int) -> dict[str, Any]:
    """Return a run's maps of the pictures that are shown.

    Args:
        cells: the index of each grid of cells on the page; new ones are added.
        side: the most cells of a map of pixels.

    Returns:
        ``pictures``: P positions on the page. ``predicted``: indices in ``words``. ``percent``: of the predicted class.
        ``correct``: 0 or 1. ``methods``: see `_by_method`, and for each ``targets``, indices in ``words`` (one where
        all are equal), ``cells``, an index in the page's, and for maps of pixels ``lowest``, their minima.
    """
    chosen = [index for index, digest in enumerate(stored.digests) if digest in shown]
    predicted = [stored.predicted[index] for index in chosen]
    targets = {name: [its.targets[index] for index in chosen] for name, its in stored.methods.items()}
    words = list(dict.fromkeys([*predicted, *(word for column in targets.values() for word in column)]))
    page_maps = {name: _for_page(its, chosen, side) for name, its in stored.methods.items()}
    methods = _by_method({name: (raw, stored.methods[name].blank[chosen]) for name, (raw, _) in page_maps.items()})
    for name, (raw, grid) in page_maps.items():
        said = [words.index(word) for word in targets[name]]
        methods[name]["targets"] = said if len(set(said)) > 1 else said[:1]
        methods[name]["cells"] = cells.setdefault(grid, len(cells))
        if stored.methods[name].box > 1:
            methods[name]["lowest"] = [float(f"{low:.3g}") for low in np.minimum(raw.min(axis=(1, 2)), 0)]
    return {
        "pictures": [shown[stored.digests[index]] for index in chosen],
        "words": words,
        "predicted": [words.index(name) for name in predicted],
        "percent": [round(100 * stored.probability[index]) for index in chosen],
        "correct": [int(stored.correct[index]) for index in chosen],
        "methods": methods,
    }


def _for_page(its: MethodMaps, chosen: Sequence[int], side: int) -> tuple[NDArray[np.floating], CellGrid]:
    """Return maps (P, h, w) as they are shown, with at most ``side`` cells a side if they are of pixels."""
    maps = np.stack([its.smoothed(index) for index in chosen])
    height, width = maps.shape[1:]
    if its.box == 1 or min(height, width) <= side:
        return maps, its.cells
    rows, columns = (np.round(np.arange(side) * pixels / side).astype(np.intp) for pixels in (height, width))
    sums = np.add.reduceat(np.add.reduceat(maps, rows, axis=1), columns, axis=2)
    counts = np.diff([*rows, height])[:, None] * np.diff([*columns, width])[None, :]
    return sums / counts, CellGrid.even(side, side)


def _by_method(maps: Mapping[str, tuple[NDArray[np.floating], NDArray[np.bool_]]]) -> dict[str, Any]:
    """Return the grids of each method.

    Returns:
        ``grids``: base64 of P·h·w signed bytes, from -127 at each map's own minimum to 127 at its maximum; or ``like``:
        the method whose grids are equal. ``peaks``: the maxima, None for a blank map.
    """
    methods: dict[str, Any] = {}
    earlier: dict[str, NDArray[np.int8]] = {}
    for name, (raw, blank) in maps.items():
        grids, maxima = _scaled(raw)
        peaks = [None if is_blank else float(f"{peak:.3g}") for peak, is_blank in zip(maxima, blank, strict=True)]
        # Maps that are equal up to a factor differ here by rounding alone.
        equal = next((other for other, its in earlier.items() if _are_equal(its, grids)), None)
        earlier[name] = grids
        content = {"like": equal} if equal else {"grids": base64.b64encode(grids.tobytes()).decode("ascii")}
        methods[name] = {**content, "peaks": peaks}
    return methods


def _are_equal(grids: NDArray[np.int8], others: NDArray[np.int8]) -> bool:
    return grids.shape == others.shape and np.allclose(grids, others, rtol=0, atol=1)


def _scaled(raw: NDArray[np.floating]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return maps (P, h, w) as -127 to 127, the positive part divided by its own maximum and the negative part by its
    own minimum; and the maxima (P,), at least 0."""
    whole = np.nan_to_num(raw.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    maxima, minima = np.maximum(whole.max(axis=(1, 2)), 0), np.minimum(whole.min(axis=(1, 2)), 0)
    scales = np.where(whole > 0, maxima[:, None, None], -minima[:, None, None])
    scaled = np.divide(whole, scales, out=np.zeros_like(whole), where=scales > 0)
    return np.rint(scaled * 127).astype(np.int8), maxima
