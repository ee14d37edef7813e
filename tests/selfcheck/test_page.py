"""The page and the table of a check."""

from __future__ import annotations

import dataclasses

import numpy as np

from citycam.cells import CellGrid
from citycam.report.verdicts import SelfCheck
from citycam.selfcheck.drawn import Drawn
from citycam.selfcheck.marks import STRONG
from citycam.selfcheck.page import outlined, page, pointed
from citycam.selfcheck.planting import masks
from citycam.selfcheck.run import Example, Outcome
from citycam.selfcheck.text import lines_of
from tests.selfcheck.test_verdicts import made

SIDE = 64
EVIL = '<script>alert("x")</script><!--tables--> & more'


def outcome(check: SelfCheck, name: str = "a.png") -> Outcome:
    """A check with a picture."""
    view = np.full((SIDE, SIDE, 3), 90, dtype=np.uint8)
    maps = {"gradcam": Drawn(np.arange(4.0).reshape(1, 2, 2), CellGrid.even(2, 2))}
    return Outcome(check, (Example(name, view, masks(STRONG, SIDE, "ab", 0), maps),))


def test_names_cannot_become_markup() -> None:
    pictures = dataclasses.replace(made().pictures, city=EVIL, root=EVIL)
    text = page(outcome(made(pictures=pictures, notes=(EVIL,), command=EVIL), EVIL))
    assert "<script" not in text
    assert text.count("<!--") == 0
    assert text.count("&lt;script&gt;") >= 5
    assert "default-src 'none'" in text


def test_verdicts_come_first_in_plain_words() -> None:
    text = page(outcome(made()))
    first = text.index("Grad-CAM: blind")
    assert first < text.index("<figure>") < text.index("<table")
    lines = lines_of(made())
    assert lines[0].startswith("Grad-CAM: blind; its maps do not show")


def test_a_blank_map_is_not_drawn_as_evidence() -> None:
    shown = outcome(made())
    blank = {"gradcam": Drawn(np.zeros((1, 2, 2)), CellGrid.even(2, 2))}
    text = page(dataclasses.replace(shown, examples=(dataclasses.replace(shown.examples[0], maps=blank),)))
    assert "Grad-CAM: blank map" in text
    assert "blank map" not in page(shown)


def test_outlines_lie_around_the_marks_and_leave_them_as_they_are() -> None:
    view = np.full((192, 192, 3), 90, dtype=np.uint8)
    both = masks(STRONG, 192, "ab", 0)
    drawn = outlined(view, both)
    changed = (drawn != view).any(axis=2)
    assert not (changed & both.any(axis=0)).any()
    near = np.argwhere(both[0])
    rows, columns = np.where(changed & (drawn == 255).all(axis=2))
    assert len(rows) > 40
    assert all(np.abs(near - place).max(axis=1).min() <= 2 for place in zip(rows, columns, strict=True))


def test_the_cross_is_at_the_highest_point() -> None:
    maps = np.zeros((1, 4, 4))
    maps[0, 3, 1] = 1
    pixels = pointed(np.zeros((80, 80, 3), dtype=np.uint8), Drawn(maps, CellGrid.even(4, 4)))
    rows, columns = np.where(pixels.any(axis=2))
    assert (round(rows.mean()), round(columns.mean())) == (70, 30)
