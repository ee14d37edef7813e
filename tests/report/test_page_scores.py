"""The scores of maps on comparison.html."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from citycam.report.page_scores import gather_scores
from citycam.sweep.runs import read_runs
from tests.report.page_runs import make_run
from tests.report.test_page import EVIL, page_of
from tests.report.test_page_browser import CHROMIUM, ask

ABOUT = {
    "removal": {"title": "loss without the highest cells", "better": "higher", "hides": "Cells see far."},
    "deletion_blur": {"title": "deletion", "better": "lower", "hides": f"Little {EVIL}."},
}
CAM = {"mean": 1.2345, "low": 1.0, "high": 1.5, "n": 24, "groups": 6, "excluded": 1, "better_than": ["random", "edges"]}
NONE = {"mean": None, "low": None, "high": None, "n": 0, "groups": None, "excluded": 25}
SCORES = {"cam": {"removal": CAM, "deletion_blur": NONE}, "random": {"removal": CAM | {"better_than": []}}}


def explained(**changes: Any) -> dict[str, Any]:
    return {"methods": {"cam": {}}, "scores": SCORES, "about_scores": ABOUT} | changes


def test_the_page_has_the_scores_of_every_run(tmp_path: Path) -> None:
    make_run(tmp_path / "s" / "0", explained=explained())
    make_run(tmp_path / "s" / "1")
    (gathered,) = page_of(tmp_path / "s")["scores"].values()
    assert [name for name, *_ in gathered["about"]] == ["removal", "deletion_blur"]
    (method, control, (removal, deletion)), (other, is_control, cells) = gathered["rows"]
    assert (method, control, other, is_control) == ("cam", False, "random", True)
    assert (removal["mean"], removal["between"], removal["n"], removal["groups"]) == ("1.234", "[1.00, 1.50]", 24, 6)
    assert (removal["better_than"], removal["worse_than"]) == (["random", "edges"], [])
    assert deletion is None
    assert cells[1] is None


@pytest.mark.parametrize(
    "damage", [None, 3, [], "x", {}, {"cam": 3}, {"cam": {"removal": 3}}, {"cam": {"removal": []}}]
)
def test_entries_that_are_no_scores_are_left_out(tmp_path: Path, damage: object) -> None:
    make_run(tmp_path / "s" / "0", explained=explained(scores=damage))
    make_run(tmp_path / "s" / "1", explained=explained(about_scores=damage))
    for its in gather_scores(read_runs(tmp_path / "s")).values():
        assert all(cell is None for _, _, cells in its["rows"] for cell in cells)
    for value in ("many", True, None, [1], {}):
        broken = {
            "cam": {"removal": CAM | {"mean": value}, "deletion_blur": CAM | {"better_than": value, "low": value}}
        }
        make_run(tmp_path / "s" / "2", explained=explained(scores=broken))
        (cells,) = [its["rows"][0][2] for index, its in gather_scores(read_runs(tmp_path / "s")).items() if index == 2]
        assert cells[0] is None
        assert cells[1]["between"] == ""


@pytest.mark.skipif(CHROMIUM is None, reason="install chromium to test the page in a browser")
def test_a_person_sees_scores_with_direction_and_limits(tmp_path: Path) -> None:
    make_run(tmp_path / "s" / "0", explained=explained())
    page_of(tmp_path / "s")
    section = "document.getElementById('scores-section')"
    hidden, heads, first, limits = ask(
        tmp_path / "s" / "comparison.html",
        f"const all = (what) => [...{section}.querySelectorAll(what)].map((one) => one.textContent);"
        f"return [{section}.hidden, all('thead th'), all('tbody tr:first-child > *'), all('li')];",
    )
    assert hidden is False
    assert heads == ["maps", "removal ↑", "deletion_blur ↓"]
    assert first == ["cam", "1.234 [1.00, 1.50] +2", "–"]
    assert EVIL in limits[1]


@pytest.mark.skipif(CHROMIUM is None, reason="install chromium to test the page in a browser")
def test_without_scores_there_is_no_section(tmp_path: Path) -> None:
    make_run(tmp_path / "s" / "0")
    page_of(tmp_path / "s")
    page = tmp_path / "s" / "comparison.html"
    assert ask(page, "return [document.getElementById('scores-section').hidden];") == [True]
