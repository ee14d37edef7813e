"""What the regions of an element hold, where label maps are known. No name is invented."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from citycam.data.label_map import LabelFolder, LabelMap
from citycam.data.sources import source_of
from citycam.errors import CitycamError
from citycam.files import at_home
from citycam.study.describe import Stage
from citycam.study.subject import Subject

Array = NDArray[np.floating]
# A region is a square of this share of the side around the middle of the cell.
_REGION = 1 / 8
# A label of less of a region than this is not held by it.
_HELD = 0.15


Labels = Callable[[str], LabelMap | None]


def labels_of(subject: Subject) -> Labels:
    """Return what knows the label map of a picture by its name: ``study.labels``, or the data source.

    Raises:
        CitycamError: ``study.labels`` is no folder of label maps, or has none of a tested picture.
    """
    if subject.settings.labels is None:
        return source_of(subject.run.config.data).label_map
    folder = LabelFolder.of(at_home(subject.settings.labels))
    if not any(folder.label_map(name) for name in subject.testing.names):
        name = subject.testing.names[0]
        raise CitycamError(
            f"study.labels={folder.root} has no label map of any tested picture; the one of {name} would be "
            f"{PurePosixPath(name).with_suffix('.png')}."
        )
    return folder.label_map


def most_held(
    labels_by_name: Labels, stage: Stage, names: Sequence[str], cells: NDArray[np.int32]
) -> tuple[str | None, float | None]:
    """Return the label that regions hold most, compared with the pictures around them, and the share of regions that
    hold it.

    Walls and sky are most of every picture, so that the label is taken that adds most to the divergence of the regions
    from the pictures (Kullback and Leibler 1951): its share in regions times the logarithm of by how much that is more
    than in the pictures. The difference of both shares would prefer what is common, as the pavement beside a paving.

    Args:
        labels_by_name: see `labels_of`; pictures without a label map do not count.
        names: of pictures (M,).
        cells: of the stage, one in each (M,).

    Returns:
        None twice where no label map is known.
    """
    regions: list[Array] = []
    wholes: list[Array] = []
    known: tuple[str, ...] = ()
    for name, cell in zip(names, cells.tolist(), strict=True):
        labels = labels_by_name(name)
        if labels is None:
            continue
        row, column = divmod(int(cell), len(stage.cells.columns))
        regions.append(_shares(labels, _region(labels, stage.cells.rows[row], stage.cells.columns[column])))
        wholes.append(_shares(labels, labels.pixels))
        known = labels.names
    if not regions:
        return None, None
    of_regions, of_wholes = np.stack(regions), np.stack(wholes)
    inside, around = of_regions.mean(axis=0), of_wholes.mean(axis=0)
    added = inside * np.log(np.maximum(inside, 1e-12) / np.maximum(around, 1e-12))
    most = int(np.lexsort((inside, added.round(9)))[-1])  # what is most of the regions, where no label adds anything
    return known[most], float((of_regions[:, most] >= _HELD).mean())


def _region(labels: LabelMap, row: float, column: float) -> NDArray[np.uint8]:
    """Return the pixels of a label map around a place, given as shares of the picture."""
    (height, width), half = labels.pixels.shape, _REGION / 2
    top, bottom = round((row - half) * height), round((row + half) * height)
    left, right = round((column - half) * width), round((column + half) * width)
    top, left = min(max(0, top), height - 1), min(max(0, left), width - 1)
    return labels.pixels[top : max(top + 1, bottom), left : max(left + 1, right)]


def _shares(labels: LabelMap, pixels: NDArray[np.uint8]) -> Array:
    """Return the share of each label in pixels (L,)."""
    return np.bincount(pixels.ravel(), minlength=len(labels.names)) / pixels.size
