"""What every pixel of a picture shows, where a data source or a folder of label maps knows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from citycam.data.pictures import read_indices
from citycam.errors import CitycamError
from citycam.files import read_file

CLASSES = "classes.txt"
# Bytes of classes.txt, and labels of a map of bytes.
_MOST, _LABELS = 2**20, 256


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The labels of a picture: ``pixels`` uint8 (H, W), positions in ``names``."""

    pixels: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelFolder:
    """A folder with a label map for each picture, under the picture's name with .png: paris/7.png for paris/7.jpg."""

    root: Path
    names: tuple[str, ...]

    @classmethod
    def of(cls, root: Path) -> LabelFolder:
        """Read the names of labels from classes.txt: a line for each, its number and its name.

        Raises:
            CitycamError: the file is not there, or a line has no number or one that another line has.
        """
        path = root / CLASSES
        try:
            lines = read_file(path, _MOST).decode("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CitycamError(
                f"{path} cannot be read ({error}); a folder of label maps has it, with a line like `0 Sky` for each "
                "label."
            ) from error
        names: dict[int, str] = {}
        for line in filter(str.strip, lines):
            number, _, name = line.strip().partition(" ")
            if not (number.isascii() and number.isdigit() and int(number) < _LABELS) or not name.strip():
                raise CitycamError(f"{path} has the line {line[:60]!r}; write a number below 256 and a name: 0 Sky.")
            if int(number) in names:
                raise CitycamError(f"{path} has the label {number} twice; give each number once.")
            names[int(number)] = name.strip()
        if not names:
            raise CitycamError(f"{path} is empty; write a line like `0 Sky` for each label.")
        return cls(root, tuple(names.get(number, f"label {number}") for number in range(max(names) + 1)))

    def label_map(self, name: str) -> LabelMap | None:
        """Return the label map of a picture; None if there is none.

        Raises:
            UnreadablePicture: the file is damaged, or no picture of one byte a pixel.
            CitycamError: it holds a number that classes.txt does not have.
        """
        path = self.root / PurePosixPath(name).with_suffix(".png")
        if not path.exists():
            return None
        pixels = read_indices(path)
        if pixels.max(initial=0) >= len(self.names):
            raise CitycamError(f"{path} holds the label {pixels.max()}, which {CLASSES} does not name; add it there.")
        return LabelMap(pixels, self.names)
