"""Marks that are planted in pictures: their shapes, sizes, colours and places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citycam import seeds
from citycam.errors import CitycamError, check_known

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Colours of two marks in one picture. Paler ones were used less by the network, and less alike.
COLOURS: dict[str, tuple[int, int, int]] = {"red": (255, 0, 0), "blue": (0, 0, 255)}
_WHITE = (255, 255, 255)
# A shape smaller than this has no inside.
_LEAST = 5
# Two letters, 5 x 5 cells each.
_LETTERS = ("#...#.####", "##.##.#...", "#.#.#.###.", "#...#.#...", "#...#.####")


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of a ``shape`` in `SHAPES`, whose side is the share ``size`` of the picture's."""

    shape: str
    size: float

    def __post_init__(self) -> None:
        check_known("mark", self.shape, tuple(SHAPES))

    def side(self, picture: int) -> int:
        """Return its side in pixels, in a picture of ``picture`` pixels a side.

        Raises:
            CitycamError: two of them do not fit beside each other, or it would be too small to have a shape.
        """
        pixels = max(_LEAST, round(self.size * picture))
        if 3 * pixels > picture:
            raise CitycamError(
                f"A {self.shape} of {pixels} pixels is planted twice in a picture of {picture}, which is too small for "
                f"two at any place; take a mark of at most a third of the side (its size is {self.size:g}), or a "
                "larger image_size."
            )
        return pixels

    @property
    def words(self) -> str:
        """What tables call it."""
        return f"{self.shape} {self.size:.0%}".replace("%", " %")


def _disc(side: int) -> tuple[Mask, Mask]:
    """A disc with a horizontal bar, as on a traffic sign."""
    rows, columns = _places(side)
    inside = rows**2 + columns**2 <= 1
    return inside, inside & (np.abs(rows) < 0.22) & (np.abs(columns) < 0.7)


def _square(side: int) -> tuple[Mask, Mask]:
    """A plain square."""
    return np.ones((side, side), dtype=bool), np.zeros((side, side), dtype=bool)


def _lettering(side: int) -> tuple[Mask, Mask]:
    """Two letters on nothing."""
    cells = np.array([[cell == "#" for cell in row] for row in _LETTERS])
    rows, columns = (np.arange(side) * count // side for count in cells.shape)
    letters = cells[rows[:, None], columns[None, :]]
    return letters, np.zeros_like(letters)


def _ring(side: int) -> tuple[Mask, Mask]:
    """A thin ring."""
    rows, columns = _places(side)
    distance = np.hypot(rows, columns)
    ring = (distance <= 1) & (distance > 1 - max(0.3, 2.5 / side))
    return ring, np.zeros_like(ring)


def _places(side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of the cells of a square, from -1 to 1."""
    place = (np.arange(side) + 0.5) / side * 2 - 1
    return place[:, None], place[None, :]


# From a side to (pixels of the mark, those of them that are white).
SHAPES: dict[str, Callable[[int], tuple[Mask, Mask]]] = {
    "disc": _disc,
    "square": _square,
    "lettering": _lettering,
    "ring": _ring,
}
STRONG = Mark("disc", 0.16)
# What --all adds: marks that are hardly used, and a smaller one.
WEAK = (Mark("disc", 0.09), Mark("square", 0.16), Mark("lettering", 0.16), Mark("ring", 0.16))


def corners(mark: Mark, picture: int, digest: str, seed: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the upper left corners of two marks in a picture: any two places where they do not overlap.

    Args:
        picture: pixels a side.
        digest: of the picture; it names the random draw.

    Raises:
        CitycamError: see `Mark.side`.
    """
    side = mark.side(picture)
    random = seeds.stream(seed, "mark", mark.shape, str(mark.size), digest)
    places = np.arange(picture - side + 1)
    row, column = (int(place) for place in random.integers(0, len(places), 2))
    apart = (np.abs(places - row) >= side)[:, None] | (np.abs(places - column) >= side)[None, :]
    free = np.flatnonzero(apart)
    other = divmod(int(free[random.integers(len(free))]), len(places))
    return (row, column), other


def mask_at(mark: Mark, picture: int, corner: tuple[int, int]) -> Mask:
    """Return the pixels of a mark, bool (S, S)."""
    whole = np.zeros((picture, picture), dtype=bool)
    shape, _ = SHAPES[mark.shape](mark.side(picture))
    whole[_box(shape, corner)] = shape
    return whole


def stamp(view: Pixels, mark: Mark, colour: str, corner: tuple[int, int]) -> None:
    """Draw a mark of a colour in `COLOURS` into a view, uint8 (S, S, 3)."""
    shape, white = SHAPES[mark.shape](mark.side(len(view)))
    box = view[_box(shape, corner)]
    box[shape] = COLOURS[colour]
    box[white] = _WHITE


def _box(shape: Mask, corner: tuple[int, int]) -> tuple[slice, slice]:
    return slice(corner[0], corner[0] + len(shape)), slice(corner[1], corner[1] + len(shape))
