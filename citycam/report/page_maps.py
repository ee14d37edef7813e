"""The explained pictures of comparison.html, and their maps as 8-bit grids."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citycam.report.page_thumbs import Thumbs
from citycam.report.stored_maps import DamagedMaps, Sample, StoredMaps, read_maps, read_sample
from citycam.sweep.runs import RunRow

_PICTURES, _FEW = 100, 10
_BYTES = 1_950_000


def gather_maps(rows: Sequence[RunRow], thumbs: Thumbs, *, few: bool) -> dict[str, Any]:
    """Return the pictures that runs explain, and the maps of each run.

    The page shows at most 100 pictures (``few``: 10), taken from the start of every run's sample in turn. It shows
    fewer, but at least 10, if the grids would make it larger than about 5 MB; then only the first runs keep their maps.

    Returns:
        ``pictures``: name, city and thumbnail of each. ``runs``: see `_grids`, by the index in ``rows``.
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
        except DamagedMaps:
            unreadable.add(index)
    digests = _in_order(samples.values())
    shown = _shown(digests, samples.values(), _FEW if few else _PICTURES)
    kept = _fitting(samples, shown)
    grids: dict[int, dict[str, Any]] = {}
    captions: dict[str, tuple[str, str]] = {}
    folders: dict[str, list[Path]] = {}
    for index in kept:
        try:
            stored = read_maps(rows[index].folder)
        except (FileNotFoundError, DamagedMaps):
            unreadable.add(index)
            continue
        grids[index] = _grids(stored, shown) | {"same_maps": rows[index].record.explained.get("same_maps")}
        for digest, *caption in zip(stored.digests, stored.names, stored.cities, strict=True):
            captions.setdefault(digest, (caption[0], caption[1]))
            folders.setdefault(digest, []).append(rows[index].folder)
    return {
        "pictures": [
            [*captions.get(digest, ("", "")), thumbs.add(digest, folders.get(digest, ()))] for digest in shown
        ],
        "runs": grids,
        "unreadable": sorted(unreadable),
        "explained": len(digests),
        "left_out": list(samples)[len(kept) :],
    }


def _in_order(samples: Iterable[Sample]) -> list[str]:
    """Return digests by their position in a sample, so that every run's first pictures come first."""
    positions: dict[str, int] = {}
    for sample in samples:
        for position, digest in enumerate(sample.digests):
            positions[digest] = min(position, positions.get(digest, position))
    return sorted(positions, key=lambda digest: positions[digest])


def _shown(digests: Sequence[str], samples: Iterable[Sample], most: int) -> dict[str, int]:
    """Return the position on the page of each digest that is shown."""
    bytes_per_picture = sum(sample.cells for sample in samples)
    number = min(most, max(_FEW, _BYTES // max(bytes_per_picture, 1)))
    return {digest: position for position, digest in enumerate(digests[:number])}


def _fitting(samples: Mapping[int, Sample], shown: Mapping[str, int]) -> list[int]:
    """Return the indices of the first runs whose maps fit together."""
    kept, room = [], _BYTES
    for index, sample in samples.items():
        room -= sample.cells * sum(digest in shown for digest in sample.digests)
        if room < 0:
            break
        kept.append(index)
    return kept


def _grids(stored: StoredMaps, shown: Mapping[str, int]) -> dict[str, Any]:
    """Return a run's maps of the pictures that are shown.

    Returns:
        ``size``: (h, w). ``rows`` and ``columns``: centres of the cells, see `CellGrid`. ``pictures``: P positions on
        the page. ``predicted`` and ``targets``: indices in ``words``.
        ``percent``: of the predicted class. ``correct``: 0 or 1. ``methods``: see `_by_method`.
    """
    chosen = [index for index, digest in enumerate(stored.digests) if digest in shown]
    predicted = [stored.predicted[index] for index in chosen]
    targets = [stored.targets[index] for index in chosen]
    words = list(dict.fromkeys([*predicted, *targets]))
    first = next(iter(stored.maps.values()))
    return {
        "size": [int(first.shape[1]), int(first.shape[2])],
        "rows": [round(centre, 5) for centre in stored.cells.rows],
        "columns": [round(centre, 5) for centre in stored.cells.columns],
        "pictures": [shown[stored.digests[index]] for index in chosen],
        "words": words,
        "predicted": [words.index(name) for name in predicted],
        "targets": [words.index(name) for name in targets],
        "percent": [round(100 * stored.probability[index]) for index in chosen],
        "correct": [int(stored.correct[index]) for index in chosen],
        "methods": _by_method({name: (maps[chosen], stored.blank[name][chosen]) for name, maps in stored.maps.items()}),
    }


def _by_method(maps: Mapping[str, tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> dict[str, Any]:
    """Return the grids of each method.

    Returns:
        ``grids``: base64 of P·h·w bytes, from 0 to 255 at each map's own maximum; or ``like``: the method whose grids
        are equal. ``peaks``: the raw maxima, None for a blank map.
    """
    methods: dict[str, Any] = {}
    earlier: dict[str, NDArray[np.uint8]] = {}
    for name, (raw, blank) in maps.items():
        grids, maxima = _scaled(raw)
        peaks = [None if is_blank else float(f"{peak:.3g}") for peak, is_blank in zip(maxima, blank, strict=True)]
        # Maps that are equal up to a factor differ here by rounding alone.
        equal = next((other for other, its in earlier.items() if np.allclose(its, grids, rtol=0, atol=1)), None)
        earlier[name] = grids
        content = {"like": equal} if equal else {"grids": base64.b64encode(grids.tobytes()).decode("ascii")}
        methods[name] = {**content, "peaks": peaks}
    return methods


def _scaled(raw: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the ReLU of maps (P, h, w) divided by their own maxima, as 0 to 255, and the maxima (P,)."""
    positive = np.maximum(np.nan_to_num(raw.astype(np.float64), nan=0.0, posinf=0.0), 0.0)
    maxima = positive.max(axis=(1, 2))
    scaled = positive / np.where(maxima > 0, maxima, 1.0)[:, None, None]
    return np.rint(scaled * 255).astype(np.uint8), maxima
