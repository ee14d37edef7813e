"""Every row is made once, whoever makes it, whatever ends a builder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citycam.bank import build, work
from citycam.data.pictures import decode
from citycam.errors import CitycamError
from citycam.shards import Row, ShardStore, index_length, key_rows

KEY = {"backbone": "x", "weights": "y"}
# Pictures in several buckets, some in the same; more than one builder decodes ahead.
DIGESTS = [f"{number * 37 % 50:02x}{number:030x}" for number in range(60)]


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """A picture of one colour, its number's, for each digest."""
    found = {digest: tmp_path / f"{digest}.png" for digest in DIGESTS}
    for number, path in enumerate(found.values()):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    return found


def inputs(path: Path, _digest: str, numbers: Sequence[int]) -> np.ndarray:
    """The picture's colour and the row's number."""
    colour = decode(path)[0, 0, 0]
    return np.array([[colour, number] for number in numbers], np.float32)


def fill(
    store: ShardStore,
    rows: list[Row],
    paths: dict[str, Path],
    extract: Callable[[np.ndarray], np.ndarray] = lambda values: values,
    advance: Callable[[int], None] = lambda _count: None,
    batch: int = 4,
    turns: bool = False,
) -> int:
    pipeline = build.Pipeline(paths, inputs, extract, batch, threads=2, turns=turns)
    return build.fill(store, rows, pipeline, row_bytes=8, advance=advance)


def every(count: int = 3) -> list[Row]:
    return [(digest, number) for number in range(count) for digest in DIGESTS]


def assert_filled(store: ShardStore, rows: list[Row]) -> None:
    """All rows are there, right, and on disk once."""
    values = store.read(store.places(rows))
    np.testing.assert_array_equal(values, [[DIGESTS.index(digest), number] for digest, number in rows])
    assert sum(map(index_length, store.folder.glob("*.rows"))) == len(rows)


# A builder as a process: argv is the folder of the pictures, the batch after which it is killed, and whether to wait
# for a word before each batch. It prints the rows of each batch before it goes on.
BUILDER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from citycam.bank import build, work
from citycam.shards import ShardStore
from tests.bank.test_build import DIGESTS, KEY, every, fill

root, last, wait = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "wait"
work.CLAIM_BYTES = 8 * 6
build.SHARD_BYTES = 8 * 4
count = 0

def extract(values):
    global count
    count += 1
    print(len(values), flush=True)
    if wait:
        sys.stdin.readline()
    if count == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return values

fill(ShardStore(KEY, root / "bank"), every(), {d: root / f"{d}.png" for d in DIGESTS}, extract)
"""


def start(folder: Path, last: int = -1, wait: bool = False) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    arguments = [str(folder), str(last), "wait" if wait else "run", root]
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def batches(builder: subprocess.Popen[str]) -> list[int]:
    """Let a builder run to its end; the sizes of its batches."""
    return [int(line) for line in builder.communicate()[0].split()]


@pytest.mark.usefixtures("paths")
def test_two_processes_build_together_each_row_once(tmp_path: Path) -> None:
    one, two = (start(tmp_path, wait=True) for _ in range(2))
    # Both hold a claim before either goes on.
    firsts = [int(builder.stdout.readline()) for builder in (one, two) if builder.stdout is not None]
    for builder in (one, two):
        assert builder.stdin is not None
        builder.stdin.write("\n" * 100)
        builder.stdin.flush()
    made = [first + sum(batches(builder)) for first, builder in zip(firsts, (one, two), strict=True)]
    assert (one.returncode, two.returncode) == (0, 0)
    assert sum(made) == len(every())
    assert min(made) > 0
    store = ShardStore(KEY, tmp_path / "bank")
    store.refresh()
    assert_filled(store, every())


def test_a_killed_build_goes_on_where_it_stopped(paths: dict[str, Path], tmp_path: Path) -> None:
    killed = start(tmp_path, last=6)
    passed = sum(batches(killed))
    assert killed.returncode == -signal.SIGKILL
    store = ShardStore(KEY, tmp_path / "bank")
    store.refresh()
    kept = len(every()) - len(store.missing(every()))
    assert passed > kept > 0
    again: list[int] = []

    def extract(values: np.ndarray) -> np.ndarray:
        again.append(len(values))
        return values

    assert fill(store, every(), paths, extract) == sum(again) == len(every()) - kept
    assert_filled(store, every())


def test_a_killed_builders_rows_are_made_by_who_waits_for_them(paths: dict[str, Path], tmp_path: Path) -> None:
    other = start(tmp_path, last=1, wait=True)
    assert other.stdout is not None
    other.stdout.readline()  # it holds a claim now
    store, told = ShardStore(KEY, tmp_path / "bank"), []
    held: list[int] = []

    def advance(count: int) -> None:
        told.append(count)

    real = work.WorkList.held

    def held_after_the_kill(self: work.WorkList) -> object:
        held.extend(self._held_by_others)
        other.communicate("\n")
        return real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work.WorkList, "held", held_after_the_kill)
        assert fill(store, every(), paths, advance=advance) == len(every())
    assert held
    assert sum(told) == len(every())
    assert_filled(store, every())


def test_rows_that_another_made_count_as_done(paths: dict[str, Path], tmp_path: Path) -> None:
    store, told = ShardStore(KEY, tmp_path / "bank"), []
    assert fill(store, every(2), paths) == 2 * len(DIGESTS)
    assert fill(store, every(3), paths, advance=told.append) == len(DIGESTS)
    assert sum(told) == 3 * len(DIGESTS)
    assert_filled(store, every(3))


def test_full_batches_are_passed_whatever_the_claims_bring(
    paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "CLAIM_BYTES", 1)
    sizes: list[int] = []

    def extract(values: np.ndarray) -> np.ndarray:
        sizes.append(len(values))
        return values

    store = ShardStore(KEY, tmp_path / "bank")
    fill(store, every(), paths, extract, batch=10)
    assert sizes == [10] * 18
    assert_filled(store, every())


def test_a_failure_lets_go_of_every_claim(paths: dict[str, Path], tmp_path: Path) -> None:
    store = ShardStore(KEY, tmp_path / "bank")

    def fail(_values: np.ndarray) -> np.ndarray:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError):
        fill(store, every(), paths, fail)
    paths[DIGESTS[3]].write_bytes(b"")
    with pytest.raises(CitycamError, match=DIGESTS[3]):
        fill(store, every(), paths)
    Image.new("RGB", (4, 4), (3, 0, 0)).save(paths[DIGESTS[3]])
    assert fill(ShardStore(KEY, tmp_path / "bank"), every(), paths) > 0


def test_a_minute_of_work_is_the_most_that_can_be_lost(
    paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_LONGEST", 0.0)
    store = ShardStore(KEY, tmp_path / "bank")
    fill(store, every(1), paths, batch=1)
    assert len(list(store.folder.glob("*.rows"))) == len(DIGESTS)
    assert_filled(store, every(1))


def test_damage_is_said_and_made_again(
    paths: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(ShardStore(KEY, tmp_path / "bank"), every(1), paths)
    shard = next((tmp_path / "bank").glob("*/*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    store = ShardStore(KEY, tmp_path / "bank")
    assert 0 < fill(store, every(1), paths) <= len(DIGESTS)
    assert "damaged and removed: 1 shard of" in capsys.readouterr().err
    assert_filled(store, every(1))


def test_room_is_asked_for_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ShardStore(KEY, tmp_path / "cache" / "bank")
    build.check_rows(store, 0, 8, "bank")
    assert capsys.readouterr().err == ""
    build.check_rows(store, 2048, 1024, "bank")
    assert "bank: 2,048 rows to make, 2.0 MB; " in capsys.readouterr().err
    with pytest.raises(CitycamError, match=r"No room for bank: 909 TB are needed below .*citycam bank prune"):
        build.check_rows(store, 10**12, 1000, "bank")
    assert list(key_rows(store.missing([(DIGESTS[0], 0)]))) == [(DIGESTS[0], 0)]


def test_a_picture_is_decoded_once_for_all_its_rows(
    paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    real = decode
    monkeypatch.setattr("tests.bank.test_build.decode", lambda path: decoded.append(path) or real(path))
    fill(ShardStore(KEY, tmp_path / "bank"), every(), paths)
    assert sorted(decoded) == sorted(paths.values())


def test_turns_make_the_same_rows(paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_TURN", 3)
    store = ShardStore(KEY, tmp_path / "bank")
    assert fill(store, every(), paths, turns=True) == len(every())
    assert_filled(store, every())
