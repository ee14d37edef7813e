"""Maps of a run: made with several methods on one sample, judged blank or not, and written into the run's folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from citycam.explain.look import look_at
from citycam.explain.methods import METHODS, MapBatch, completeness_gap, explain
from citycam.explain.tail import Tail
from citycam.explain.targets import Target
from citycam.files import write_bytes, write_whole
from citycam.report import overlay
from citycam.report.overlay import Caption, Pixels

SMALLEST = 7
BLANK_SHARE = 1e-8
COMPLETE = 1e-4
_BATCH = 32
_WRITERS = 2


@dataclass(frozen=True, slots=True)
class MethodMaps:
    """Maps of one method for the whole sample.

    Attributes:
        raw: float32 (N, h, w), unscaled, signed where the formula allows.
        peaks: float32 (N,), the maximum of each raw map, NaN where the map has a NaN.
        blank: bool (N,), see `find_blank`.
        explained: float32 (N,), the number whose evidence is mapped.
        bias: float32 (N,) and gap: float64 (N,), the completeness check; for CAM only.
    """

    method: str
    raw: NDArray[np.float32]
    peaks: NDArray[np.float32]
    blank: NDArray[np.bool_]
    explained: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    gap: NDArray[np.float64] | None

    @property
    def nan(self) -> int:
        """Maps with a value that is no finite number."""
        return int((~np.isfinite(self.raw)).any(axis=(1, 2)).sum())


@dataclass(frozen=True, slots=True)
class Explained:
    """One explained picture: its name below the data root, digest, true city, the prediction with its probability, and
    what its maps explain in words. Where it is not known what it shows, ``city`` is empty and ``correct`` None."""

    name: str
    digest: str
    city: str
    predicted: str
    probability: float
    correct: bool | None
    target: str


def make_maps(
    tail: Tail,
    activations: Tensor,
    targets: Sequence[Target],
    methods: Sequence[str],
    *,
    noisy: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, MethodMaps]:
    """Maps of every method, in the order asked for.

    Args:
        activations: (N, C, h, w).
        targets: N.
        noisy: (n, N, C, h', w'), see `citycam.explain.methods.explain`.
        progress: called with (maps done, maps in all).
    """
    batches: dict[str, list[MapBatch]] = {method: [] for method in methods}
    gaps: dict[str, list[NDArray[np.float64]]] = {method: [] for method in methods}
    done, total = 0, len(methods) * len(activations)
    for start in range(0, len(activations), _BATCH):
        some = slice(start, start + _BATCH)
        copies = None if noisy is None else noisy[:, some]
        look = look_at(tail, activations[some], targets[some])
        for method in methods:
            batch = explain(method, tail, activations[some], targets[some], noisy=copies, look=look)
            batches[method].append(batch)
            if batch.bias is not None:
                gaps[method].append(completeness_gap(batch, tail))
            done += len(batch.raw)
            if progress is not None:
                progress(done, total)
    return {method: _join(batches[method], gaps[method]) for method in methods}


def _join(batches: Sequence[MapBatch], gaps: Sequence[NDArray[np.float64]]) -> MethodMaps:
    raw = np.concatenate([batch.raw for batch in batches])
    peaks = raw.max(axis=(1, 2))
    biases = [batch.bias for batch in batches if batch.bias is not None]
    return MethodMaps(
        method=batches[0].method,
        raw=raw,
        peaks=peaks,
        blank=find_blank(raw),
        explained=np.concatenate([batch.explained for batch in batches]),
        bias=np.concatenate(biases) if biases else None,
        gap=np.concatenate(gaps) if gaps else None,
    )


def find_blank(raw: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which of the maps (N, h, w) show nothing: a value that is not finite, or a maximum after ReLU of at most 1e-8 of
    the sample's median maximum. Scaled by their own maximum they would show rounding at full contrast."""
    finite = np.isfinite(raw).all(axis=(1, 2))
    peaks = np.maximum(np.where(finite[:, None, None], raw, 0).max(axis=(1, 2)), 0).astype(np.float64)
    median = np.median(peaks[finite]) if finite.any() else 0.0
    blank: NDArray[np.bool_] = peaks <= BLANK_SHARE * median
    return blank


def warnings_about(maps: dict[str, MethodMaps]) -> list[dict[str, str]]:
    """What a reader of these maps must know, as run.json's {code, sentence}."""
    found = []
    height, width = next(iter(maps.values())).raw.shape[1:]
    if min(height, width) < SMALLEST:
        sentence = (
            f"The maps are {height} × {width}: {height * width} numbers for a whole picture, too few to point at an "
            "object; a smaller explain.stride (where the backbone allows it) or a larger image_size makes them finer."
        )
        found.append({"code": "small_map", "sentence": sentence})
    blank = {method: int(one.blank.sum()) for method, one in maps.items() if one.blank.any()}
    if blank:
        counts = ", ".join(f"{number} of {method}" for method, number in blank.items())
        nan = sum(one.nan for one in maps.values())
        sentence = (
            f"Blank among {len(next(iter(maps.values())).raw)} maps each: {counts} ({nan} with NaN); they are marked, "
            "and show no evidence."
        )
        found.append({"code": "blank_maps", "sentence": sentence})
    for method, one in maps.items():
        if one.gap is not None and not one.gap.max() <= COMPLETE:
            sentence = (
                f"{method} misses its logit by up to {one.gap.max():.1e} (at most {COMPLETE:g} is rounding): "
                "do not rely on these maps."
            )
            found.append({"code": "incomplete_cam", "sentence": sentence})
    return found


def summary(maps: dict[str, MethodMaps]) -> dict[str, Any]:
    """Facts for run.json: the map's size, and blank and NaN maps per method, with CAM's largest completeness gap."""
    height, width = next(iter(maps.values())).raw.shape[1:]
    methods: dict[str, Any] = {}
    for method, one in maps.items():
        methods[method] = {"maps": len(one.raw), "blank": int(one.blank.sum()), "nan": one.nan}
        if one.gap is not None:
            largest = float(one.gap.max())
            methods[method]["completeness_gap"] = largest if np.isfinite(largest) else None
    return {"map_size": [int(height), int(width)], "methods": methods}


def write_maps(
    folder: Path,
    maps: dict[str, MethodMaps],
    explained: Sequence[Explained],
    picture: Callable[[int], Pixels],
    *,
    note: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Pixels]:
    """Write maps.npz, an overlay for each picture and method (wrong predictions apart), and a sheet for each method.

    Args:
        folder: the run's ``explain`` folder.
        explained: N, in the order of the maps.
        picture: the uint8 picture (H, W, 3) of a position, asked for once.
        note: end of the caption, for example ``stride 8``.
        progress: called with (overlays done, overlays in all).

    Returns:
        The sheet of every method, uint8 (H, W, 3), for TensorBoard.
    """
    write_whole(folder / "maps.npz", lambda file: np.savez(file, **arrays(maps, explained)))
    names = file_names([one.name for one in explained])
    small: list[Pixels] = []
    # A disk takes as long to be sure of a small file as we to draw the next one.
    with ThreadPoolExecutor(max_workers=_WRITERS) as writers:
        written = []
        for place, one in enumerate(explained):
            small.append(overlay.fit(picture(place), overlay.PANEL))
            for method, its in maps.items():
                words = _caption(one, method, note)
                page = overlay.draw(small[place], its.raw[place], words, blank=bool(its.blank[place]))
                path = folder / ("wrong" if one.correct is False else "") / method / names[place]
                written.append(writers.submit(write_bytes, path, overlay.png(page)))
            if progress is not None:
                progress((place + 1) * len(maps), len(explained) * len(maps))
        for one_written in written:
            one_written.result()
    sheets = {}
    for method, its in maps.items():
        captions = [_caption(one, method, note) for one in explained]
        sheets[method] = overlay.sheet(small, its.raw, captions, its.blank.tolist())
        write_bytes(folder / f"sheet_{method}.png", overlay.png(sheets[method]))
    return sheets


def arrays(maps: dict[str, MethodMaps], explained: Sequence[Explained]) -> dict[str, Any]:
    """The arrays of maps.npz, to be read with ``numpy.load(path)``: nothing is pickled.

    For each method ``<method>``, raw float32 (N, h, w), and ``<method>_max``, ``<method>_blank``,
    ``<method>_explained`` (N,); ``cam_bias`` (N,); for the pictures ``names``, ``digests``, ``cities``,
    ``predicted``, ``probability``, ``correct`` (False also where the city is not known, and empty), ``targets`` (N,).
    """
    columns: dict[str, Any] = {
        "names": np.array([one.name for one in explained]),
        "digests": np.array([one.digest for one in explained]),
        "cities": np.array([one.city for one in explained]),
        "predicted": np.array([one.predicted for one in explained]),
        "probability": np.array([one.probability for one in explained]),
        "correct": np.array([one.correct is True for one in explained]),
        "targets": np.array([one.target for one in explained]),
    }
    for method, one in maps.items():
        columns |= {
            method: one.raw,
            f"{method}_max": one.peaks,
            f"{method}_blank": one.blank,
            f"{method}_explained": one.explained,
        }
        if one.bias is not None:
            columns[f"{method}_bias"] = one.bias
    return columns


def file_names(names: Sequence[str]) -> list[str]:
    """A file name for each picture's name: its number in the sample, then its words without anything that a file system
    could mind. Unique, and at most 150 bytes."""
    return [f"{place:03d}_{_slug(name)}.png" for place, name in enumerate(names)]


def _slug(name: str) -> str:
    stem = name.rpartition(".")[0] or name
    words = re.sub(r"[^\w-]+", "_", unicodedata.normalize("NFC", stem)).strip("_")
    return words.encode()[-140:].decode(errors="ignore")


def _caption(one: Explained, method: str, note: str) -> Caption:
    return Caption(
        city=one.city,
        predicted=one.predicted,
        probability=one.probability,
        correct=one.correct,
        method=METHODS[method].title,
        target=one.target,
        note=note,
        name=one.name,
    )
