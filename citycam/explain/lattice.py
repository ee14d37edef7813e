"""Lattices: maps that show the network's grid instead of the picture, on pictures that are small for the network.

A grid that dilation made k times denser has k x k phases: cells whose positions are equal modulo k. Those of one phase
are the plain network's cells for a picture moved by a few pixels. Where a picture is small, each phase reads all of it
again, and the phases differ from each other more than cells of one phase do.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citycam.data.inputs import PlannedRun
from citycam.errors import AUTO
from citycam.explain.activations import plain_activations
from citycam.model.backbone import Backbone

# The largest share of variance at which a denser grid is a default.
LARGEST = 0.1
_PICTURES = 32


def lattice_share(maps: NDArray[np.floating], step: int) -> float:
    """Return the share of the variance of maps that depends on a cell's phase alone, less what chance gives it.

    With n cells and p phases, (share - chance) / (1 - chance), where share is the sum of squares between the phases of
    a picture's maps over that of all their cells, and chance = (p - 1) / (n - 1), the expected share of independent
    cells: the adjusted R squared of a map explained by its phases. It is 1 for a pure lattice, about 0 for noise, and
    below 0 for maps that change slowly. It is the mean over pictures, without those whose maps are constant.

    Args:
        maps: (N, C, h, w), C maps of each of N pictures.
        step: phases along a side.
    """
    cells = maps[0, 0].size
    phases = min(step, maps.shape[2]) * min(step, maps.shape[3])
    if phases == cells:
        return 1.0  # every cell is a phase of its own
    shares = []
    for its in maps:
        centred = its.astype(np.float64) - its.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        parts = [centred[:, row::step, column::step] for row in range(step) for column in range(step)]
        between = sum(part[0].size * np.square(part.mean(axis=(1, 2))).sum() for part in parts if part.size)
        total = np.square(centred).sum()
        if np.isfinite(total) and total > 0:
            shares.append(between / total)
    chance = (phases - 1) / (cells - 1)
    return float((np.mean(shares) - chance) / (1 - chance)) if shares else 0.0


def settle_stride(run: PlannedRun, backbone: Backbone, rows: NDArray[np.int64]) -> PlannedRun:
    """Return the run with the stride of its maps settled; a stride that was settled before stays.

    A denser grid is measured on activations of up to 32 pictures, which do not depend on the head: runs of a frozen
    body get the same. If it is a lattice, ``explain.stride=auto`` takes the plain grid; a stride asked for stays.

    Args:
        backbone: as the maps will see it.
        rows: catalog rows (N,) of the pictures that are explained.
    """
    resolved, plain = run.resolved, backbone.strides[0]
    if resolved.stride == plain or resolved.lattice is not None:
        return run
    some = rows[:_PICTURES]
    share = lattice_share(plain_activations(run, backbone, some), plain // resolved.stride)
    measured = {"stride": resolved.stride, "share": round(share, 4), "pictures": len(some)}
    stride = plain if run.config.explain.stride == AUTO and share > LARGEST else resolved.stride
    return dataclasses.replace(run, resolved=dataclasses.replace(resolved, stride=stride, lattice=measured))


def read_lattice(recorded: Any) -> dict[str, Any] | None:
    """Return what run.json says was measured; None if nothing was, or if the entry is damaged.

    Args:
        recorded: ``lattice`` of run.json's ``explained``.
    """
    kinds: dict[str, type | tuple[type, ...]] = {"stride": int, "share": (int, float), "pictures": int}
    if not isinstance(recorded, dict) or not all(isinstance(recorded.get(name), its) for name, its in kinds.items()):
        return None
    return {name: recorded[name] for name in kinds}


def describe_lattice(lattice: dict[str, Any], stride: int, plain: int) -> str:
    """Return a sentence on what was measured, and on the stride that was taken."""
    denser, share = lattice["stride"], lattice["share"]
    step = plain // denser
    fact = (
        f"At explain.stride={denser}, {max(0, share):.0%} of the variance of activations beyond chance is a cell's "
        f"position modulo {step} ({lattice['pictures']} pictures; up to {LARGEST:.0%} is none)"
    )
    if share <= LARGEST:
        return f"{fact}: the maps have that grid."
    if stride == plain:
        return f"{fact}: a lattice of the network's, so the maps have its plain grid, explain.stride={plain}."
    return (
        f"{fact}: such maps show the network's grid and not the picture; take explain.stride=auto or a larger "
        "image_size."
    )


def lattice_warnings(lattice: dict[str, Any] | None, stride: int, plain: int) -> list[dict[str, str]]:
    """Return what a reader of maps of this stride must know of lattices, as run.json's {code, sentence}."""
    if lattice is None or lattice["share"] <= LARGEST:
        return []
    code = "lattice" if stride == lattice["stride"] else "plain_grid"
    return [{"code": code, "sentence": describe_lattice(lattice, stride, plain)}]
