"""Folders as nobody makes them on purpose: each is refused with a sentence, or every picture in it is accounted for."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from citycam import cli
from citycam.config import FolderConfig, OnBad, SplitConfig, SplitKind
from citycam.data.catalog import Catalog
from citycam.data.pictures import SUFFIXES, decode, digest
from citycam.data.sources import load_catalog
from citycam.data.splits import make_split
from citycam.errors import CitycamError, UnreadablePicture
from citycam.files import read_csv, write_json
from citycam.inference.new_pictures import find_pictures
from citycam.report.tables import write_skipped, write_split
from citycam.words import is_text
from tests.data.test_names import HARD
from tests.mutations.mutate import assert_sentence, batches, each, hold
from tests.mutations.test_pictures import samples
from tests.sweeps import caller, read

RAW = (b"\xff", b"caf\xe9", b"\xed\xa0\x80", b"a\xffb.png")
PARTS = ("train", "val", "test", "Training", "test_unlabelled", "seg_train")
SUFFIX = (".png", ".JPG", ".jfif", ".gif", ".avif", ".webp", "", ".txt", ".jpg_large", ".nef")


def name(rng: random.Random) -> str:
    """Return a name for a folder, or the beginning of one for a file."""
    kind = rng.randrange(10)
    if kind == 0:
        return os.fsdecode(rng.choice(RAW))
    if kind < 4:
        return rng.choice(HARD)
    if kind == 4:
        return rng.choice(PARTS)
    return rng.choice(("oslo", "rome", "w1", "w2", "x", ".hidden", "__MACOSX"))


def grow(root: Path, rng: random.Random) -> None:
    """Make a tree of cities, walks, pictures, and of whatever else may lie there."""
    root.mkdir()
    folders = [root]
    if rng.random() < 0.7:  # else most trees are refused for having less than two cities
        for city in ("oslo", "rome"):
            folders.append(root / city)
            folders[-1].mkdir()
            for number in range(3):
                (folders[-1] / f"{number}.png").write_bytes(rng.choice(samples())[1] + rng.randbytes(2))
    for _ in range(rng.randrange(2, 7)):
        folder = rng.choice(folders) / name(rng)
        folder.mkdir(exist_ok=True)
        folders.append(folder)
    if rng.random() < 0.03:
        for _ in range(rng.choice((50, 1100))):
            folders[-1] = folders[-1] / "d"
            folders[-1].mkdir(exist_ok=True)
    for _ in range(rng.randrange(2, 25)):
        path = rng.choice(folders) / (name(rng) + rng.choice(SUFFIX))
        if not path.exists() and not path.is_symlink():
            put(path, folders, rng)


def put(path: Path, folders: list[Path], rng: random.Random) -> None:
    """Put a picture, or something else, at ``path``."""
    kind = rng.randrange(20)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.symlink_to(rng.choice(("/dev/zero", "/dev/null", "/dev/tty", "nowhere", path)))
    elif kind == 2:
        path.symlink_to(rng.choice(folders))
    elif kind == 3:
        pipe = path.with_name("a pipe")
        if not pipe.exists():
            os.mkfifo(pipe)
        path.symlink_to(pipe)
    elif kind == 4 and len(os.fsencode(path)) < 100:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.fsencode(path))
    elif kind == 5:
        with path.open("wb") as file:
            file.truncate(rng.choice((0, 1, 2**40)))
    elif kind == 6:
        path.write_bytes(b"no picture")
    else:
        path.write_bytes(rng.choice(samples())[1] + rng.randbytes(2))


@contextlib.contextmanager
def grown(root: Path, rng: random.Random) -> Iterator[None]:
    """Make a tree, and remove it however the test ends: it may be deeper than what pytest itself can remove."""
    try:
        grow(root, rng)
        yield
    finally:
        subprocess.run(["rm", "-rf", root], check=True)


def assert_accounted_for(root: Path, catalog: Catalog) -> None:
    """Every visible picture file without links on its way is in the catalog, among the skipped, or in no city."""
    known = {picture.name for picture in catalog.pictures} | {skipped.name for skipped in catalog.skipped}
    parts = any(picture.part for picture in catalog.pictures)
    listed = subprocess.run(["find", root, "-type", "f", "-print0"], check=True, capture_output=True).stdout
    for path in map(Path, os.fsdecode(listed).split("\0")[:-1]):
        below = path.relative_to(root)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in below.parts)
        if hidden or path.suffix.lower() not in SUFFIXES or not is_text(str(below)):
            continue
        in_no_city = len(below.parts) < (3 if parts else 2)
        assert below.as_posix() in known or in_no_city, below
    for picture in catalog.pictures:
        assert picture.digest == digest(catalog.path(picture))
        decode(catalog.path(picture))
    for skipped in catalog.skipped:
        with pytest.raises(UnreadablePicture):
            decode(root / skipped.name)


def assert_kept(catalog: Catalog, folder: Path, rng: random.Random) -> None:
    """Tables and JSON give names back as they are."""
    parts = make_split(
        catalog, SplitConfig(kind=rng.choice((SplitKind.auto, SplitKind.random, SplitKind.folder)))
    ).parts
    rows = [(p.name, p.digest, p.city, p.group or "", part) for p, part in zip(catalog.pictures, parts, strict=True)]
    write_split(folder, rows)
    assert [tuple(row.values()) for row in read_csv(folder / "split.csv")] == rows
    write_skipped(folder, [(skipped.name, skipped.reason) for skipped in catalog.skipped])
    assert [row["path"] for row in read_csv(folder / "skipped.csv")] == [skipped.name for skipped in catalog.skipped]
    write_json(folder / "x.json", [*map(list, rows), catalog.warnings])
    assert json.loads((folder / "x.json").read_text(encoding="utf-8")) == [*map(list, rows), list(catalog.warnings)]


@pytest.mark.parametrize("seeds", batches(40, 400))
def test_any_tree_is_refused_or_accounted_for(seeds: range, tmp_path: Path) -> None:
    def check(rng: random.Random) -> None:
        root = tmp_path / "tree"
        bad = rng.choice((OnBad.skip, OnBad.skip, OnBad.error))
        limit, group = rng.choice((None, None, 2)), rng.choice((None, None, "level:1", "."))
        with grown(root, rng):
            try:
                catalog = load_catalog(FolderConfig(root=str(root), on_bad=bad, limit=limit, group=group))
                if limit is None:
                    assert_accounted_for(root, catalog)
                assert {picture.name for picture in catalog.pictures} <= set(find_pictures(root).names)
                assert_kept(catalog, tmp_path, rng)
            except CitycamError as error:
                assert_sentence(error)

    each(seeds, check)


@pytest.mark.parametrize(
    "seeds", [pytest.param(range(5), id="few"), pytest.param(range(5, 40), marks=pytest.mark.slow)]
)
def test_predict_takes_any_tree(
    seeds: range, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = caller(cli, "citycam", monkeypatch, capsys)

    def check(rng: random.Random) -> None:
        root, out = tmp_path / "tree", tmp_path / "p.csv"
        with grown(root, rng):
            ended = call("predict", small_run, root, "--out", out)
            hold(ended.code, ended.err)
            if ended.code != 2:
                names = {name for name in find_pictures(root).names if is_text(name) and readable(root / name)}
                assert {row["path"] for row in read(out)} == names

    each(seeds, check)


def readable(path: Path) -> bool:
    """Return whether the picture can be decoded."""
    try:
        decode(path)
    except UnreadablePicture:
        return False
    return True
