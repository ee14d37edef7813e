"""Figures show the values that they are given, and no text leaves the picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from citycam.report import figures


def test_curves_show_both_parts_and_the_majority_class(tmp_path: Path, saved_figures: list[Any]) -> None:
    rows = [
        {"epoch": e, "train_loss": 2.0 / e, "val_loss": 2.2 / e, "train_accuracy": 0.9, "val_accuracy": 0.8}
        for e in (1, 2)
    ]
    figures.write_curves(tmp_path / "curves.png", rows, 0.125)
    left, right = saved_figures[0].axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[2.0, 1.0], [2.2, 1.1]]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["training", "validation", "majority class"]
    assert list(right.lines[2].get_ydata()) == [0.125, 0.125]
    with Image.open(tmp_path / "curves.png") as page:
        assert page.size == (1350, 540)


def test_one_epoch_with_missing_measures_can_be_drawn(tmp_path: Path) -> None:
    figures.write_curves(tmp_path / "curves.png", [{"epoch": 1, "train_loss": 0.5}])
    assert Image.open(tmp_path / "curves.png").getextrema() != ((255, 255),) * 4


def test_confusion_shows_counts_and_shares_of_rows(tmp_path: Path, saved_figures: list[Any]) -> None:
    figures.write_confusion(tmp_path / "confusion.png", np.array([[3, 1], [0, 0]]), ("a", "b"))
    axes = saved_figures[0].axes[0]
    assert [(text.get_text(), text.get_position()) for text in axes.texts] == [
        ("3\n75%", (0.5, 0.5)),
        ("1\n25%", (1.5, 0.5)),
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a (4)", "b (0)"]
    assert axes.yaxis_inverted()


@pytest.mark.parametrize("k", [2, 20])
def test_no_text_of_the_confusion_leaves_the_picture(tmp_path: Path, saved_figures: list[Any], k: int) -> None:
    names = [f"A town with a long name {i}" for i in range(k)]
    figures.write_confusion(tmp_path / "confusion.png", np.full((k, k), 7), names)
    figure = saved_figures[0]
    box, whole = figure.get_tightbbox(figure.canvas.get_renderer()), figure.bbox_inches
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= whole.x1
    assert box.y1 <= whole.y1


def test_equal_figures_are_equal_files_and_pyplot_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path; from citycam.report import figures\n"
        "for name in 'ab': figures.write_confusion(Path(sys.argv[1]) / name, np.eye(3, dtype=int), 'xyz')\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True).stdout
    assert printed == "False\n"
    with Image.open(tmp_path / "a") as page:
        assert "Software" not in page.info
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
