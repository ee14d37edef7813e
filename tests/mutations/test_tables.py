"""Damaged and hostile data.table files: each is refused with a sentence, or every cell is where the table says."""

from __future__ import annotations

import csv
import io
import os
import random
from pathlib import Path, PurePosixPath

import pytest

from citycam.config import FolderConfig, SplitConfig, SplitKind
from citycam.data.catalog import Catalog, plain, qualified
from citycam.data.sources import load_catalog
from citycam.data.splits import make_split
from citycam.errors import CitycamError
from tests.data.test_names import HARD, paint
from tests.mutations.mutate import HOSTILE, assert_sentence, batches, damaged_bytes, each

HEADER = ["path", "city", "group", "time"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of two cities in folders, and two beside them."""
    root = tmp_path_factory.mktemp("table")
    names = [f"{city}/w{walk}/{number}.png" for city in ("oslo", "rome") for walk in range(3) for number in range(2)]
    for number, name in enumerate([*names, "a.png", "b.png"]):
        paint(root / name, number)
    return root


def table(root: Path) -> list[list[str]]:
    """Return the rows of a whole table, the header first."""
    rows = [list(HEADER)]
    for number, name in enumerate(sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))):
        city, _, walk = name.rpartition("/")[0].partition("/")
        rows.append([name, city or "oslo", walk or "x", f"{number}.5"])
    return rows


def damaged(root: Path, rng: random.Random) -> bytes:
    """Return the bytes of a table with a cell, a row or a column changed, or its bytes damaged."""
    rows = table(root)
    for _ in range(rng.choice((1, 1, 3))):
        row = rng.choice(rows)
        kind = rng.randrange(8)
        if kind < 3:
            row[rng.choice((-1, -2, -3, 0)) % len(row)] = str(rng.choice((*HOSTILE, *HARD)))[:140_000]
        elif kind == 3:
            rows.insert(rng.randrange(len(rows)), list(row))
        elif kind == 4 and len(rows) > 1:
            rows.remove(row)
        elif kind == 5 and len(row) > 1:
            del row[rng.randrange(len(row))]
        elif kind == 6:
            row.append(rng.choice(("", "x", "path")))
        else:
            rng.shuffle(row)
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=rng.choice(("\n", "\r\n")), delimiter=rng.choice(",,,,,,,,;\t")).writerows(rows)
    content = text.getvalue().encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")), errors="replace")
    return damaged_bytes(content, rng) if rng.random() < 0.2 else content


def assert_as_written(catalog: Catalog, content: bytes) -> None:
    """Every picture has the city, group and time of its row."""
    header, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    cells = {
        PurePosixPath(row[header.index("path")]).as_posix(): dict(zip(header, row, strict=False)) for row in rows if row
    }
    assert {picture.name for picture in catalog.pictures} == cells.keys()
    for picture in catalog.pictures:
        row = cells[picture.name]
        city = row.get("city", "")
        assert picture.city == (plain(city) if city.strip() else picture.name.split("/")[0])
        assert picture.group == (qualified(picture.city, row["group"]) if row.get("group") else None)
        assert picture.time == (float(row["time"]) if row.get("time", "").strip() else None)


@pytest.mark.parametrize("seeds", batches(60, 1000))
def test_a_damaged_table_is_refused_or_read_as_written(seeds: range, root: Path, tmp_path: Path) -> None:
    def check(rng: random.Random) -> None:
        path = tmp_path / "table.csv"
        content = damaged(root, rng)
        path.write_bytes(content)
        try:
            catalog = load_catalog(FolderConfig(root=str(root), table=str(path)))
            assert_as_written(catalog, content)
            make_split(catalog, SplitConfig(kind=rng.choice(list(SplitKind))))
        except CitycamError as error:
            assert_sentence(error)

    each(seeds, check)


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device", "folder", "link to itself", "null"])
def test_a_table_that_is_no_regular_file_is_refused(kind: str, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    if kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "null":
        path = Path("table\0.csv")
    else:
        os.mkfifo(tmp_path / "pipe")
        path = tmp_path / "pipe"
        if kind == "link to a pipe":
            path = tmp_path / "link.csv"
            path.symlink_to(tmp_path / "pipe")
    with pytest.raises(CitycamError, match=r"data\.table=.* cannot be read .*; give a CSV file in UTF-8"):
        load_catalog(FolderConfig(root=str(root), table=str(path)))
