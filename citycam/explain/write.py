"""The files of a run's maps: maps.npz, an overlay for each picture and method, and a sheet for each method."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citycam.cells import CellGrid, smoothed
from citycam.explain.maps import Maps
from citycam.files import write_bytes, write_whole
from citycam.report import overlay
from citycam.report.overlay import Caption, Pixels

_WRITERS = 2


@dataclass(frozen=True, slots=True)
class Shown:
    """How the maps of one method are shown.

    Attributes:
        title: of the method.
        cells: of its maps.
        targets: what each of its N maps explains, in words.
        note: the end of every caption, for example ``stride 8``.
        box: the width of the box, in cells, that smooths a map twice for the eye; 1 shows it as it is.
        signed: whether evidence against the target is drawn, too.
        verdict: a sentence on whether the method's maps may be believed; empty if nobody has checked.
    """

    title: str
    cells: CellGrid
    targets: tuple[str, ...]
    note: str = ""
    box: int = 1
    signed: bool = False
    verdict: str = ""


def write_maps(
    folder: Path,
    maps: dict[str, Maps],
    shown: Mapping[str, Shown],
    captions: Sequence[Caption],
    digests: Sequence[str],
    picture: Callable[[int], Pixels],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Pixels]:
    """Write maps.npz, the overlays (wrong predictions in a folder of their own) and the sheets.

    Args:
        folder: the run's ``explain`` folder.
        shown: by method.
        captions, digests: N each, of the pictures in the order of the maps.
        picture: returns the uint8 picture (H, W, 3) at a position; called once for each.
        progress: called with (overlays done, overlays in all).

    Returns:
        The sheet of every method, uint8 (H, W, 3), for TensorBoard.
    """
    write_whole(folder / "maps.npz", lambda file: np.savez(file, **arrays(maps, shown, captions, digests)))
    smooth = {method: smoothed(its.raw, shown[method].box) for method, its in maps.items()}
    small = _write_overlays(folder, maps, smooth, shown, captions, picture, progress)
    sheets = {}
    for method, its in maps.items():
        how, blank = shown[method], its.blank.tolist()
        own = [_of(caption, how, place) for place, caption in enumerate(captions)]
        sheets[method] = overlay.sheet(
            small,
            smooth[method],
            how.cells,
            own,
            blank,
            method=how.title,
            note=how.note,
            signed=how.signed,
            verdict=how.verdict,
        )
        write_bytes(folder / f"sheet_{method}.png", overlay.png(sheets[method]))
    return sheets


def _of(caption: Caption, shown: Shown, place: int) -> Caption:
    """Return the caption of a picture with what its map by one method explains."""
    return dataclasses.replace(caption, target=shown.targets[place])


def _write_overlays(
    folder: Path,
    maps: dict[str, Maps],
    smooth: Mapping[str, NDArray[np.floating]],
    shown: Mapping[str, Shown],
    captions: Sequence[Caption],
    picture: Callable[[int], Pixels],
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
                how = shown[method]
                page = overlay.draw(
                    small[place],
                    smooth[method][place],
                    how.cells,
                    _of(caption, how, place),
                    method=how.title,
                    note=how.note,
                    blank=bool(its.blank[place]),
                    signed=how.signed,
                    verdict=how.verdict,
                )
                path = folder / ("wrong" if caption.correct is False else "") / method / names[place]
                pending.append(writers.submit(write_bytes, path, overlay.png(page)))
            if progress is not None:
                progress((place + 1) * len(maps), len(captions) * len(maps))
        for written in pending:
            written.result()
    return small


def arrays(
    maps: dict[str, Maps], shown: Mapping[str, Shown], captions: Sequence[Caption], digests: Sequence[str]
) -> dict[str, Any]:
    """Return the arrays of maps.npz, which ``numpy.load(path)`` reads without pickle.

    For each method ``<method>``, raw float32 (N, h, w), and ``<method>_max``, ``<method>_blank``,
    ``<method>_explained`` (N,); for methods that promise a sum ``<method>_bias`` (N,). For the pictures ``names``,
    ``digests``, ``cities``, ``predicted``, ``probability``, ``correct`` and ``targets``, what is explained (N,). If a
    city is not known, it is empty and ``correct`` is False. For the cells ``cell_rows`` (h,) and ``cell_columns`` (w,),
    where they look; see `CellGrid`. A method that explains something else than the first one, or has other cells, has
    ``<method>_targets``, ``<method>_rows`` and ``<method>_columns`` of its own, and one that is smoothed before it is
    shown ``<method>_box`` (1,), the width of the box in cells.
    """
    first = shown[next(iter(maps))]
    columns: dict[str, Any] = {
        "names": np.array([caption.name for caption in captions]),
        "digests": np.array(digests),
        "cities": np.array([caption.city for caption in captions]),
        "predicted": np.array([caption.predicted for caption in captions]),
        "probability": np.array([caption.probability for caption in captions]),
        "correct": np.array([caption.correct is True for caption in captions]),
        "targets": np.array(first.targets),
        "cell_rows": np.array(first.cells.rows),
        "cell_columns": np.array(first.cells.columns),
    }
    for method, its in maps.items():
        columns |= {
            method: its.raw,
            f"{method}_max": its.peaks,
            f"{method}_blank": its.blank,
            f"{method}_explained": its.explained,
        }
        how = shown[method]
        if how.targets != first.targets:
            columns[f"{method}_targets"] = np.array(how.targets)
        if how.cells != first.cells:
            columns |= {f"{method}_rows": np.array(how.cells.rows), f"{method}_columns": np.array(how.cells.columns)}
        if how.box > 1:
            columns[f"{method}_box"] = np.array([how.box])
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
