"""The maps of a run are read whole, or the file counts as damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citycam.cells import CellGrid
from citycam.errors import DamagedFile
from citycam.report.ranking import arrange
from citycam.report.side_by_side import write_side_by_side
from citycam.report.stored_maps import read_maps, read_sample
from citycam.sweep.runs import read_runs
from tests.report.page_runs import digest, make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Write a run that explains three pictures by two methods."""
    return make_run(tmp_path / "s" / "0", pictures=3, size=(4, 6), methods=("cam", "gradcam"))


def change(run: Path, **changes: Any) -> None:
    """Replace arrays of maps.npz; None removes one."""
    path = run / "explain" / "maps.npz"
    with np.load(path) as arrays:
        content = dict(arrays) | changes
    np.savez(path, **{name: array for name, array in content.items() if array is not None})


def test_maps_have_their_pictures_and_methods(run: Path) -> None:
    stored, sample = read_maps(run), read_sample(run)
    assert stored.digests == sample.digests == tuple(map(digest, range(3)))
    assert sample.sizes == ((4, 6), (4, 6))
    assert stored.predicted == ("arden", "brill", "arden")
    assert stored.correct == (True, False, True)
    with np.load(run / "explain" / "maps.npz") as arrays:
        assert list(stored.methods) == ["cam", "gradcam"]
        assert all(np.array_equal(its.raw, arrays[method]) for method, its in stored.methods.items())
        assert all(its.targets == tuple(arrays["targets"]) and its.box == 1 for its in stored.methods.values())
    assert stored.methods["cam"].blank.tolist() == [False, False, True]


def test_a_method_may_have_cells_targets_and_a_box_of_its_own(run: Path) -> None:
    raw = np.random.default_rng(0).normal(size=(3, 12, 12)).astype(np.float32)
    columns = {"max": raw.max(axis=(1, 2)), "blank": np.zeros(3, dtype=bool), "box": np.array([3])}
    columns |= {"targets": np.array(["a, not others"] * 3), "rows": (np.arange(12) + 0.5) / 12}
    columns["columns"] = columns["rows"]
    change(run, integrated=raw, **{f"integrated_{name}": column for name, column in columns.items()})
    its, cam = read_maps(run).methods["integrated"], read_maps(run).methods["cam"]
    assert (its.cells, its.box, its.targets) == (CellGrid.even(12, 12), 3, ("a, not others",) * 3)
    assert (cam.cells, cam.box) == (CellGrid.regular(4, 6, stride=8, centre=0.5, side=48), 1)
    sample = read_sample(run)
    assert (sample.sizes, sample.smoothed_sizes) == (((4, 6), (4, 6)), ((12, 12),))
    twice = np.array([1, 2, 3, 2, 1]) / 9  # a box of 3, averaged over one
    assert its.smoothed(1)[5, 5] == pytest.approx(twice @ raw[1, 3:8, 3:8] @ twice, rel=1e-4)


def test_cells_look_where_the_file_says_and_divide_the_picture_evenly_in_older_files(run: Path) -> None:
    assert read_maps(run).methods["cam"].cells == CellGrid.regular(4, 6, stride=8, centre=0.5, side=48)
    change(run, cell_rows=None, cell_columns=None)
    assert read_maps(run).methods["cam"].cells == CellGrid(
        (1 / 8, 3 / 8, 5 / 8, 7 / 8), tuple((2 * cell + 1) / 12 for cell in range(6))
    )


def test_a_run_without_maps_is_not_damaged(tmp_path: Path) -> None:
    for read in (read_sample, read_maps):
        with pytest.raises(FileNotFoundError):
            read(tmp_path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut off": lambda run: (run / "explain" / "maps.npz").write_bytes(b"PK\x03\x04 cut off"),
    "empty": lambda run: (run / "explain" / "maps.npz").write_bytes(b""),
    "no archive": lambda run: (run / "explain" / "maps.npz").write_bytes(b"maps"),
    "without digests": lambda run: change(run, digests=None),
    "without names": lambda run: change(run, names=None),
    "without methods": lambda run: change(run, cam_blank=None, gradcam_blank=None),
    "a map too few": lambda run: change(run, cam=np.zeros((2, 4, 6), dtype=np.float32)),
    "a map without columns": lambda run: change(run, cam=np.zeros((3, 4), dtype=np.float32)),
    "a number as array": lambda run: change(run, cities=np.array("arden")),
    "one row of cells too few": lambda run: change(run, cell_rows=np.array([0.1, 0.4, 0.7])),
    "only columns of cells": lambda run: change(run, cell_rows=None),
    "cells that are words": lambda run: change(run, cell_rows=np.array(["a", "b", "c", "d"])),
    "cells in disorder": lambda run: change(run, cell_rows=np.array([0.1, 0.7, 0.4, 0.9])),
    "cells at no number": lambda run: change(run, cell_rows=np.array([0.1, 0.4, np.nan, 0.9])),
    "targets too few": lambda run: change(run, cam_targets=np.array(["a", "b"])),
    "targets that are numbers": lambda run: change(run, cam_targets=np.arange(3)),
    "a box wider than the map": lambda run: change(run, cam_box=np.array([5])),
    "a box of an even width": lambda run: change(run, cam_box=np.array([2])),
    "a box that is no number": lambda run: change(run, cam_box=np.array(["3"])),
    "own cells of another number": lambda run: change(run, cam_rows=np.arange(3.0), cam_columns=np.arange(6.0)),
    "pickled": lambda run: change(run, targets=np.array([{}, {}, {}], dtype=object)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_maps_are_refused_and_not_drawn(run: Path, damage: str) -> None:
    DAMAGE[damage](run)
    with pytest.raises(DamagedFile):
        read_maps(run)
    assert not write_side_by_side(run.parent / "overlays.png", arrange(read_runs(run.parent)))
