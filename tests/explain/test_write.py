"""The files of a run's maps: arrays, overlays and sheets, with names that every file system accepts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citycam.cells import CellGrid
from citycam.errors import CitycamError
from citycam.explain.maps import Maps
from citycam.explain.write import Shown, file_names, write_maps
from citycam.report.overlay import Caption, Pixels

N = 40
CELLS = CellGrid.regular(7, 7, stride=32, centre=0.5, side=224)


def make_maps(*methods: str, count: int = N) -> dict[str, Maps]:
    generator = np.random.default_rng(0)
    bias = generator.normal(size=count).astype(np.float32)
    return {
        method: Maps(
            method=method,
            raw=generator.normal(size=(count, 7, 7)).astype(np.float32),
            explained=generator.normal(size=count).astype(np.float32),
            bias=bias if method == "cam" else None,
            gap=np.zeros(count) if method == "cam" else None,
        )
        for method in methods
    }


def shown(maps: dict[str, Maps]) -> dict[str, Shown]:
    """All methods explain the same, on the same cells."""
    return {method: Shown(method, CELLS, ("paris",) * len(its.raw), "stride 8") for method, its in maps.items()}


def captions(count: int = N) -> list[Caption]:
    """Every fourth prediction is wrong."""
    return [
        Caption(f"paris/w {place}/Straße?.jpg", "paris", "paris", 0.75, place % 4 != 0, "paris")
        for place in range(count)
    ]


def digests(count: int = N) -> list[str]:
    return [f"{place:032x}" for place in range(count)]


def picture(place: int) -> Pixels:
    return np.full((30, 50, 3), 40 + place, dtype=np.uint8)


def test_files_of_a_run(tmp_path: Path) -> None:
    maps = make_maps("cam", "layercam")
    sheets = write_maps(tmp_path, maps, shown(maps), captions(), digests(), picture)
    names = file_names([caption.name for caption in captions()])
    for method in ("cam", "layercam"):
        right = {path.name for path in (tmp_path / method).iterdir()}
        wrong = {path.name for path in (tmp_path / "wrong" / method).iterdir()}
        assert wrong == {names[place] for place in range(0, N, 4)}
        assert right == set(names) - wrong
        page = np.asarray(Image.open(tmp_path / f"sheet_{method}.png"))
        np.testing.assert_array_equal(page, sheets[method])
    assert not list(tmp_path.rglob("*.part"))


def test_arrays_hold_the_raw_maps_and_the_pictures(tmp_path: Path) -> None:
    maps, count = make_maps("cam", "layercam", count=3), 3
    unknown = Caption("new.jpg", "", "rome", 0.5, None, "rome")
    write_maps(tmp_path, maps, shown(maps), [*captions(2), unknown], digests(count), picture)
    with np.load(tmp_path / "maps.npz") as stored:
        for method, made in maps.items():
            np.testing.assert_array_equal(stored[method], made.raw)
            np.testing.assert_array_equal(stored[f"{method}_max"], made.raw.max(axis=(1, 2)))
            np.testing.assert_array_equal(stored[f"{method}_explained"], made.explained)
            np.testing.assert_array_equal(stored[f"{method}_blank"], made.blank)
        assert stored["cell_rows"].tolist() == stored["cell_columns"].tolist() == [*CELLS.rows]
        np.testing.assert_array_equal(stored["cam_bias"], maps["cam"].bias)
        assert "layercam_bias" not in stored.files
        assert stored["names"].tolist() == [*(caption.name for caption in captions(2)), "new.jpg"]
        assert stored["digests"].tolist() == digests(count)
        assert stored["cities"].tolist() == ["paris", "paris", ""]
        assert stored["correct"].tolist() == [False, True, False]
        assert stored["predicted"].tolist() == ["paris", "paris", "rome"]
        assert stored["targets"].tolist() == ["paris"] * 3
        assert stored["probability"].tolist() == [0.75, 0.75, 0.5]


def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        maps = make_maps("cam", count=3)
        write_maps(tmp_path / name, maps, shown(maps), captions(3), digests(3), picture)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("a", "b"))
    assert first == second


def test_each_picture_is_read_once_and_progress_ends(tmp_path: Path) -> None:
    read: list[int] = []
    seen: list[tuple[int, int]] = []

    def counted(place: int) -> Pixels:
        read.append(place)
        return picture(place)

    maps = make_maps("cam", "layercam", count=3)
    write_maps(tmp_path, maps, shown(maps), captions(3), digests(3), counted, progress=lambda *now: seen.append(now))
    assert read == [0, 1, 2]
    assert seen == [(2, 6), (4, 6), (6, 6)]


def test_a_file_that_cannot_be_written_raises(tmp_path: Path) -> None:
    (tmp_path / "cam").write_text("a file where a folder should be")
    maps = make_maps("cam", count=2)
    with pytest.raises(CitycamError, match="could not be written"):
        write_maps(tmp_path, maps, shown(maps), captions(2), digests(2), picture)


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


def test_a_method_that_differs_from_the_first_has_columns_of_its_own(tmp_path: Path) -> None:
    maps = make_maps("cam", "layercam", count=3)
    its = Shown("x", CellGrid.even(7, 7), ("paris, not others",) * 3, box=3, signed=True)
    write_maps(tmp_path, maps, {**shown(maps), "layercam": its}, captions(3), digests(3), picture)
    with np.load(tmp_path / "maps.npz") as stored:
        assert not any(name.startswith("cam_") and name.endswith(("rows", "box", "targets")) for name in stored.files)
        assert stored["layercam_rows"].tolist() == [*CellGrid.even(7, 7).rows]
        assert stored["layercam_targets"].tolist() == ["paris, not others"] * 3
        assert stored["layercam_box"].tolist() == [3]
        np.testing.assert_array_equal(stored["layercam"], maps["layercam"].raw)
