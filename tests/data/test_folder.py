"""Folders of pictures as people have them, and a sentence for everything that can be wrong with them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citycam.config import FolderConfig, OnBad
from citycam.data import folder
from citycam.data.catalog import Catalog
from citycam.data.sources import load_catalog
from citycam.errors import CitycamError, UnreadablePicture
from citycam.files import write_csv

SHARED = Path(__file__).parents[2] / ".." / "shared" / "datasets"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CITYCAM_CACHE", str(place))
    return place


def paint(path: Path, colour: int | None = None) -> Path:
    """Write a small picture: a different one for each path, unless a colour is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = np.random.default_rng(list(os.fsencode(path.name)) if colour is None else colour)
    Image.fromarray(shade.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(path.with_suffix(".png"))
    return path.with_suffix(".png").rename(path)


def towns(root: Path, *names: str) -> Path:
    for name in names:
        paint(root / name)
    return root


def load(root: Path, **settings: object) -> Catalog:
    return load_catalog(FolderConfig(root=str(root), **settings))  # type: ignore[arg-type]


def test_cities_at_any_depth(tmp_path: Path) -> None:
    catalog = load(towns(tmp_path, "oslo/a.png", "oslo/deep/er/b.JPG", "rome/c d (2).jpeg"))
    assert [picture.name for picture in catalog.pictures] == ["oslo/a.png", "oslo/deep/er/b.JPG", "rome/c d (2).jpeg"]
    assert catalog.counts() == {"oslo": 2, "rome": 1}
    assert catalog.target is None
    assert not catalog.groups_known
    assert catalog.path(catalog.pictures[0]).read_bytes()
    assert catalog.warnings == ()


def test_hidden_files_and_other_files_are_ignored(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png", "oslo/.hidden.png", ".git/x.png", "__MACOSX/oslo/a.png", "rome/._b.png")
    (tmp_path / "oslo" / "Thumbs.db").write_text("x")
    (tmp_path / "oslo" / "notes.txt").write_text("x")
    (tmp_path / "readme.md").write_text("x")
    os.mkfifo(tmp_path / "oslo" / "pipe.png")
    catalog = load(tmp_path)
    assert [picture.name for picture in catalog.pictures] == ["oslo/a.png", "rome/b.png"]
    assert catalog.skipped == ()


def test_links_to_a_folder_above_are_followed_once(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png")
    (tmp_path / "oslo" / "round").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "rome" / "self").symlink_to(".", target_is_directory=True)
    assert [picture.name for picture in load(tmp_path).pictures] == ["oslo/a.png", "rome/b.png"]


def test_bad_pictures_are_named_and_counted(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png")
    (tmp_path / "oslo" / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "rome" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(
        UnreadablePicture, match=r"oslo/bad\.jpg: its content is not a JPEG.*\(1 other file cannot be read either\)"
    ):
        load(tmp_path)
    catalog = load(tmp_path, on_bad=OnBad.skip)
    assert [skipped.name for skipped in catalog.skipped] == ["oslo/bad.jpg", "rome/gone.png"]
    assert "cannot be opened" in catalog.skipped[1].reason
    assert catalog.counts() == {"oslo": 1, "rome": 1}
    assert "2 files that cannot be read" in catalog.warnings[0]


def test_a_city_of_bad_pictures_only(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png")
    (tmp_path / "bern").mkdir()
    (tmp_path / "bern" / "x.jpg").write_bytes(b"")
    with pytest.raises(CitycamError, match=r"None of the 1 pictures of bern .*\(first: bern/x\.jpg\)"):
        load(tmp_path, on_bad=OnBad.skip)


def test_a_name_that_is_not_text(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "oslo") + b"/\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    catalog = load(tmp_path, on_bad=OnBad.skip)
    assert catalog.skipped[0].reason == "its name is not UTF-8 text"


def test_wrong_roots(tmp_path: Path) -> None:
    with pytest.raises(CitycamError, match=r"data\.root=.*nowhere does not exist"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CitycamError, match="is a file, not a folder"):
        load(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CitycamError, match="holds no pictures in folders of cities"):
        load(tmp_path / "empty")
    with pytest.raises(CitycamError, match="holds no pictures in folders of cities"):
        load(towns(tmp_path / "flat", "a.png", "b.png"))
    with pytest.raises(CitycamError, match=r"holds only one city \(oslo\)"):
        load(towns(tmp_path / "one", "oslo/a.png"))


def test_pictures_outside_and_empty_folders_give_warnings(tmp_path: Path) -> None:
    towns(tmp_path, "stray.png", "oslo/a.png", "rome/b.png")
    (tmp_path / "docs").mkdir()
    catalog = load(tmp_path)
    assert catalog.counts() == {"oslo": 1, "rome": 1}
    assert "1 folder of" in catalog.warnings[0]
    assert "(first: docs)" in catalog.warnings[0]
    assert "(first: stray.png)" in catalog.warnings[1]


def test_target(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png", "Wu\u0308rzburg/c.png")
    assert load(tmp_path, target="rome").target == "rome"
    assert load(tmp_path, target="Würzburg").target == "Würzburg"
    with pytest.raises(CitycamError, match=r"data\.target=ronne .*holds Würzburg, oslo, rome; did you mean rome\?"):
        load(tmp_path, target="ronne")


def test_equal_pictures_in_two_cities_give_a_warning(tmp_path: Path) -> None:
    for name in ("oslo/a.png", "rome/b.png", "rome/c.png"):
        paint(tmp_path / name, colour=3)
    assert "in more than one city: 1 picture (first: oslo/a.png = rome/b.png)" in load(tmp_path).warnings[0]


def test_the_second_scan_reads_only_changed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    towns(tmp_path, "oslo/a.png", "oslo/b.png", "rome/c.png")
    first = load(tmp_path)
    read: list[str] = []
    check = folder.check_bytes
    monkeypatch.setattr(folder, "check_bytes", lambda content, path: (read.append(path.name), check(content, path)))
    assert load(tmp_path) == first
    assert read == []
    before = (tmp_path / "oslo" / "b.png").stat()
    content = bytearray((tmp_path / "oslo" / "b.png").read_bytes())
    paint(tmp_path / "oslo" / "b.png", colour=9)
    os.utime(tmp_path / "oslo" / "b.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    second = load(tmp_path)
    assert content != (tmp_path / "oslo" / "b.png").read_bytes()
    assert read == ["b.png"]
    assert second.digest != first.digest


def test_a_damaged_memory_is_replaced(tmp_path: Path, cache: Path) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png")
    first = load(tmp_path)
    (memory,) = (cache / "folders").iterdir()
    for damage in ("", "{", "[]", '{"pillow": "0", "files": {}}', memory.read_text().replace("[", '["x",')):
        memory.write_text(damage)
        assert load(tmp_path) == first


def test_two_scans_at_once(tmp_path: Path) -> None:
    towns(tmp_path, *(f"{city}/{number}.png" for city in ("oslo", "rome") for number in range(20)))
    catalogs: list[Catalog] = []
    threads = [threading.Thread(target=lambda: catalogs.append(load(tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [catalog.digest for catalog in catalogs] == [load(tmp_path).digest] * 4


def test_limit_is_stable_and_skips_unreadable_pictures(tmp_path: Path) -> None:
    towns(tmp_path, *(f"{city}/{number}.png" for city in ("oslo", "rome") for number in range(9)))
    whole, few = load(tmp_path), load(tmp_path, limit=3)
    assert few.counts() == {"oslo": 3, "rome": 3}
    assert {picture.name for picture in few.pictures} < {picture.name for picture in whole.pictures}
    towns(tmp_path, *(f"bern/{number}.png" for number in range(9)))
    more = load(tmp_path, limit=3)
    assert [picture for picture in more.pictures if picture.city != "bern"] == list(few.pictures)
    assert {picture.name for picture in few.pictures} < {picture.name for picture in load(tmp_path, limit=4).pictures}
    lost = few.pictures[0]
    (tmp_path / lost.name).write_bytes(b"bad")
    again = load(tmp_path, limit=3, on_bad=OnBad.skip)
    assert again.counts()["oslo"] == 3
    assert [skipped.name for skipped in again.skipped] == [lost.name]
    assert load(tmp_path, limit=100, on_bad=OnBad.skip).counts() == {"bern": 9, "oslo": 8, "rome": 9}


def test_limit_takes_from_all_walks(tmp_path: Path) -> None:
    towns(tmp_path, *(f"{city}/w{walk}/{n}.png" for city in ("oslo", "rome") for walk in range(3) for n in range(10)))
    groups = {picture.group for picture in load(tmp_path, limit=10, group="level:1").pictures}
    assert len(groups) == 6


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path / "file"))
    with pytest.raises(CitycamError, match=r"file/folders/.*could not be written"):
        load(tmp_path)


def test_progress_counts_every_new_picture(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/a.png", "oslo/b.png", "rome/c.png")
    calls: list[tuple[int, int]] = []
    load_catalog(FolderConfig(root=str(tmp_path)), lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_catalog_digest_does_not_depend_on_the_root(tmp_path: Path) -> None:
    first = load(towns(tmp_path / "one", "oslo/a.png", "rome/b.png"))
    second = load(towns(tmp_path / "two", "oslo/a.png", "rome/b.png"))
    assert first.digest == second.digest
    assert first.digest != load(towns(tmp_path / "two", "oslo/c.png")).digest
    assert first.digest != load(tmp_path / "one", group="[ab]").digest


@pytest.mark.parametrize("layout", ["{city}/{part}/x{number}.png", "{part}/{city}/x{number}.png"])
@pytest.mark.parametrize(("train", "val", "test"), [("train", "val", "test"), ("Training", "valid", "testing")])
def test_parts_of_a_split_that_the_data_have(tmp_path: Path, layout: str, train: str, val: str, test: str) -> None:
    for number, part in enumerate((train, val, test)):
        for city in ("oslo", "rome"):
            paint(tmp_path / layout.format(city=city, part=part, number=number))
    catalog = load(tmp_path)
    assert catalog.cities == ("oslo", "rome")
    parts = {picture.name.rsplit("/", 1)[1]: picture.part for picture in catalog.pictures}
    assert parts == {"x0.png": "train", "x1.png": "val", "x2.png": "test"}


def test_a_folder_test_among_others_is_not_a_part(tmp_path: Path) -> None:
    catalog = load(towns(tmp_path, "oslo/test/a.png", "oslo/walk/b.png", "rome/c.png"), group=None)
    assert {picture.part for picture in catalog.pictures} == {None}


def test_groups_by_level(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/w1/x/a.png", "oslo/w2/b.png", "rome/w1/c.png")
    groups = [picture.group for picture in load(tmp_path, group="level:1").pictures]
    assert groups == ["oslo/w1", "oslo/w2", "rome/w1"]
    with pytest.raises(CitycamError, match=r"data\.group=level:2, but oslo/w2/b\.png lies only 1 folder below"):
        load(tmp_path, group="level:2")
    for wrong in ("level:0", "level:x", "level:"):
        with pytest.raises(CitycamError, match=r"needs a level of 1 or more"):
            load(tmp_path, group=wrong)


def test_groups_below_parts_are_levels_from_the_city(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/train/w1/a.png", "oslo/test/w2/b.png", "rome/train/w1/c.png", "rome/test/w2/d.png")
    groups = {picture.group for picture in load(tmp_path, group="level:1").pictures}
    assert groups == {"oslo/w1", "oslo/w2", "rome/w1", "rome/w2"}


def test_groups_by_pattern(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/walk1_001.png", "oslo/walk1_002.png", "rome/walk2_001.png")
    groups = [picture.group for picture in load(tmp_path, group=r"^(walk\d+)_").pictures]
    assert groups == ["oslo/walk1", "oslo/walk1", "rome/walk2"]
    with pytest.raises(CitycamError, match=r"finds no group in walk2_001\.png of rome"):
        load(tmp_path, group="walk1")
    with pytest.raises(CitycamError, match="nor a regular expression"):
        load(tmp_path, group="(")


def test_a_table_names_city_group_and_time(tmp_path: Path) -> None:
    root = towns(tmp_path / "data", "a.png", "sub/b.png", "c.png")
    table = tmp_path / "table.csv"
    rows = [("a.png", "oslo", "w1", "0.5"), ("sub/b.png", "oslo", "w1", "1"), ("./c.png", "rome", "", "")]
    write_csv(table, ("path", "city", "group", "time"), rows)
    catalog = load(root, table=str(table))
    assert [(p.name, p.city, p.group, p.time) for p in catalog.pictures] == [
        ("a.png", "oslo", "oslo/w1", 0.5),
        ("c.png", "rome", None, None),
        ("sub/b.png", "oslo", "oslo/w1", 1.0),
    ]


@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        (("name",), [("oslo/a.png",)], "has no column path"),
        (("path", "grupp"), [("oslo/a.png", "x")], r"unknown column 'grupp'; did you mean group\?"),
        (("path",), [("oslo/a.png",), ("oslo/a.png",), ("rome/b.png",)], r"line 3: oslo/a\.png is listed twice"),
        (
            ("path",),
            [("oslo/a.png",), ("rome/b.png",), ("x.png",)],
            r"lists 1 path without a picture .*first: x\.png",
        ),
        (("path",), [("oslo/a.png",)], r"lacks 1 picture .*first: rome/b\.png"),
        (
            ("path", "time"),
            [("oslo/a.png", "noon"), ("rome/b.png", "2")],
            "the time 'noon' of oslo/a.png is not a number",
        ),
        (("path", "time"), [("oslo/a.png", "nan"), ("rome/b.png", "2")], "the time 'nan'"),
        (("path",), [], "has no column path"),
    ],
)
def test_wrong_tables(tmp_path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]], sentence: str) -> None:
    root = towns(tmp_path / "data", "oslo/a.png", "rome/b.png")
    write_csv(tmp_path / "table.csv", header, rows)
    with pytest.raises(CitycamError, match=sentence):
        load(root, table=str(tmp_path / "table.csv"))


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    root = towns(tmp_path / "data", "oslo/a.png", "rome/b.png")
    with pytest.raises(CitycamError, match=r"data\.table=.*cannot be read"):
        load(root, table=str(tmp_path / "nowhere.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00path")
    with pytest.raises(CitycamError, match="give a CSV file in UTF-8"):
        load(root, table=str(tmp_path / "binary.csv"))
    (tmp_path / "wide.csv").write_text("path\noslo/a.png,too,many\nrome/b.png\n")
    with pytest.raises(CitycamError, match="more cells than"):
        load(root, table=str(tmp_path / "wide.csv"))


@pytest.mark.skipif(not (SHARED / "city7").is_dir(), reason="../shared/datasets/city7 does not exist")
def test_photographs_of_seven_cities() -> None:
    catalog = load(SHARED / "city7", target="paris")
    assert catalog.counts() == dict.fromkeys(("berlin", "lisboa", "london", "madrid", "moscow", "paris", "rome"), 365)


@pytest.mark.skipif(not (SHARED / "intel").is_dir(), reason="../shared/datasets/intel does not exist")
def test_a_data_set_with_train_and_test() -> None:
    catalog = load(SHARED / "intel", limit=50)
    assert set(catalog.counts().values()) == {50}
    assert {picture.part for picture in catalog.pictures} == {"train", "test"}
