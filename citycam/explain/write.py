"""The files of a run's maps: maps.npz, an overlay for each picture and method, and a sheet for each method."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from citycam.cells import CellGrid
from citycam.explain.maps import Maps
from citycam.explain.methods import METHODS
from citycam.files import write_bytes, write_whole
from citycam.report import overlay
from citycam.report.overlay import Caption, Pixels

_WRITERS = 2


def write_maps(
    folder: Path,
    maps: dict[str, Maps],
    captions: Sequence[Caption],
    digests: Sequence[str],
    picture: Callable[[int], Pixels],
    *,
    cells: CellGrid,
    note: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Pixels]:
    """Write maps.npz, the overlays (wrong predictions in a folder of their own) and the sheets.

    Args:
        folder: the run's ``explain`` folder.
        captions, digests: N each, of the pictures in the order of the maps.
        picture: returns the uint8 picture (H, W, 3) at a position; called once for each.
        cells: of every map.
        note: the end of every caption, for example ``stride 8``.
        progress: called with (overlays done, overlays in all).

    Returns:
        The sheet of every method, uint8 (H, W, 3), for TensorBoard.
    """
    write_whole(folder / "maps.npz", lambda file: np.savez(file, **arrays(maps, captions, digests, cells)))
    small = _write_overlays(folder, maps, captions, picture, cells, note, progress)
    sheets = {}
    for method, its in maps.items():
        title, blank = METHODS[method].title, its.blank.tolist()
        sheets[method] = overlay.sheet(small, its.raw, cells, captions, blank, method=title, note=note)
        write_bytes(folder / f"sheet_{method}.png", overlay.png(sheets[method]))
    return sheets


def _write_overlays(
    folder: Path,
    maps: dict[str, Maps],
    captions: Sequence[Caption],
    picture: Callable[[int], Pixels],
    cells: CellGrid,
    note: str,
    progress: Callable[[int, int], None] | None,
) -> list[Pixels]:
    """Write the overlays, and return the pictures in the size of a panel."""
    names = file_names([caption.name for caption in captions])
    small: list[Pixels] = []
    # Syncing a small file to the disk takes as long as drawing the next one.
    with ThreadPoolExecutor(max_workers=_WRITERS) as writers:
        pending = []
        for place, caption in enumerate(captions):
            small.append(overlay.fit(picture(place), overlay.PANEL))
            for method, its in maps.items():
                title, blank = METHODS[method].title, bool(its.blank[place])
                page = overlay.draw(small[place], its.raw[place], cells, caption, method=title, note=note, blank=blank)
                path = folder / ("wrong" if caption.correct is False else "") / method / names[place]
                pending.append(writers.submit(write_bytes, path, overlay.png(page)))
            if progress is not None:
                progress((place + 1) * len(maps), len(captions) * len(maps))
        for written in pending:
            written.result()
    return small


def arrays(
    maps: dict[str, Maps], captions: Sequence[Caption], digests: Sequence[str], cells: CellGrid
) -> dict[str, Any]:
    """Return the arrays of maps.npz, which ``numpy.load(path)`` reads without pickle.

    For each method ``<method>``, raw float32 (N, h, w), and ``<method>_max``, ``<method>_blank``,
    ``<method>_explained`` (N,); ``cam_bias`` (N,). For the pictures ``names``, ``digests``, ``cities``, ``predicted``,
    ``probability``, ``correct`` and ``targets`` (N,). If a city is not known, it is empty and ``correct`` is False.
    For the cells ``cell_rows`` (h,) and ``cell_columns`` (w,), where they look; see `CellGrid`.
    """
    columns: dict[str, Any] = {
        "names": np.array([caption.name for caption in captions]),
        "digests": np.array(digests),
        "cities": np.array([caption.city for caption in captions]),
        "predicted": np.array([caption.predicted for caption in captions]),
        "probability": np.array([caption.probability for caption in captions]),
        "correct": np.array([caption.correct is True for caption in captions]),
        "targets": np.array([caption.target for caption in captions]),
        "cell_rows": np.array(cells.rows),
        "cell_columns": np.array(cells.columns),
    }
    for method, its in maps.items():
        columns |= {
            method: its.raw,
            f"{method}_max": its.peaks,
            f"{method}_blank": its.blank,
            f"{method}_explained": its.explained,
        }
        if its.bias is not None:
            columns[f"{method}_bias"] = its.bias
    return columns


def file_names(names: Sequence[str]) -> list[str]:
    """Return a file name for each picture: its number in the sample, then its name without characters that a file
    system may refuse. Each is unique and at most 150 bytes long."""
    return [f"{place:03d}_{_slug(name)}.png" for place, name in enumerate(names)]


def _slug(name: str) -> str:
    stem = name.rpartition(".")[0] or name
    words = re.sub(r"[^\w-]+", "_", unicodedata.normalize("NFC", stem)).strip("_")
    return words.encode()[-140:].decode(errors="ignore")
