"""What scores read: the network with its pictures, and the maps of one method or control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citycam.cells import CellGrid, nearest
from citycam.explain.effects import Stripped
from citycam.explain.evaluation import to_numpy
from citycam.explain.tail import Tail
from citycam.explain.targets import Contrast, LogitTarget, Target, target_values
from citycam.explain.truth import to_pixels

Array = NDArray[np.floating]
# A pixel of a view matters if at least so much of it changes without a feature.
SHARE = 0.5


@dataclass(frozen=True)
class Causes:
    """What is known of N pictures that can be drawn again without a feature.

    Attributes:
        stripped: P pictures without a feature.
        effects: float64 (P,), what the number answered (`answers_of`) has more with the feature than without it.
    """

    stripped: Stripped
    effects: Array

    @property
    def masks(self) -> NDArray[np.bool_]:
        """The pixels that matter, bool (N, S, S): of which some feature changes at least `SHARE`."""
        return self.stripped.masks(SHARE)


@dataclass(frozen=True)
class Subject:
    """A network with the N pictures that its maps explain.

    Attributes:
        digests: N, of the pictures: the seeds of what is random.
        tail, activations, cells: the tail, its input (N, C, h, w), and where its cells look.
        targets: N.
        network: normalised pictures (B, 3, S, S) to logits (B, K), in eval mode.
        pictures: returns some of the N normalised pictures.
        size: S.
        causes: what is known to matter in the pictures; None where nothing is known.
        seed: of ties and noise.
    """

    digests: Sequence[str]
    tail: Tail
    activations: Tensor
    cells: CellGrid
    targets: Sequence[Target]
    network: Callable[[Tensor], Tensor]
    pictures: Callable[[slice], Tensor]
    size: int
    causes: Causes | None = None
    seed: int = 0
    kept: dict[str, Array] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.targets)

    def answers(self, pictures: Tensor, some: slice) -> Array:
        """Return the number (B,) that the network answers to ``pictures``, changed from those of ``some``; see
        `answers_of`."""
        return answers_of(self.network, pictures, self.targets[some])

    def whole(self, key: str, change: Callable[[Tensor], Tensor], some: slice, step: int) -> Array:
        """Return the `answers` to pictures that all methods share, asked once.

        Args:
            key: names the change.
            change: from pictures to pictures.
            some: of the N.
            step: pictures of a pass.
        """
        if key not in self.kept:
            parts = []
            for start in range(0, len(self), step):
                rows = slice(start, min(start + step, len(self)))
                parts.append(self.answers(change(self.pictures(rows)), rows))
            self.kept[key] = np.concatenate(parts)
        return self.kept[key][some]


@dataclass(frozen=True)
class Drawn:
    """The maps of one method or control, as they are shown.

    Attributes:
        name: of the method or control.
        maps: (N, h, w).
        cells: where the cells of the maps look.
        blank: bool (N,), maps that show nothing and have no score.
        rivals: (N, h, w), the maps of the runner-up, NaN where none was made; None where the score needs none.
        copies: (n, N, h, w), the maps of noisy copies of each picture; None likewise.
    """

    name: str
    maps: Array
    cells: CellGrid
    blank: NDArray[np.bool_]
    rivals: Array | None = None
    copies: Array | None = None

    def pixels(self, some: slice, side: int) -> Array:
        """Return some of the maps as pixels (B, side, side), each with the value of the cell nearest to it."""
        return to_pixels(self.maps[some], self.cells, side)

    def on_cells(self, cells: CellGrid, side: int) -> Array:
        """Return the maps (N, h', w') on another grid: the mean over the pixels that are nearest to each cell."""
        if cells == self.cells:
            return self.maps
        rows, columns = (_means(centres, side) for centres in (cells.rows, cells.columns))
        moved: Array = rows @ self.pixels(slice(None), side) @ columns.T
        return moved


@torch.no_grad()
def answers_of(network: Callable[[Tensor], Tensor], pictures: Tensor, targets: Sequence[Target]) -> Array:
    """Return the number (B,) that a network answers to pictures.

    Where the run explains one of several logits, this is its contrast with the mean of the others: a picture with less
    detail may lower all logits alike, and that changes no answer.
    """
    logits = network(pictures)
    contrasts = [_contrasted(target, logits.shape[1]) for target in targets]
    return to_numpy(target_values(logits, contrasts)).astype(np.float64)


def _means(centres: tuple[float, ...], side: int) -> Array:
    """Return the matrix (cells, side) that averages over the pixels nearest to each cell."""
    matrix = np.zeros((len(centres), side))
    matrix[nearest(centres, side), np.arange(side)] = 1
    # A cell that looks past the border is nearest to no pixel; it gets the last one.
    for cell in np.flatnonzero(matrix.sum(axis=1) == 0):
        matrix[cell, min(side - 1, max(0, int(centres[cell] * side)))] = 1
    means: Array = matrix / matrix.sum(axis=1, keepdims=True)
    return means


def _contrasted(target: Target, classes: int) -> Target:
    return Contrast(target.index) if isinstance(target, LogitTarget) and classes > 1 else target
