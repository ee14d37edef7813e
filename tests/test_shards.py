"""Rows that are kept are the rows that come back, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam import shards
from citycam.errors import CitycamError
from citycam.files import lock
from citycam.shards import Row, ShardStore, in_use, key_rows, row_keys, view_keys

KEY = {"backbone": "x", "weights": "y"}


def name(number: int) -> str:
    """A picture's digest; every hundredth ends in zeros, which must not be taken for padding."""
    return f"{number * 2654435761 % 2**32:08x}" + ("0" * 24 if number % 100 == 0 else f"{number:024x}")


def rows(count: int, start: int = 0) -> list[Row]:
    return [(name(number // 3), number % 3) for number in range(start, start + count)]


@given(order=st.permutations(range(12)), cut=st.integers(1, 11))
def test_rows_come_back_in_any_order_from_any_shard(
    order: list[int], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("bank")
    all_rows, all_values = rows(12), np.arange(24, dtype=np.float32).reshape(12, 2)
    store = ShardStore(KEY, root)
    store.add(all_rows[:cut], all_values[:cut])
    store.add(all_rows[cut:], all_values[cut:])
    again = ShardStore(KEY, root)
    again.refresh()
    assert len(again.missing(all_rows)) == 0
    asked = [all_rows[place] for place in order]
    np.testing.assert_array_equal(again.read(again.places(asked)), all_values[order])


@given(
    st.lists(
        st.tuples(st.binary(min_size=16, max_size=16).map(bytes.hex), st.integers(0, 2**31)), min_size=1, unique=True
    )
)
def test_keys_are_rows_and_sort_like_them(some: list[Row]) -> None:
    assert list(key_rows(row_keys(some))) == some
    assert list(key_rows(np.unique(row_keys(some)))) == sorted(some)


def test_view_keys_are_every_number_of_every_digest() -> None:
    digests = [name(n) for n in (0, 5, 200)]
    assert list(key_rows(view_keys(digests, [0, 7]))) == [(digest, n) for digest in digests for n in (0, 7)]


def test_many_shards_are_looked_up_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 7 * 8)
    store, all_rows = ShardStore(KEY, tmp_path), rows(100)
    values = np.arange(200, dtype=np.float32).reshape(100, 2)
    store.add(all_rows, values)
    assert len(list(store.folder.glob("*.safetensors"))) == -(-100 // 7)
    assert max(path.stat().st_size for path in store.folder.glob("*.safetensors")) < 7 * 8 + 300
    asked = [*all_rows[::-1], *all_rows[:5]]
    np.testing.assert_array_equal(store.read(store.places(asked)), np.concatenate([values[::-1], values[:5]]))
    assert list(key_rows(store.missing([*asked, (name(500), 1), (name(500), 1)]))) == [(name(500), 1)]


def test_bytes_are_kept_as_bytes(tmp_path: Path) -> None:
    store = ShardStore(KEY, tmp_path, np.uint8)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3), dtype=np.uint8)
    store.add(rows(4), pictures)
    values = store.read(store.places(rows(4)))
    assert values.dtype == np.uint8
    np.testing.assert_array_equal(values, pictures)
    with pytest.raises(ValueError, match="float64"):
        store.add(rows(4), pictures.astype(np.float64))


def test_equal_values_of_other_rows_do_not_hide_each_other(tmp_path: Path) -> None:
    store = ShardStore(KEY, tmp_path)
    for start in (0, 3):
        store.add(rows(3, start), np.ones((3, 2), np.float32))
    again = ShardStore(KEY, tmp_path)
    again.refresh()
    assert len(again.missing(rows(6))) == 0


@pytest.mark.parametrize("other", [{"weights": "z"}, {}])
def test_another_key_or_dtype_is_another_store(other: dict[str, str], tmp_path: Path) -> None:
    one = ShardStore(KEY, tmp_path)
    two = ShardStore(KEY | other, tmp_path, np.float32 if other else np.uint8)
    one.add(rows(3), np.zeros((3, 2), np.float32))
    two.refresh()
    assert list(key_rows(two.missing(rows(3)))) == sorted(rows(3))


def test_rows_that_are_missing_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CitycamError, match="lacks a view"):
        ShardStore(KEY, tmp_path).places(rows(1))


def flip(path: Path, place: int = -1) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "index", "index row", "index empty"])
def test_a_damaged_shard_is_found_and_made_again(damage: str, tmp_path: Path) -> None:
    store = ShardStore(KEY, tmp_path)
    store.add(rows(4), np.ones((4, 2), np.float32))
    store.add(rows(4, 4), np.ones((4, 2), np.float32))
    index = sorted(store.folder.glob("*.rows"))[0]
    shard = index.with_suffix(".safetensors")
    if damage == "flip":
        flip(shard)
    elif damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-4])
    elif damage == "gone":
        shard.unlink()
    elif damage == "index":
        index.write_text("{")
    elif damage == "index row":
        flip(index)
    else:
        index.write_bytes(b"")
    again = ShardStore(KEY, tmp_path)
    again.refresh()
    lost = again.missing(rows(8))
    assert len(lost) == 4
    assert again.damaged == [index.stem]
    assert not index.exists()
    assert not shard.exists()
    again.add(lost, np.full((4, 2), 2, np.float32))
    assert len(again.missing(rows(8))) == 0
    assert again.read(again.places(rows(8))).sum() == 4 * 2 + 4 * 4


def test_a_shard_that_is_not_asked_for_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ShardStore(KEY, tmp_path).add(rows(3), np.ones((3, 2), np.float32))
    ShardStore(KEY, tmp_path).add(rows(3, 3), np.ones((3, 2), np.float32))
    read: list[Path] = []
    real = shards.is_whole
    monkeypatch.setattr(shards, "is_whole", lambda path, digest: read.append(path) or real(path, digest))
    store = ShardStore(KEY, tmp_path)
    store.refresh()
    for _ in range(2):
        store.missing(rows(3))
        store.read(store.places(rows(3)))
    assert len(read) == 1


def test_a_shard_without_its_index_does_not_exist(tmp_path: Path) -> None:
    store = ShardStore(KEY, tmp_path)
    store.add(rows(2), np.ones((2, 2), np.float32))
    next(store.folder.glob("*.rows")).unlink()
    again = ShardStore(KEY, tmp_path)
    again.refresh()
    assert len(again.missing(rows(2))) == 2


USER = """
import sys
from pathlib import Path
from citycam.shards import ShardStore
store = ShardStore({"backbone": "x", "weights": "y"}, Path(sys.argv[1]))
store.refresh()
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_store_is_in_use_for_as_long_as_its_users_live(tmp_path: Path) -> None:
    ShardStore(KEY, tmp_path).add(rows(2), np.ones((2, 2), np.float32))
    folder = ShardStore(KEY, tmp_path).folder
    user = subprocess.Popen(
        [sys.executable, "-c", USER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    )
    assert user.stdout is not None
    assert user.stdout.readline() == b"ready\n"
    with lock(tmp_path / ".lock"):
        assert in_use(folder)
    user.kill()
    user.communicate()
    with lock(tmp_path / ".lock"):
        assert not in_use(folder)
    assert list((folder / "users").iterdir()) == []


def test_users_that_are_gone_leave_nothing_for_long(tmp_path: Path) -> None:
    for start in range(3):
        store = ShardStore(KEY, tmp_path)
        store.add(rows(1, start), np.ones((1, 2), np.float32))
    assert len(list((store.folder / "users").iterdir())) <= 2  # one of a store that was open a moment ago


def test_a_cache_that_cannot_be_written_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ShardStore(KEY, tmp_path).add(rows(2), np.ones((2, 2), np.float32))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shards, "lock", refuse)
    store = ShardStore(KEY, tmp_path)
    store.refresh()
    assert store.read(store.places(rows(2))).sum() == 4
