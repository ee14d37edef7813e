"""Rows that are kept are the rows that come back, whatever happens in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.bank import build
from citycam.bank.store import FeatureStore
from citycam.errors import CitycamError

KEY = {"backbone": "x", "weights": "y"}


def rows(count: int, start: int = 0) -> list[tuple[str, int]]:
    return [(f"digest{number // 3}", number % 3) for number in range(start, start + count)]


@given(order=st.permutations(range(12)), cut=st.integers(1, 11))
def test_rows_come_back_in_any_order_from_any_shard(
    order: list[int], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("bank")
    all_rows, all_values = rows(12), np.arange(24, dtype=np.float32).reshape(12, 2)
    store = FeatureStore(KEY, root)
    store.add(all_rows[:cut], all_values[:cut])
    store.add(all_rows[cut:], all_values[cut:])
    again = FeatureStore(KEY, root)
    again.refresh()
    assert again.missing(all_rows) == []
    asked = [all_rows[place] for place in order]
    np.testing.assert_array_equal(again.read(again.places(asked)), all_values[order])


def test_another_key_is_another_store(tmp_path: Path) -> None:
    one, other = FeatureStore(KEY, tmp_path), FeatureStore(KEY | {"weights": "z"}, tmp_path)
    one.add(rows(3), np.zeros((3, 2), np.float32))
    other.refresh()
    assert other.missing(rows(3)) == rows(3)


def test_rows_that_are_missing_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CitycamError, match="lacks a view"):
        FeatureStore(KEY, tmp_path).places(rows(1))


@pytest.mark.parametrize("damage", ["flip", "cut", "index"])
def test_a_damaged_shard_is_found_and_made_again(damage: str, tmp_path: Path) -> None:
    store = FeatureStore(KEY, tmp_path)
    store.add(rows(4), np.ones((4, 2), np.float32))
    (shard,) = store.folder.glob("*.safetensors")
    content = shard.read_bytes()
    if damage == "flip":
        shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "cut":
        shard.write_bytes(content[:-4])
    else:
        shard.with_suffix(".json").write_text("{")
    again = FeatureStore(KEY, tmp_path)
    again.refresh()
    assert again.damaged == [shard.with_suffix(".json").name]
    assert again.missing(rows(4)) == rows(4)
    again.add(rows(4), np.ones((4, 2), np.float32))
    assert again.missing(rows(4)) == []


def test_a_shard_without_its_index_does_not_exist(tmp_path: Path) -> None:
    store = FeatureStore(KEY, tmp_path)
    store.add(rows(2), np.ones((2, 2), np.float32))
    next(store.folder.glob("????????????????????????????????.json")).unlink()
    again = FeatureStore(KEY, tmp_path)
    again.refresh()
    assert again.missing(rows(2)) == rows(2)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from PIL import Image
from citycam.bank import build
from citycam.bank.store import FeatureStore

root = Path(sys.argv[1])
paths = {str(n): root / f"{n}.png" for n in range(8)}
for path in paths.values():
    Image.new("RGB", (4, 4)).save(path)
build.SHARD_BYTES = 16
count = 0

def extract(batch):
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch

build.fill(FeatureStore({"backbone": "x", "weights": "y"}, root / "bank"), [(d, 0) for d in paths], paths,
           inputs=lambda picture, digest, numbers: np.full((len(numbers), 2), int(digest), np.float32),
           extract=extract, batch=2, threads=1, advance=lambda n: None)
"""


def test_a_killed_build_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    store = FeatureStore(KEY, tmp_path / "bank")
    wanted = [(str(number), 0) for number in range(8)]
    passed: list[int] = []
    monkeypatch.setattr(build, "SHARD_BYTES", 16)

    def extract(batch: np.ndarray) -> np.ndarray:
        passed.append(len(batch))
        return batch

    made = build.fill(
        store,
        wanted,
        {digest: tmp_path / f"{digest}.png" for digest, _ in wanted},
        inputs=lambda _picture, digest, numbers: np.full((len(numbers), 2), int(digest), np.float32),
        extract=extract,
        batch=2,
        threads=2,
        advance=lambda _n: None,
    )
    assert made == sum(passed) == 4
    np.testing.assert_array_equal(store.read(store.places(wanted))[:, 0], np.arange(8))


def test_a_full_batch_is_passed_whatever_the_pictures_bring(tmp_path: Path) -> None:
    from PIL import Image

    paths = {}
    for number in range(5):
        paths[str(number)] = tmp_path / f"{number}.png"
        Image.new("RGB", (4, 4)).save(paths[str(number)])
    sizes: list[int] = []

    def extract(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return batch

    wanted = [(digest, number) for digest in paths for number in range(3)]
    build.fill(
        FeatureStore(KEY, tmp_path / "bank"),
        wanted,
        paths,
        inputs=lambda _picture, digest, numbers: np.array([[int(digest), n] for n in numbers], np.float32),
        extract=extract,
        batch=4,
        threads=2,
        advance=lambda _n: None,
    )
    assert sizes == [4, 4, 4, 3]
