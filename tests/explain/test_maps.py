"""Maps of a sample: blank ones, files, and pictures that show what is stored."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from citycam.errors import CitycamError
from citycam.explain.maps import (
    Explained,
    file_names,
    find_blank,
    make_maps,
    summary,
    warnings_about,
    write_maps,
)
from citycam.explain.methods import METHODS
from citycam.explain.tail import Tail
from citycam.explain.targets import LogitTarget
from citycam.report import overlay
from citycam.report.overlay import Caption, Pixels

N, C = 40, 5


def make_tail() -> Tail:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(C, 8), nn.ReLU(), nn.Linear(8, 2))
    return Tail(lambda a: a.mean(dim=(2, 3)), head, pool_kind="mean")


def make_activations(side: int = 7) -> torch.Tensor:
    return torch.relu(torch.randn(N, C, side, side, generator=torch.Generator().manual_seed(1)))


TARGETS = [LogitTarget(0, "paris")] * N


def explained(place: int) -> Explained:
    return Explained(f"paris/w {place}/Straße?.jpg", f"{place:032x}", "paris", "paris", 0.75, place % 4 != 0, "paris")


def picture(place: int) -> Pixels:
    return np.full((30, 50, 3), 40 + place, dtype=np.uint8)


def caption(**changes: object) -> Caption:
    values: dict[str, object] = {
        "city": "paris",
        "predicted": "rome",
        "probability": 0.875,
        "correct": False,
        "method": "Grad-CAM",
        "target": "paris",
        "note": "stride 8",
        "name": "paris/a.jpg",
    }
    return Caption(**(values | changes))  # type: ignore[arg-type]


# --- blank maps -----------------------------------------------------------------------------------------------------


def test_blank_is_negligible_beside_the_sample_or_not_a_number() -> None:
    raw = np.zeros((7, 2, 2), dtype=np.float32)
    raw[:, 0, 0] = [1.0, 2.0, 1e-9, -3.0, 1e-7, 1.0, 1.0]
    raw[6, 1, 1] = np.nan
    expected = [False, False, True, True, False, False, True]
    assert find_blank(raw).tolist() == expected
    assert find_blank(raw * np.float32(1e-12)).tolist() == expected
    assert find_blank(np.zeros((3, 2, 2))).all()
    assert find_blank(np.full((3, 2, 2), np.inf)).all()


def test_nan_in_one_picture_stays_there() -> None:
    activations = make_activations()
    activations[3, 0, 0, 0] = torch.nan
    noisy = make_activations().expand(2, -1, -1, -1, -1)
    with np.errstate(invalid="ignore"):
        maps = make_maps(make_tail(), activations, TARGETS, list(METHODS), noisy=noisy)
    for one in maps.values():
        assert one.nan == 1
        assert np.flatnonzero(one.blank).tolist() == [3]
    facts = summary(maps)
    json.dumps(facts, allow_nan=False)
    assert facts["methods"]["cam"] == {"maps": N, "blank": 1, "nan": 1, "completeness_gap": None}
    sentences = [warning["sentence"] for warning in warnings_about(maps) if warning["code"] == "blank_maps"]
    assert len(sentences) == 1
    assert sentences[0].startswith(f"Blank among {N} maps each: 1 of cam, 1 of gradcam, ")
    assert sentences[0].endswith(f"({len(maps)} with NaN); they are marked, and show no evidence.")


def test_small_maps_are_warned_about() -> None:
    small = make_maps(make_tail(), make_activations(2), TARGETS, ["gradcam"])
    (warning,) = [warning for warning in warnings_about(small) if warning["code"] == "small_map"]
    assert warning["sentence"].startswith("The maps are 2 × 2: 4 numbers for a whole picture")
    large = make_maps(make_tail(), make_activations(7), TARGETS, ["gradcam"])
    assert "small_map" not in {warning["code"] for warning in warnings_about(large)}


def test_chunks_are_the_whole_and_progress_ends() -> None:
    tail, activations = make_tail(), make_activations()
    seen: list[tuple[int, int]] = []
    maps = make_maps(tail, activations, TARGETS, ["cam", "gradcam"], progress=lambda *now: seen.append(now))
    assert seen == [(32, 80), (64, 80), (72, 80), (80, 80)]
    assert list(maps) == ["cam", "gradcam"]
    assert maps["cam"].gap is not None
    assert maps["cam"].gap.max() <= 1e-4
    np.testing.assert_allclose(maps["cam"].raw, maps["gradcam"].raw * 49, atol=1e-5)
    assert summary(maps)["map_size"] == [7, 7]


# --- files ----------------------------------------------------------------------------------------------------------


def test_files_of_a_run(tmp_path: Path) -> None:
    maps = make_maps(make_tail(), make_activations(), TARGETS, ["cam", "layercam"])
    rows = [explained(place) for place in range(N)]
    sheets = write_maps(tmp_path, maps, rows, picture, note="stride 8")
    names = file_names([row.name for row in rows])
    for method in ("cam", "layercam"):
        right = {path.name for path in (tmp_path / method).iterdir()}
        wrong = {path.name for path in (tmp_path / "wrong" / method).iterdir()}
        assert wrong == {names[place] for place in range(0, N, 4)}
        assert right == set(names) - wrong
        page = np.asarray(Image.open(tmp_path / f"sheet_{method}.png"))
        np.testing.assert_array_equal(page, sheets[method])
    with np.load(tmp_path / "maps.npz") as stored:
        np.testing.assert_array_equal(stored["cam"], maps["cam"].raw)
        np.testing.assert_array_equal(stored["cam_max"], maps["cam"].raw.max(axis=(1, 2)))
        assert stored["names"].tolist() == [row.name for row in rows]
        assert set(stored.files) >= {"cam_bias", "cam_blank", "layercam_explained", "digests", "targets", "correct"}
    assert not list(tmp_path.rglob("*.part"))


def test_files_are_the_same_again(tmp_path: Path) -> None:
    maps = make_maps(make_tail(), make_activations()[:3], TARGETS[:3], ["cam"])
    for name in ("a", "b"):
        write_maps(tmp_path / name, maps, [explained(place) for place in range(3)], picture)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("a", "b"))
    assert first == second


def test_a_file_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    maps = make_maps(make_tail(), make_activations()[:2], TARGETS[:2], ["cam"])
    (tmp_path / "cam").write_text("a file where a folder should be")
    with pytest.raises(CitycamError, match="could not be written"):
        write_maps(tmp_path, maps, [explained(place) for place in (1, 2)], picture)


@pytest.mark.parametrize(
    "names",
    [
        ["a/b.png", "a_b.png", "a b.jpg", "A/B.png"],
        ["x/" * 200 + "é.png", "CON", "..", "", "東京/駅前.jpeg", ".hidden"],
    ],
)
def test_file_names_are_safe_and_unique(names: list[str]) -> None:
    made = file_names(names)
    assert len({name.casefold() for name in made}) == len(names)
    for name in made:
        assert Path(name).name == name
        assert len(name.encode()) <= 150
        assert name[:3].isdigit()
        assert not set(name) & set('/\\:*?"<>| ')


# --- pictures -------------------------------------------------------------------------------------------------------


def invert(pixels: Pixels) -> NDArray[np.float64]:
    """From colours of the bare map back to values in [0, 1]."""
    table = overlay.colours().astype(int)
    distance = np.abs(pixels[..., None, :].astype(int) - table).sum(axis=-1)
    assert (distance.min(axis=-1) == 0).all()
    return distance.argmin(axis=-1) / 255


def test_colours_are_the_stored_values() -> None:
    raw = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    painted = overlay.paint(raw, 90, 100)
    values = invert(painted[10::20, 15::30])
    np.testing.assert_allclose(values * raw.max(), np.maximum(raw, 0), atol=raw.max() / 500)
    whole = painted.reshape(5, 20, 3, 30, 3)
    assert (whole == whole[:, :1, :, :1]).all()


def test_a_map_that_is_positive_everywhere_keeps_its_floor() -> None:
    raw = np.array([[4.0, 3.0], [2.0, 4.0]], dtype=np.float32)
    np.testing.assert_allclose(invert(overlay.paint(raw, 2, 2)), raw / 4, atol=1 / 500)


def test_overlay_of_a_grey_picture_gives_the_values_back() -> None:
    raw = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    flat = np.full((80, 80, 3), 128, dtype=np.uint8)
    mixed = overlay.overlay(flat, raw)[10::20, 10::20].astype(float)
    painted = (mixed - (1 - overlay.OPACITY) * 128) / overlay.OPACITY
    exact = overlay.paint(raw, 80, 80)[10::20, 10::20]
    np.testing.assert_allclose(painted, exact, atol=1.5)


def test_a_page_holds_picture_overlay_map_and_bar() -> None:
    flat = np.full((50, 50, 3), (200, 30, 30), dtype=np.uint8)
    raw = np.array([[2.0, -1.0], [0.0, 1.0]], dtype=np.float32)
    page = overlay.draw(flat, raw, caption(), blank=False)
    middle = page[90:100]
    assert (middle == (200, 30, 30)).all(axis=-1).any()
    for value in (255, 0):
        assert (middle == overlay.colours()[value]).all(axis=-1).any()
    assert page.dtype == np.uint8


def test_a_blank_map_is_not_drawn() -> None:
    flat = np.full((50, 50, 3), (200, 30, 30), dtype=np.uint8)
    page = overlay.draw(flat, np.full((2, 2), 1e-30), caption(), blank=True)
    nan = overlay.draw(flat, np.full((2, 2), np.nan), caption(), blank=True)
    np.testing.assert_array_equal(page, nan)
    assert not (page == overlay.colours()[255]).all(axis=-1).any()
    for raws in (np.full((1, 2, 2), np.nan), np.full((1, 2, 2), 1e-30)):
        sheet = overlay.sheet([flat], raws, [caption()], [True])
        assert (sheet == (200, 30, 30)).all(axis=-1).sum() == overlay.THUMB**2


def test_the_caption_changes_with_everything_it_says() -> None:
    flat, raw = np.zeros((40, 60, 3), dtype=np.uint8), np.eye(3, dtype=np.float32)
    plain = overlay.draw(flat, raw, caption(), blank=False)
    changes: list[dict[str, object]] = [
        {"city": "pune"},
        {"predicted": "paris"},
        {"probability": 0.5},
        {"correct": True},
        {"method": "CAM"},
        {"target": "rome"},
        {"note": ""},
        {"name": "b.jpg"},
    ]
    for change in changes:
        assert not np.array_equal(overlay.draw(flat, raw, caption(**change), blank=False), plain), change
    assert not np.array_equal(overlay.draw(flat, raw * 2, caption(), blank=False), plain)
    assert not np.array_equal(overlay.draw(flat, np.eye(4), caption(), blank=False)[:50], plain[:50])


@pytest.mark.parametrize("size", [(40, 60), (400, 30), (30, 400), (1, 1)])
def test_long_names_and_odd_shapes_fit(size: tuple[int, int]) -> None:
    flat = np.zeros((*size, 3), dtype=np.uint8)
    long = caption(city="Ж" * 200, predicted="ß" * 300, target="東京" * 99, name="x" * 500)
    page = overlay.draw(flat, np.eye(3, dtype=np.float32), long, blank=False)
    assert (page[:, -8:] == 255).all()
    sheet = overlay.sheet([flat], np.eye(3, dtype=np.float32)[None], [long], [False])
    assert (sheet[:, -8:] == 255).all()


def test_png_round_trip() -> None:
    page = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(overlay.png(page)))), page)
