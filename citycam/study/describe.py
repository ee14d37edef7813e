"""Descriptions of cells: what a middle stage of the backbone makes of every place of a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citycam import progress
from citycam.cells import CellGrid
from citycam.errors import CitycamError
from citycam.explain.grid import stage_cells
from citycam.model.stage_grid import StageGrid, stage_grid
from citycam.model.stages import stage_units
from citycam.study.cell_maps import CELLS
from citycam.study.peaks import Peaks
from citycam.study.subject import Pictures, Subject

Array = NDArray[np.floating]
# Cells a side that the stage has at least: its cells are about as large as the things that people see in a picture. The
# last such stage is read, since earlier ones know edges and colours only. (On city7 at 224 px the stage of 7 cells
# finds twice as many elements that hold on other pictures as the one of 14.)
_FEWEST_CELLS = 7
# Axes of the descriptions.
_AXES = 64
_BATCH = 64


@dataclass(frozen=True)
class Basis:
    """The main axes of all cells of the training pictures.

    Attributes:
        mean: float32 (C,), of unit activations.
        axes: float32 (C, D).
        spread: float32 (D,), the variance of the training cells along each axis.
    """

    mean: Array
    axes: Array
    spread: Array

    def describe(self, units: Array) -> Array:
        """Return the descriptions (..., D) of unit activations (..., C)."""
        described: Array = (units - self.mean) @ self.axes
        return described


@dataclass(frozen=True)
class Stage:
    """The stage that is read. ``cells``: where its cells look."""

    grid: StageGrid
    cells: CellGrid

    @classmethod
    def of(cls, subject: Subject) -> Stage:
        """Return the last stage with at least 7 cells a side.

        Raises:
            CitycamError: none of the network's stages has a grid whose place is known.
        """
        backbone = subject.network.backbone
        fitting = []
        for name in stage_units(backbone.net):
            try:
                grid = stage_grid(backbone.name, backbone.image_size, name)
            except CitycamError:  # a stage without a grid of cells
                continue
            if grid.centre is not None:
                fitting.append(grid)
        if not fitting:
            raise CitycamError(
                f"No stage of {backbone.name} has cells whose place in the picture is known, so that no elements can "
                "be found; take another backbone."
            )
        fine = [grid for grid in fitting if min(grid.cells) >= _FEWEST_CELLS]
        chosen = fine[-1] if fine else min(fitting, key=lambda grid: grid.stride)
        return cls(chosen, stage_cells(chosen, backbone.image_size))


def units_of(subject: Subject, stage: Stage, some: Pictures, what: str) -> Iterator[tuple[slice, Array]]:
    """Yield batches of pictures with their activations at every cell, each of unit length: float32 (B, h, w, C)."""
    module = subject.network.backbone.net.get_submodule(stage.grid.module)
    handle = module.register_forward_hook(_reached)
    try:
        with progress.bar(what, len(some)) as advance, torch.no_grad():
            for start in range(0, len(some), _BATCH):
                chosen = slice(start, min(start + _BATCH, len(some)))
                output = _until_reached(subject.network.backbone, subject.pictures(some, chosen))
                values = stage.grid.from_network(output).float().cpu().numpy().transpose(0, 2, 3, 1)
                lengths = np.linalg.norm(values, axis=-1, keepdims=True)
                yield chosen, values / np.maximum(lengths, 1e-12)
                advance(chosen.stop - chosen.start)
    finally:
        handle.remove()


class _Reached(Exception):
    """The stage was reached; later ones, which take most of a pass, need not run."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def _reached(_module: torch.nn.Module, _inputs: object, output: Tensor) -> None:
    raise _Reached(output)


def _until_reached(backbone: torch.nn.Module, pictures: Tensor) -> Tensor:
    try:
        backbone(pictures)
    except _Reached as reached:
        return reached.output
    raise AssertionError("the stage is no part of the pass")


def describe_peaks(subject: Subject, stage: Stage, some: Pictures, peaks: Peaks) -> tuple[Basis, Array]:
    """Return the main axes of all cells of the pictures, and the descriptions (P, D) of their peaks.

    The covariance is summed up picture by picture, so that memory does not grow with their number.
    """
    count, total, products = 0, np.zeros(0), np.zeros((0, 0))
    rows, columns = (_nearest(centres) for centres in (stage.cells.rows, stage.cells.columns))
    at_peaks: list[Array] = []
    for chosen, units in units_of(subject, stage, some, "descriptions"):
        # Products of a batch in float32, which is faster, and their sum in float64.
        flat = units.reshape(-1, units.shape[-1])
        if not count:
            total, products = np.zeros(flat.shape[1]), np.zeros((flat.shape[1],) * 2)
        count, total, products = count + len(flat), total + flat.sum(axis=0, dtype=np.float64), products + flat.T @ flat
        own = (peaks.picture >= chosen.start) & (peaks.picture < chosen.stop)
        its = peaks.picture[own] - chosen.start
        at_peaks.append(units[its, rows[peaks.row[own]], columns[peaks.column[own]]])
    mean = total / count
    values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    largest = np.argsort(-values)[:_AXES]
    axes, spread = vectors[:, largest] * _signs(vectors[:, largest]), np.maximum(values[largest], 1e-12)
    basis = Basis(*(array.astype(np.float32) for array in (mean, axes, spread)))
    return basis, basis.describe(np.concatenate(at_peaks))


def _signs(vectors: Array) -> Array:
    """Return a sign for each column that makes its largest entry positive, so that axes do not flip by chance."""
    largest = np.abs(vectors).argmax(axis=0)
    signs: Array = np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return signs


def _nearest(centres: tuple[float, ...]) -> NDArray[np.int64]:
    """Return for each cell of a map the cell of the stage that looks nearest to its middle, int (16,)."""
    middles = (np.arange(CELLS) + 0.5) / CELLS
    return np.asarray(np.abs(np.array(centres)[None] - middles[:, None]).argmin(axis=1), dtype=np.int64)
