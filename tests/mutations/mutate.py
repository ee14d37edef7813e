"""Damage made from a seed, and what must hold however a door is then called."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from citycam.errors import CitycamError
from citycam.words import printable

PATIENCE = 120  # seconds; a door that takes longer hangs
BATCH = 20

# What stands in a file where something else should: wrong types, wrong ranges, wrong sizes.
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", " ", "x", "0", "nan", "=1+1", "-rf", "../..", "/", "a\rb", "a\nb", "a\tb", 'a"b', "a\0b", "\ud800", "é" * 300,
    "9" * 5000, [], [[]], [None], [0, 1], {}, {"": {}}, {"a": None},
)  # fmt: skip


def batches(default: int, slow: int) -> list[Any]:
    """Return parameters that are ranges of seeds: ``default`` seeds for every run of the tests, ``slow`` in all."""
    parts = ((range(default), []), (range(default, slow), [pytest.mark.slow]))
    return [
        pytest.param(seeds[start : start + BATCH], marks=marks)
        for seeds, marks in parts
        for start in range(0, len(seeds), BATCH)
    ]


def each(seeds: range, check: Callable[[random.Random], None]) -> None:
    """Call ``check`` with a generator of each seed; a failure names its seed."""
    for seed in seeds:
        try:
            with _patience():
                check(random.Random(seed))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` cut short, with bits flipped, a stretch zeroed, repeated or inserted, or something else."""
    kind = rng.randrange(8)
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((1, 4, 64, 4096)))
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + bytes(byte ^ (1 << rng.randrange(8)) for byte in data[start:end]) + data[end:]
    if kind == 2:
        return data[:start] + bytes(end - start) + data[end:]
    if kind == 3:
        return data[:end] + data[start:]
    if kind == 4:
        return data[:start] + data[end:]
    if kind == 5:
        return data[:start] + rng.randbytes(end - start) + data[start:]
    if kind == 6:
        return rng.choice((b"", b"\0", b"\xff" * 16, b"\xef\xbb\xbf", b"{}", b"[]", b"null", b"\x89PNG\r\n\x1a\n"))
    return data[:start] + b"\xff" * (end - start) + data[end:]


def damaged_value(value: Any, rng: random.Random) -> Any:
    """Return a copy of JSON-like ``value`` with one node replaced by something hostile, left out, renamed or nested."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return rng.choice(HOSTILE)
    parent, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[f"{key}_"] = parent.pop(key)
    elif kind == 2:
        parent[key] = [parent[key]] * rng.choice((1, 2, 50))
    elif kind == 3:
        parent[key] = {"": parent[key]}
    else:
        parent[key] = copy.deepcopy(rng.choice(HOSTILE))
    return value


def damaged_json(text: str, rng: random.Random) -> bytes:
    """Return a JSON text with one value damaged, nested out of all depth, or with its bytes damaged."""
    kind = rng.randrange(10)
    if kind == 0:
        return b"[" * 100_000
    if kind < 3:
        return damaged_bytes(text.encode(), rng)
    return json.dumps(damaged_value(json.loads(text), rng)).encode()


def hold(code: int, err: str, allowed: tuple[int, ...] = (0, 1, 2)) -> None:
    """Assert that a door ended as doors do: an exit code that is documented, and no traceback."""
    assert code in allowed, f"exit code {code}\n{err}"
    assert "Traceback" not in err, err


def assert_sentence(error: CitycamError) -> None:
    """Assert that an error is a sentence on one line, which every terminal and file can hold."""
    assert str(error) == printable(str(error))
    assert str(error).strip()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"nothing came back within {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
