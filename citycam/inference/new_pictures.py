"""Pictures that a person gives to a trained run: the files, and labels from the names of their folders."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from citycam.config import Partition
from citycam.data.catalog import plain
from citycam.data.find import KINDS, find
from citycam.data.pictures import SUFFIXES, begins_as_picture
from citycam.errors import CitycamError
from citycam.files import file_mode


@dataclass(frozen=True)
class PictureFiles:
    """Picture files below ``root``. ``names``: paths below it with slashes, sorted. ``warnings``: what was skipped."""

    root: Path
    names: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def path(self, name: str) -> Path:
        """The file of a picture."""
        return self.root / name


@dataclass(frozen=True)
class Truth:
    """The labels of pictures. ``labels``: int64 (N,), class numbers, -1 if unknown. ``note``: where they come from."""

    labels: np.ndarray
    note: str


def find_pictures(path: Path) -> PictureFiles:
    """Return the picture at ``path``, or all pictures below it.

    Raises:
        CitycamError: it does not exist, or no picture is there.
    """
    if stat.S_ISREG(file_mode(path)):
        if path.suffix.lower() not in SUFFIXES and not begins_as_picture(path):
            raise CitycamError(f"{path} is no picture by its name or its first bytes; pictures end in {KINDS}.")
        return PictureFiles(path.parent, (path.name,))
    tree = find(path, setting="", way="give a folder of pictures, or one picture")
    if not tree.names:
        raise CitycamError(f"{path} holds no pictures; it needs files that end in {KINDS}, at any depth.")
    return PictureFiles(path, tree.names, tuple(tree.warnings))


def labels_from_folders(names: Sequence[str], classes: Sequence[str], partition: Partition) -> Truth | None:
    """Return the labels that the folders' names give, or None if none is named like a city (binary: the target).

    ``multi``: a picture's label is the first folder on its path that is named like a city. ``binary``: pictures in a
    folder named like the target show the target and, if there are any, all other pictures in folders show the rest.
    """
    folders = [[plain(part) for part in PurePosixPath(name).parts[:-1]] for name in names]
    if partition is Partition.binary:
        rest, target = classes
        labels = [(int(target in parts) if parts else -1) for parts in folders]
        note = f"pictures in folders named {target} count as {target}, those in all other folders as {rest}"
        known = 1 in labels
    else:
        order = {plain(name): number for number, name in enumerate(classes)}
        labels = [next((order[part] for part in parts if part in order), -1) for parts in folders]
        note = "each picture counts as the city that its folder is named after"
        known = max(labels) >= 0
    return Truth(np.array(labels, dtype=np.int64), note) if known else None
