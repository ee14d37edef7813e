"""The curves of a comparison: every run is drawn, on common axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from citycam import files
from citycam.report import panels
from citycam.report.ranking import arrange
from citycam.sweep.runs import read_runs
from tests.report.made import answers, make_run


def titles(figure: Any) -> list[str]:
    """Return the titles of the panels."""
    return [text for axes in figure.axes if (text := axes.get_title(loc="left"))]


def test_every_row_has_a_panel_on_common_axes(tmp_path: Path, saved_figures: list[Any]) -> None:
    for number in range(6):
        overrides = [f"epochs={number}", "optimizer=adam" if number else "optimizer=sgd"]
        make_run(tmp_path / f"{number}", answers(20, number), overrides=overrides)
    make_run(tmp_path / "binary", answers(20, 1), classes=["rest", "brill"])
    assert panels.write_panels(tmp_path / "curves.png", arrange(read_runs(tmp_path)))
    (figure,) = saved_figures
    assert titles(figure)[:2] == ["1  epochs 0 · sgd", "2  epochs 1 · adam"]
    assert len(figure.axes) == 2 * 7
    assert [text.get_text() for text in figure.texts] == ["2 classes", "brill against the rest"]
    loss, accuracy = figure.axes[:2]
    assert {axes.get_ylim() for axes in figure.axes[::2]} == {loss.get_ylim()}
    assert {axes.get_xlim() for axes in figure.axes} == {loss.get_xlim()}
    segments = [line.get_segments()[0].tolist() for line in accuracy.collections]
    assert segments == [[[1, 0.5], [2, 0.8]], [[1, 0.6], [2, 1.0]]]
    majority = [line for line in accuracy.lines if line.get_label() == "majority class"]
    assert list(majority[0].get_ydata()) == [0.5, 0.5]
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 < box.y0 < box.y1 < 1 for box in boxes)
    assert len({(round(box.x0, 4), round(box.y0, 4)) for box in boxes}) == len(boxes)


def test_many_rows_share_a_panel(tmp_path: Path, saved_figures: list[Any]) -> None:
    for number in range(panels.MOST + 1):
        make_run(tmp_path / f"{number}", answers(40, number), overrides=[f"epochs={number}"])
    panels.write_panels(tmp_path / "curves.png", arrange(read_runs(tmp_path)))
    assert titles(saved_figures[0]) == ["2 classes: 17 runs"]
    every, best = saved_figures[0].axes[1].collections
    assert len(every.get_segments()) == 17
    assert [segment.tolist() for segment in best.get_segments()] == [[[1, 0.6], [2, 1.0]]]


def test_seeds_share_a_panel_and_a_diverged_run_does_not_flatten_the_others(
    tmp_path: Path, saved_figures: list[Any]
) -> None:
    for seed in (0, 1, 2):
        make_run(tmp_path / f"{seed}", answers(20, seed), overrides=[f"seed={seed}"], seed=seed)
    files.write_csv(tmp_path / "2" / "metrics.csv", ["epoch", "val_loss"], [[1, 0.5], [2, 1e6], [3, "nan"]])
    panels.write_panels(tmp_path / "curves.png", arrange(read_runs(tmp_path)))
    loss = saved_figures[0].axes[0]
    assert len(saved_figures[0].axes) == 2
    assert len(loss.collections[1].get_segments()) == 3
    assert loss.get_ylim()[1] < 5
    assert loss.get_ylabel() == "loss (cut off)"


def test_losses_of_other_classes_have_other_axes_and_only_diverged_runs_are_cut(
    tmp_path: Path, saved_figures: list[Any]
) -> None:
    columns = ["epoch", "train_loss", "val_loss"]
    for number, last in enumerate((0.02, 0.05)):
        make_run(tmp_path / f"multi{number}", answers(20, number), overrides=[f"epochs={number}"])
        files.write_csv(tmp_path / f"multi{number}" / "metrics.csv", columns, [[1, 2.9, 1.8], [2, 0.1, last]])
    make_run(tmp_path / "binary", answers(20, 1), classes=["rest", "brill"])
    panels.write_panels(tmp_path / "curves.png", arrange(read_runs(tmp_path)))
    # Sets in the order of their folders: binary, then multi.
    losses = saved_figures[0].axes[::2]
    assert [round(axes.get_ylim()[1] / 1.05, 2) for axes in losses] == [0.7, 2.9, 2.9]
    assert [axes.get_ylabel() for axes in losses] == ["loss", "loss", ""]


def test_equal_runs_give_equal_figures_and_runs_without_curves_none(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "0", answers(20, 1))
    comparables = arrange(read_runs(tmp_path))
    for name in "ab":
        assert panels.write_panels(tmp_path / name, comparables)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert np.frombuffer((tmp_path / "a").read_bytes()[:4], dtype=np.uint8).tolist() == [0x89, 0x50, 0x4E, 0x47]
    (folder / "metrics.csv").unlink()
    assert not panels.write_panels(tmp_path / "c", arrange(read_runs(tmp_path)))
    assert not (tmp_path / "c").exists()
