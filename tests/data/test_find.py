"""Which files below a folder are pictures: taken, refused, or counted and named, and never silently fewer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from citycam.config import FolderConfig, OnBad, SplitConfig, SplitKind
from citycam.data.catalog import Catalog
from citycam.data.find import find
from citycam.data.sources import load_catalog
from citycam.data.splits import make_split
from citycam.errors import CitycamError, UnreadablePicture
from tests.data.test_folder import paint, towns


def load(root: Path, **settings: object) -> Catalog:
    return load_catalog(FolderConfig(root=str(root), **settings))  # type: ignore[arg-type]


def said(catalog: Catalog, words: str) -> str:
    """The one warning of the catalog with these words."""
    (sentence,) = [warning for warning in catalog.warnings if words in warning]
    return sentence


def test_pictures_are_taken_by_suffix_and_without_one_by_their_first_bytes(tmp_path: Path) -> None:
    names = ["a.JPG", "b.jfif", "c.jpe", "d.gif", "e.avif", "f", "g.Jpeg", "h.TIFF"]
    towns(tmp_path, *(f"oslo/{name}" for name in names), "rome/b.png")
    (tmp_path / "oslo" / "README").write_text("BMW, GIF and II are no pictures")
    (tmp_path / "oslo" / "Makefile").write_bytes(b"")
    catalog = load(tmp_path)
    assert [picture.name for picture in catalog.pictures if picture.city == "oslo"] == [
        f"oslo/{name}" for name in names
    ]
    assert catalog.warnings == ()


def test_pictures_by_other_names_are_counted_and_named(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png", "oslo/c.jpg_large", "oslo/d.png.1", "rome/e.png~")
    (tmp_path / "rome" / "f.NEF").write_bytes(b"II*\0")
    (tmp_path / "rome" / "g.svg").write_text("<svg/>")
    (tmp_path / "rome" / "notes.txt").write_text("x")
    catalog = load(tmp_path)
    assert catalog.counts() == {"oslo": 1, "rome": 1}
    assert said(catalog, "by other names").startswith(
        "Skipped 5 files that may be pictures by other names (1 .jpg_large, 1 .1, 1 .png~, 1 .nef, 1 .svg; first: "
        "oslo/c.jpg_large); pictures end in avif, bmp, gif, heic, "
    )


def test_links_to_what_is_no_regular_file_are_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "oslo" / "pipe.png").symlink_to(tmp_path / "pipe")
    (tmp_path / "oslo" / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "rome" / "round.png").symlink_to("round.png")
    (tmp_path / "rome" / "round").symlink_to("round")
    (tmp_path / "rome" / "pipe").symlink_to(tmp_path / "pipe")
    with pytest.raises(UnreadablePicture, match=r"oslo/pipe\.png: the file cannot be opened \(not a regular file\)"):
        load(tmp_path)
    catalog = load(tmp_path, on_bad=OnBad.skip)
    assert catalog.counts() == {"oslo": 1, "rome": 1}
    assert [skipped.name for skipped in catalog.skipped] == ["oslo/pipe.png", "oslo/zero.png", "rome/round.png"]


def test_folders_deeper_than_pythons_stack(tmp_path: Path) -> None:
    folder = tmp_path
    try:
        for name in ["oslo", *["d"] * 1050]:
            folder /= name
            folder.mkdir()
        towns(tmp_path, "rome/b.png")
        paint(folder / "a.png")
        assert load(tmp_path).counts() == {"oslo": 1, "rome": 1}
    finally:
        (folder / "a.png").unlink()
        while folder != tmp_path:  # pytest removes folders by recursion
            folder.rmdir()
            folder = folder.parent


def test_links_that_multiply_each_other_are_refused(tmp_path: Path) -> None:
    for level in range(20):
        (tmp_path / "store" / str(level)).mkdir(parents=True)
        for link in ("a", "b"):
            (tmp_path / "store" / str(level) / link).symlink_to(f"../{level + 1}")
    with pytest.raises(CitycamError, match=r"lead to the same folder more than 1,000 times"):
        find(tmp_path)


@pytest.mark.parametrize("raw", [b"\xff.png", b"caf\xe9/a.png", b"\xed\xa0\x80.png"])
@pytest.mark.parametrize("limit", [None, 2])
def test_names_that_are_not_utf8_are_refused_or_listed(raw: bytes, limit: int | None, tmp_path: Path) -> None:
    towns(tmp_path, "oslo/a.png", "rome/b.png")
    path = tmp_path / "oslo" / os.fsdecode(raw)
    try:
        path.parent.mkdir(exist_ok=True)
        paint(tmp_path / "x.png").rename(path)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    with pytest.raises(UnreadablePicture, match="its name is not UTF-8 text") as refused:
        load(tmp_path, limit=limit)
    str(refused.value).encode()
    catalog = load(tmp_path, on_bad=OnBad.skip, limit=limit)
    assert [skipped.name for skipped in catalog.skipped] == [f"oslo/{raw.decode(errors='backslashreplace')}"]


def test_a_root_that_may_not_be_entered_is_refused(tmp_path: Path) -> None:
    for root in (tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(
            CitycamError, match=r"data\.root=.* (does not exist|cannot be opened \(file name too long\))"
        ):
            load(root)
    with pytest.raises(CitycamError, match="has a name that is not UTF-8 text") as refused:
        load(tmp_path / os.fsdecode(b"caf\xe9"))
    str(refused.value).encode()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("loop", "cannot be opened"), ("pipe", "is neither a folder nor a regular file")):
        with pytest.raises(CitycamError, match=words):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["train/oslo/a.png", "val/oslo/b.png", "test_unlabelled/c.png"], "test_unlabelled, train, val"),
        (["seg_train/oslo/a.png", "seg_test/oslo/b.png", "seg_pred/c.png"], "seg_test, seg_train"),
        (["train2017/oslo/a.png", "paris/b.png"], "train2017"),
    ],
)
def test_cities_named_like_parts_are_said(names: list[str], parts: str, tmp_path: Path) -> None:
    catalog = load(towns(tmp_path, *names))
    assert f"count as cities: {parts} (all: {', '.join(catalog.cities)})." in said(catalog, "like parts of a split")


def test_parts_below_some_cities_are_said(tmp_path: Path) -> None:
    catalog = load(towns(tmp_path, "oslo/train/a.png", "oslo/val/b.png", "rome/c.png"))
    assert "only 2 pictures of 3 lie in folders" in said(catalog, "is not used")
    assert load(towns(tmp_path / "plain", "valencia/w/a.png", "testaccio/w/b.png")).warnings == ()


@pytest.mark.parametrize("kind", SplitKind)
def test_a_split_brought_along_is_used_or_said_to_be_ignored(kind: SplitKind, tmp_path: Path) -> None:
    places = [(part, city, walk) for part in ("train", "val") for city in "ab" for walk in range(3)]
    names = [f"{p}/{c}/{p}{w}/{p}{c}{w}{frame}.png" for p, c, w in places for frame in range(5)]
    split = make_split(load(towns(tmp_path, *names), group="level:1"), SplitConfig(kind=kind))
    ignored = [warning for warning in split.warnings if "bring along (train, val) is not used" in warning]
    assert len(ignored) == (kind is not SplitKind.folder)
