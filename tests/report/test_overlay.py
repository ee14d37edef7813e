"""Pictures of maps show the stored values, and captions say everything that they should."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from citycam.cells import CellGrid
from citycam.report import overlay
from citycam.report.overlay import Caption, Pixels


def caption(**changes: object) -> Caption:
    values: dict[str, object] = {
        "name": "paris/a.jpg",
        "city": "paris",
        "predicted": "rome",
        "probability": 0.875,
        "correct": False,
        "target": "paris",
    }
    return Caption(**(values | changes))  # type: ignore[arg-type]


def even(raw: NDArray[np.floating]) -> CellGrid:
    return CellGrid.even(raw.shape[0], raw.shape[1])


def page(
    picture: Pixels,
    raw: NDArray[np.floating],
    words: Caption | None = None,
    *,
    method: str = "Grad-CAM",
    note: str = "stride 8",
    blank: bool = False,
) -> Pixels:
    return overlay.draw(picture, raw, even(raw), words or caption(), method=method, note=note, blank=blank)


def sheet(
    picture: Pixels,
    raws: NDArray[np.floating],
    words: Caption | None = None,
    *,
    method: str = "Grad-CAM",
    note: str = "stride 8",
    blank: bool = False,
) -> Pixels:
    count = len(raws)
    captions, blanks = [words or caption()] * count, [blank] * count
    return overlay.sheet([picture] * count, raws, even(raws[0]), captions, blanks, method=method, note=note)


def invert(pixels: Pixels) -> NDArray[np.float64]:
    """Values in [0, 1] from the colours of a map."""
    table = overlay.colours().astype(int)
    distance = np.abs(pixels[..., None, :].astype(int) - table).sum(axis=-1)
    assert (distance.min(axis=-1) == 0).all()
    return distance.argmin(axis=-1) / 255


def test_colours_are_the_stored_values() -> None:
    raw = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    painted = overlay.paint(raw, even(raw), 90, 100)
    values = invert(painted[10::20, 15::30])
    np.testing.assert_allclose(values * raw.max(), np.maximum(raw, 0), atol=raw.max() / 500)
    whole = painted.reshape(5, 20, 3, 30, 3)
    assert (whole == whole[:, :1, :, :1]).all()


def test_cells_are_drawn_around_where_they_look() -> None:
    raw = np.array([[4.0, 3.0], [2.0, 1.0]], dtype=np.float32)
    cells = CellGrid.regular(2, 2, stride=32, centre=0.5, side=64)  # read at pixels 0 and 32, so cut between at 16.5
    values = invert(overlay.paint(raw, cells, 128, 64))
    edges = [np.flatnonzero(np.diff(line)) + 1 for line in (values[:, 0], values[0])]
    assert [edge.tolist() for edge in edges] == [[16], [33]]
    assert float(values[-1, -1]) == pytest.approx(0.25, abs=1 / 500)


def test_a_map_that_is_positive_everywhere_keeps_its_floor() -> None:
    raw = np.array([[4.0, 3.0], [2.0, 4.0]], dtype=np.float32)
    np.testing.assert_allclose(invert(overlay.paint(raw, even(raw), 2, 2)), raw / 4, atol=1 / 500)


def test_overlay_of_a_grey_picture_shows_the_values() -> None:
    raw = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    flat = np.full((80, 80, 3), 128, dtype=np.uint8)
    mixed = overlay.overlay(flat, raw, even(raw))[10::20, 10::20].astype(float)
    painted = (mixed - (1 - overlay.OPACITY) * 128) / overlay.OPACITY
    exact = overlay.paint(raw, even(raw), 80, 80)[10::20, 10::20]
    np.testing.assert_allclose(painted, exact, atol=1.5)


def test_a_page_holds_picture_overlay_map_and_bar() -> None:
    flat = np.full((50, 50, 3), (200, 30, 30), dtype=np.uint8)
    raw = np.array([[2.0, -1.0], [0.0, 1.0]], dtype=np.float32)
    drawn = page(flat, raw)
    middle = drawn[90:100]
    assert (middle == (200, 30, 30)).all(axis=-1).any()
    for value in (255, 0):
        assert (middle == overlay.colours()[value]).all(axis=-1).any()
    assert drawn.dtype == np.uint8


def test_a_blank_map_is_not_drawn() -> None:
    flat = np.full((50, 50, 3), (200, 30, 30), dtype=np.uint8)
    faint = page(flat, np.full((2, 2), 1e-30), blank=True)
    np.testing.assert_array_equal(faint, page(flat, np.full((2, 2), np.nan), blank=True))
    assert not (faint == overlay.colours()[255]).all(axis=-1).any()
    for raws in (np.full((1, 2, 2), np.nan), np.full((1, 2, 2), 1e-30)):
        assert (sheet(flat, raws, blank=True) == (200, 30, 30)).all(axis=-1).sum() == overlay.THUMB**2


@pytest.mark.parametrize(
    "change",
    [{"city": "pune"}, {"predicted": "paris"}, {"probability": 0.5}, {"correct": True}, {"target": "rome"}],
)
def test_page_and_sheet_print_the_whole_caption(change: dict[str, object]) -> None:
    flat, raw = np.zeros((40, 60, 3), dtype=np.uint8), np.eye(3, dtype=np.float32)
    assert not np.array_equal(page(flat, raw, caption(**change)), page(flat, raw))
    assert not np.array_equal(sheet(flat, raw[None], caption(**change)), sheet(flat, raw[None]))


@pytest.mark.parametrize("change", [{"method": "CAM"}, {"note": ""}])
def test_page_and_sheet_print_method_and_note(change: dict[str, str]) -> None:
    flat, raw = np.zeros((40, 60, 3), dtype=np.uint8), np.eye(3, dtype=np.float32)
    assert not np.array_equal(page(flat, raw, **change), page(flat, raw))
    assert not np.array_equal(sheet(flat, raw[None], **change), sheet(flat, raw[None]))


def test_a_page_prints_name_maximum_and_size() -> None:
    flat, raw = np.zeros((40, 60, 3), dtype=np.uint8), np.eye(3, dtype=np.float32)
    plain = page(flat, raw)
    assert not np.array_equal(page(flat, raw, caption(name="b.jpg")), plain)
    assert not np.array_equal(page(flat, raw * 2), plain)
    assert not np.array_equal(page(flat, np.eye(4))[:50], plain[:50])


@pytest.mark.parametrize("size", [(40, 60), (400, 30), (30, 400), (1, 1)])
def test_long_names_and_odd_shapes_fit(size: tuple[int, int]) -> None:
    flat = np.zeros((*size, 3), dtype=np.uint8)
    long = caption(city="Ж" * 200, predicted="ß" * 300, target="東京" * 99, name="x" * 500)
    assert (page(flat, np.eye(3, dtype=np.float32), long)[:, -8:] == 255).all()
    assert (sheet(flat, np.eye(3, dtype=np.float32)[None], long)[:, -8:] == 255).all()


def test_png_round_trip() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(overlay.png(pixels)))), pixels)


def test_a_signed_map_shows_the_picture_where_the_evidence_is_and_pale_grey_elsewhere() -> None:
    picture = np.full((4, 4, 3), (200, 40, 40), dtype=np.uint8)
    raw = np.zeros((4, 4))
    raw[0, 0], raw[0, 1], raw[3, 3] = 4.0, 1.0, -9.0
    drawn = overlay.reveal(picture, raw, CellGrid.even(4, 4))
    assert drawn[0, 0].tolist() == [200, 40, 40], "the maximum shows the picture"
    grey = 0.299 * 200 + 0.587 * 40 + 0.114 * 40
    pale = 255 - 0.35 * (255 - grey)
    assert drawn[0, 1] == pytest.approx(0.5 * picture[0, 1] + 0.5 * pale, abs=1), "a quarter of it shows half"
    assert drawn[2, 2] == pytest.approx(pale, abs=1)
    assert (drawn[3, 3] == drawn[2, 2]).all(), "evidence against is not shown"


def test_a_map_with_both_signs_is_white_at_zero_red_for_and_blue_against() -> None:
    painted = overlay.paint_signed(np.array([[2.0, 0.0, -2.0]]), CellGrid.even(1, 3), 3, 1)[0].astype(int)
    assert painted[0, 0] > painted[0, 2] + 50
    assert painted[1].min() > 240
    assert painted[2, 2] > painted[2, 0] + 50
    assert (overlay.paint_signed(np.zeros((2, 2)), CellGrid.even(2, 2), 2, 2) == painted[1]).all()
