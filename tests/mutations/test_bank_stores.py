"""Damaged stores of the bank: what is not whole is computed again, and no value is other than it was written."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from citycam.errors import CitycamError
from citycam.shards import ShardStore
from tests.conftest import Outcome
from tests.mutations.mutate import batches, damaged_bytes, damaged_json, each, hold
from tests.sweeps import caller

KEY = {"backbone": "resnet50", "weights": "0" * 32, "cut": {"stride": None}, "image_size": 64}
ACTIONS = [("list",), ("verify",), ("prune", "--older-than", "9"), ("prune", "--max-size", "1GB")]
DIGESTS = [f"{number:032x}" for number in range(6)]


def rows(numbers: range) -> list[tuple[str, int]]:
    return [(DIGESTS[number], 0) for number in numbers]


def values(numbers: range) -> np.ndarray:
    return np.array([[number, number + 0.5, -number] for number in numbers], dtype=np.float32)


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bank of an own cache, with a store of two shards of three rows."""
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    store = ShardStore(KEY, tmp_path / "bank")
    for numbers in (range(3), range(3, 6)):
        store.write(rows(numbers), values(numbers))
    return tmp_path / "bank"


def damage(folder: Path, rng: random.Random) -> None:
    """Damage one file of a store, or replace it by something that is consistent and wrong."""
    path = rng.choice(sorted(path for path in folder.iterdir() if path.suffix in (".rows", ".safetensors", ".json")))
    kind = rng.randrange(8)
    if kind == 0:
        path.unlink()
    elif kind == 1:
        path.unlink()
        path.mkdir()
    elif kind == 2 and path.suffix == ".safetensors":
        lie(path, rng)
    elif kind == 3:
        path.unlink()
        os.mkfifo(path)
    elif path.suffix == ".json":
        content = rng.choice([b"5", b"{}", b"[]", damaged_json(path.read_text(), rng)])
        path.write_bytes(content)
    elif kind in (4, 5):
        path.write_bytes(damaged_header(path.read_bytes(), rng))
    else:
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))


def lie(shard: Path, rng: random.Random) -> None:
    """Put values of another shape or type into a shard, with the checksum that they have."""
    index = shard.with_suffix(".rows").read_bytes()
    (length,) = struct.unpack("<Q", index[:8])
    metadata = json.loads(index[8 : 8 + length])["__metadata__"]
    listed = np.frombuffer(index[8 + length :], dtype=np.uint8).reshape(-1, 20)
    shapes: list[tuple[int, ...]] = [(2, 3), (4, 3), (0, 3), (3,), ()]
    others = [np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.float64), *(np.zeros(one, np.float32) for one in shapes)]
    content = save({"rows": rng.choice(others)}, metadata={"rows": metadata["rows"]})
    shard.write_bytes(content)
    changed = metadata | {"sha256": hashlib.sha256(content).hexdigest()}
    shard.with_suffix(".rows").write_bytes(save({"rows": listed}, metadata=changed))


def damaged_header(content: bytes, rng: random.Random) -> bytes:
    """A safetensors file with a value of its header damaged."""
    (length,) = struct.unpack("<Q", content[:8])
    header = damaged_json(content[8 : 8 + length].decode(), rng)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


@pytest.mark.parametrize("seeds", batches(60, 600))
def test_a_damaged_store_is_made_again_and_gives_what_was_written(
    seeds: range, bank: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from citycam import cli

    citycam = caller(cli, "citycam", monkeypatch, capsys)
    clean = bank.parent / "clean"
    shutil.copytree(bank, clean)

    def check(rng: random.Random) -> None:
        shutil.rmtree(bank)
        shutil.copytree(clean, bank, ignore=shutil.ignore_patterns("users"))
        folder = bank / ShardStore(KEY, bank).name
        damage(folder, rng)
        for action in rng.sample(ACTIONS, rng.randrange(3)):
            outcome = citycam("bank", *action)
            hold(outcome.code, outcome.err)
        store = ShardStore(KEY, bank)
        store.refresh()
        lacking = [number for number in range(6) if len(store.missing(rows(range(number, number + 1))))]
        try:
            for number in lacking:
                store.add(rows(range(number, number + 1)), values(range(number, number + 1)))
            read = store.read(store.places(rows(range(6))))
        except CitycamError:
            return  # a folder stands where a file must be, or a shard has rows of another shape, which is said
        np.testing.assert_array_equal(read, values(range(6)))

    each(seeds, check)


@pytest.mark.parametrize("seeds", batches(0, 20))
def test_training_on_a_damaged_bank_ends_like_on_a_whole_one(
    seeds: range, train: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path / "cache"))
    first = train("explain=none")
    assert first.code == 0, first.err
    before = (first.runs[0] / "predictions.csv").read_bytes()
    clean = tmp_path / "clean"
    shutil.copytree(tmp_path / "cache", clean)

    def check(rng: random.Random) -> None:
        shutil.rmtree(tmp_path / "cache")
        shutil.copytree(clean, tmp_path / "cache", ignore=shutil.ignore_patterns("users"))
        stores = [path.parent for path in (tmp_path / "cache" / "bank").glob("*/key.json")]
        damage(rng.choice(sorted(stores)), rng)
        shutil.rmtree(first.results)
        outcome: Any = train("explain=none")
        hold(outcome.code, outcome.err)
        assert outcome.code or (outcome.runs[0] / "predictions.csv").read_bytes() == before

    each(seeds, check)
