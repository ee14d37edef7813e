"""Fill a store: threads decode each picture once for all its views while the backbone works; on a CPU, where both need
the same cores, in turns."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from citycam.bank.work import Claim, WorkList
from citycam.data.pictures import read_bytes
from citycam.data.views import ViewSpec, open_working, views
from citycam.errors import UnreadablePicture
from citycam.files import check_room
from citycam.progress import Advance
from citycam.shards import SHARD_BYTES, Row, Rows, ShardStore, key_rows
from citycam.words import counted, say, size

# Returns the backbone's inputs (n, ...) for n rows of a picture, by its file, digest and view numbers.
RowInputs = Callable[[Path, str, Sequence[int]], np.ndarray]
Group = tuple[str, list[Row]]
Make = Callable[[Group], tuple[list[Row], np.ndarray]]
# Pictures whose inputs are made at once where decoding and the backbone take turns.
_TURN = 32
# Seconds after which values are written, so that a killed build loses no more.
_LONGEST = 60.0


@dataclass(frozen=True)
class Pipeline:
    """From pictures to values: threads decode and prepare pictures, and a backbone takes them in batches.

    Attributes:
        paths: a file for each picture digest.
        inputs: from a picture's file, digest and view numbers to the backbone's inputs.
        extract: from inputs (B, ...) to values (B, ...).
        batch: rows per pass.
        threads: for decoding.
        turns: whether decoding and passes take turns, since they need the same cores; side by side, both would wait for
            each other at every operation.
    """

    paths: Mapping[str, Path]
    inputs: RowInputs
    extract: Callable[[np.ndarray], np.ndarray]
    batch: int
    threads: int
    turns: bool

    def compute(self, rows: Iterable[Row]) -> Iterator[tuple[list[Row], np.ndarray]]:
        """Yield values batch by batch in the order of the rows, and keep none.

        The rows of a picture must follow each other; they are requested only when their turn comes.

        Raises:
            CitycamError: a picture cannot be read.
        """
        groups = ((digest, list(group)) for digest, group in itertools.groupby(rows, key=lambda row: row[0]))
        if self.turns:
            made = _in_turns(groups, self._make, self.paths, self.threads)
        else:
            made = _ahead(groups, self._make, self.threads)
        for chunk_rows, chunk in _batches(made, self.batch):
            yield chunk_rows, self.extract(chunk)

    def _make(self, group: Group) -> tuple[list[Row], np.ndarray]:
        digest, rows = group
        return rows, self.inputs(self.paths[digest], digest, [number for _, number in rows])


def fill(store: ShardStore, rows: Rows, pipeline: Pipeline, *, row_bytes: int, advance: Advance) -> int:
    """Make the rows that the store lacks, together with other builders of the same store.

    Damaged shards are removed, named on stderr, and made again.

    Args:
        rows: all rows that are needed.
        pipeline: how they are made.
        row_bytes: size of one row's values.
        advance: called with the number of rows done since the last call, present ones included.

    Returns:
        The number of rows made here.

    Raises:
        CitycamError: a picture cannot be read, or the cache cannot be written.
    """

    def make(claims: Iterator[Claim]) -> int:
        made, pending = 0, _Pending(store, writer)
        for _, values in pipeline.compute(pending.rows(claims)):
            advance(len(values))
            made += len(values)
            pending.take(values)
        pending.finish()
        return made

    with (
        WorkList(store, rows, row_bytes=row_bytes, advance=advance) as work,
        ThreadPoolExecutor(1, thread_name_prefix="shards") as writer,
    ):
        _say_damaged(store)
        made = make(work.free()) + sum(make(iter([claim])) for claim in work.held())
    store.refresh()
    return made


class _Pending:
    """Values that are not in shards yet. They are written when a claim is complete, a shard is full, or a minute has
    passed, so that a killed build loses little. One shard is written while the backbone works on the next."""

    def __init__(self, store: ShardStore, writer: ThreadPoolExecutor) -> None:
        self._store, self._writer = store, writer
        self._values: list[np.ndarray] = []
        self._done, self._bytes, self._since = 0, 0, time.monotonic()
        self._writing: Future[None] | None = None
        self._open: deque[Claim] = deque()
        self._complete: list[Claim] = []

    def rows(self, claims: Iterator[Claim]) -> Iterator[Row]:
        """Yield the rows of ``claims``; each is claimed when its turn comes."""
        for claim in claims:
            self._open.append(claim)
            yield from key_rows(claim.keys)

    def take(self, values: np.ndarray) -> None:
        """Add the values of the next of `rows`."""
        if self._writing is not None and self._writing.done():
            self.finish()
        while len(values):
            count = min(len(values), len(self._open[0].keys) - self._done)
            self._values.append(values[:count])
            self._done += count
            self._bytes += values[:count].nbytes
            values = values[count:]
            complete = self._done == len(self._open[0].keys)
            if complete or self._bytes >= SHARD_BYTES or time.monotonic() - self._since > _LONGEST:
                self._write(self._open[0])
            if complete:
                self._complete.append(self._open.popleft())
                self._done = 0

    def finish(self) -> None:
        """Wait for the shard that is being written, and release the claims that it completes."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None
        for claim in self._complete:
            claim.release()
        self._complete.clear()

    def _write(self, claim: Claim) -> None:
        self.finish()
        made = np.concatenate(self._values)
        self._writing = self._writer.submit(self._store.write, claim.keys[self._done - len(made) : self._done], made)
        self._values, self._bytes, self._since = [], 0, time.monotonic()


def _say_damaged(store: ShardStore) -> None:
    if store.damaged:
        say(f"note: removed {counted(len(store.damaged), 'damaged shard')} of {store.folder}; the rows are made again.")
        store.damaged.clear()


def check_rows(store: ShardStore, rows: int, row_bytes: int, what: str) -> None:
    """Print how many bytes ``rows`` more rows need and how many are free; nothing for 0 rows.

    Raises:
        CitycamError: the disk has too little room.
    """
    if rows:
        root = store.folder.parent
        free = check_room(root, rows * row_bytes, what)
        say(f"{what}: {rows:,} rows to make, {size(rows * row_bytes)}; {size(free)} free below {root}")


def view_inputs(spec: ViewSpec) -> RowInputs:
    """Return the function that renders views, uint8 (n, S, S, 3)."""

    def make(path: Path, digest: str, numbers: Sequence[int]) -> np.ndarray:
        return views(open_working(path, spec), spec, numbers, digest)

    return make


def _ahead(groups: Iterator[Group], make: Make, threads: int) -> Iterator[tuple[list[Row], np.ndarray]]:
    """Yield inputs picture by picture; threads make them up to 16 pictures a thread ahead of the backbone."""
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        ahead: deque[Future[tuple[list[Row], np.ndarray]]] = deque()
        for group in groups:
            ahead.append(pool.submit(make, group))
            if len(ahead) > 16 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _in_turns(
    groups: Iterator[Group], make: Make, paths: Mapping[str, Path], threads: int
) -> Iterator[tuple[list[Row], np.ndarray]]:
    """Yield inputs of `_TURN` pictures at a time, made while the backbone waits. Files of the next ones are read while
    it works, since waiting for a disk takes no core."""
    with (
        ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool,
        ThreadPoolExecutor(1, thread_name_prefix="disk") as disk,
    ):
        coming = list(itertools.islice(groups, _TURN))
        while coming:
            now, coming = coming, list(itertools.islice(groups, _TURN))
            made = list(pool.map(make, now))
            for digest, _ in coming:
                disk.submit(_touch, paths[digest])
            yield from made


def _touch(path: Path) -> None:
    """Read a file into the system's cache; decoding reports it if it cannot be read."""
    with contextlib.suppress(UnreadablePicture):
        read_bytes(path)


def _batches(pictures: Iterator[tuple[list[Row], np.ndarray]], batch: int) -> Iterator[tuple[list[Row], np.ndarray]]:
    """Regroup the rows of pictures into batches of exactly ``batch`` rows; the last one may be shorter."""
    rows: list[Row] = []
    parts: list[np.ndarray] = []
    for more_rows, more in pictures:
        rows.extend(more_rows)
        parts.append(more)
        if len(rows) < batch:
            continue
        values = np.concatenate(parts)
        while len(rows) >= batch:
            yield rows[:batch], values[:batch]
            rows, values = rows[batch:], values[batch:]
        parts = [values] if len(rows) else []
    if rows:
        yield rows, np.concatenate(parts)
