"""One picture as every run and method explains it: the same picture in every row, without blank maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citycam.cells import CellGrid
from citycam.files import write_whole
from citycam.report import overlay, side_by_side
from citycam.report.ranking import arrange
from citycam.report.side_by_side import write_side_by_side
from citycam.sweep.runs import read_runs
from tests.report.made import answers, make_run

CELLS = CellGrid.regular(4, 4, stride=16, centre=0.5, side=64)


def explain(folder: Path, digests: list[str], *, methods: tuple[str, ...] = ("cam",), blank: bool = False) -> None:
    """Write maps.npz and thumbnails of a run."""
    arrays = {key: np.array([f"{key} {digest}" for digest in digests]) for key in ("names", "cities", "targets")}
    arrays |= {"predicted": arrays["cities"], "probability": np.full(len(digests), 0.9)}
    arrays |= {"digests": np.array(digests), "correct": np.ones(len(digests), dtype=bool)}
    arrays |= {"cell_rows": np.array(CELLS.rows), "cell_columns": np.array(CELLS.columns)}
    for number, method in enumerate(methods):
        raw = np.random.default_rng(number).random((len(digests), 4, 4), dtype=np.float32)
        arrays |= {method: raw, f"{method}_max": raw.max(axis=(1, 2)), f"{method}_blank": np.full(len(digests), blank)}
    write_whole(folder / "explain" / "maps.npz", lambda file: np.savez(file, **arrays))
    (folder / "thumbs").mkdir(exist_ok=True)
    for digest in digests:
        Image.new("RGB", (48, 36), (90, 120, 60)).save(folder / "thumbs" / f"{digest}.jpg")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The maps that are drawn during a test, in order."""
    maps: list[np.ndarray] = []
    draw = overlay.overlay

    def keep(picture: np.ndarray, raw: np.ndarray, cells: CellGrid) -> np.ndarray:
        maps.append(raw)
        assert cells == CELLS
        return draw(picture, raw, cells)

    monkeypatch.setattr(overlay, "overlay", keep)
    return maps


def test_every_run_and_method_shows_the_picture_that_most_runs_share(tmp_path: Path, drawn: list[np.ndarray]) -> None:
    for number, digests in enumerate((["x", "a", "b"], ["a", "b"], ["b", "a"])):
        explain(make_run(tmp_path / f"{number}", answers(20, number), overrides=[f"epochs={number}"]), digests)
    explain(tmp_path / "1", ["a", "b"], methods=("cam", "gradcam"))
    make_run(tmp_path / "none", answers(20, 4), overrides=["epochs=9"])
    assert write_side_by_side(tmp_path / "overlays.png", arrange(read_runs(tmp_path)))
    expected = np.random.default_rng(0).random((3, 4, 4), dtype=np.float32)
    assert [raw.tolist() for raw in drawn[:2]] == [expected[1].tolist(), expected[0].tolist()]
    assert len(drawn) == 4
    with Image.open(tmp_path / "overlays.png") as page:
        assert page.width == 2 * 14 + 210 + 3 * 138 - 10
    first = (tmp_path / "overlays.png").read_bytes()
    write_side_by_side(tmp_path / "overlays.png", arrange(read_runs(tmp_path)))
    assert (tmp_path / "overlays.png").read_bytes() == first


def test_blank_and_damaged_maps_are_not_drawn(tmp_path: Path, drawn: list[np.ndarray]) -> None:
    explain(make_run(tmp_path / "0", answers(20, 0), overrides=["epochs=1"]), ["a"], blank=True)
    explain(make_run(tmp_path / "1", answers(20, 1), overrides=["epochs=2"]), ["a"])
    (tmp_path / "1" / "explain" / "maps.npz").write_bytes(b"PK\x03\x04 cut")
    assert write_side_by_side(tmp_path / "overlays.png", arrange(read_runs(tmp_path)))
    assert drawn == []


def test_without_maps_or_thumbnails_there_is_no_page(tmp_path: Path) -> None:
    explain(make_run(tmp_path / "0", answers(20, 0)), ["a"])
    (tmp_path / "0" / "thumbs" / "a.jpg").unlink()
    assert not write_side_by_side(tmp_path / "overlays.png", arrange(read_runs(tmp_path)))
    assert not (tmp_path / "overlays.png").exists()


def test_only_the_best_rows_of_each_set_are_shown(tmp_path: Path, drawn: list[np.ndarray]) -> None:
    for number in range(side_by_side.MOST + 4):
        classes = ["rest", "brill"] if number >= side_by_side.MOST + 1 else ["arden", "brill"]
        folder = make_run(tmp_path / f"{number}", answers(40, number), overrides=[f"lr={number}"], classes=classes)
        explain(folder, ["a"])
    write_side_by_side(tmp_path / "overlays.png", arrange(read_runs(tmp_path)))
    assert len(drawn) == side_by_side.MOST
