"""Who makes which rows of a store: builders of this and other processes share one list and make each row once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import filelock
import numpy as np

from citycam.files import explain_os_error
from citycam.shards import Rows, ShardStore, row_keys

Advance = Callable[[int], None]

# Values that one builder takes upon itself at a time, and the most locks (file descriptors) for them.
CLAIM_BYTES, _LOCKS = 32 * 2**20, 32
# Seconds between looks at what another builder has made meanwhile.
_LOOK = 1.0


@dataclass
class Claim:
    """Rows that this process alone makes until `release`: sorted keys, so the rows of a picture stand together."""

    keys: np.ndarray
    locks: ExitStack

    def release(self) -> None:
        """Let others see to these rows, which are in the store by now."""
        self.locks.close()


class WorkList:
    """The rows of a store that somebody needs, in 256 buckets by the first byte of the picture's digest.

    Buckets are the store's own, whoever asks, whatever for. A bucket's rows are made by who holds its lock, which the
    kernel frees when that process dies.

    Raises:
        CitycamError: the cache cannot be written.

    Args:
        store: to be filled.
        rows: all that are needed.
        row_bytes: size of one row's values.
        advance: told of rows that are there, also of those that another builder makes meanwhile; not of claimed ones.
    """

    def __init__(self, store: ShardStore, rows: Rows, *, row_bytes: int, advance: Advance) -> None:
        self._store, self._row_bytes, self._advance = store, row_bytes, advance
        keys = np.unique(row_keys(rows))
        first = keys.view(np.uint8).reshape(len(keys), -1)[:, 0]
        edges = np.searchsorted(first, np.arange(257)).tolist()
        self._keys = {b: keys[edges[b] : edges[b + 1]] for b in range(256) if edges[b] < edges[b + 1]}
        self._told = dict.fromkeys(self._keys, 0)
        self._held_by_others: list[int] = []
        self._stack = ExitStack()
        store.refresh()
        store.missing(keys)  # verifies all shards that matter at once, in threads

    def __enter__(self) -> WorkList:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def free(self) -> Iterator[Claim]:
        """Claims on all that nobody else is making; several may be held at a time, since none waits for another."""
        locks, size, count = self._new_locks(), 0, 0
        buckets: list[int] = []
        for bucket in self._keys:
            lacking = len(self._lacking(bucket))
            if not lacking:
                continue
            if not self._acquire(self._lock(bucket), 0.0, locks):
                self._held_by_others.append(bucket)
                continue
            buckets.append(bucket)
            size, count = size + lacking * self._row_bytes, count + 1
            if size >= CLAIM_BYTES or count == _LOCKS:
                yield from self._claim(buckets, locks)
                locks, size, count, buckets = self._new_locks(), 0, 0, []
        yield from self._claim(buckets, locks)

    def held(self) -> Iterator[Claim]:
        """What others were making during `free` and did not finish, one bucket after the other, waiting for each.

        The claim before must be released when the next is asked for: two builders would wait for each other.
        """
        for bucket in self._held_by_others:
            locks, lock = self._new_locks(), self._lock(bucket)
            while len(self._lacking(bucket)) and not self._acquire(lock, _LOOK, locks):
                self._store.refresh()
            yield from self._claim([bucket], locks)

    def _claim(self, buckets: list[int], locks: ExitStack) -> Iterator[Claim]:
        """A claim on what is still missing now that the locks are held, if anything is."""
        self._store.refresh()
        keys = [self._lacking(bucket) for bucket in buckets]
        if sum(map(len, keys)):
            yield Claim(np.concatenate(keys), locks)
        else:
            locks.close()

    def _lacking(self, bucket: int) -> np.ndarray:
        """Missing keys of a bucket; tells of those that are new."""
        missing = self._store.missing(self._keys[bucket])
        there = len(self._keys[bucket]) - len(missing)
        if there > self._told[bucket]:
            self._advance(there - self._told[bucket])
            self._told[bucket] = there
        return missing

    def _new_locks(self) -> ExitStack:
        locks = ExitStack()
        self._stack.callback(locks.close)
        return locks

    def _lock(self, bucket: int) -> filelock.BaseFileLock:
        return filelock.FileLock(self._store.folder / "locks" / f"{bucket:02x}.lock", thread_local=False)

    def _acquire(self, lock: filelock.BaseFileLock, seconds: float, locks: ExitStack) -> bool:
        self._store.use()
        path = Path(lock.lock_file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            locks.enter_context(lock.acquire(timeout=seconds))
        except filelock.Timeout:
            return False
        except OSError as error:
            raise explain_os_error(error, path) from error
        return True
