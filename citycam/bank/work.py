"""Share the rows of a store among builders of this and other processes, so that each row is made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import filelock
import numpy as np

from citycam.files import explain_os_error
from citycam.progress import Advance
from citycam.shards import Rows, ShardStore, row_keys

# The most bytes of values, and the most locks (file descriptors), of one claim.
CLAIM_BYTES, _LOCKS = 32 * 2**20, 32
# Seconds between checks of what another builder has made.
_CHECK = 1.0


@dataclass
class Claim:
    """Rows that only this process makes until `release`; keys are sorted, so the rows of a picture are in sequence."""

    keys: np.ndarray
    locks: ExitStack

    def release(self) -> None:
        """Let other builders claim these rows; those that were made are in the store."""
        self.locks.close()


class WorkList:
    """The rows that a builder needs of a store, in 256 buckets by the first byte of the picture's digest.

    All builders of a store use the same buckets. The rows of a bucket are made by the process that holds its lock; the
    kernel frees the lock when that process dies.

    Args:
        store: the store to fill.
        rows: all rows that are needed.
        row_bytes: size of one row's values.
        advance: called with the number of rows that are new in the store, those of other builders included; not with
            rows of claims.

    Raises:
        CitycamError: the cache cannot be written.
    """

    def __init__(self, store: ShardStore, rows: Rows, *, row_bytes: int, advance: Advance) -> None:
        self._store, self._row_bytes, self._advance = store, row_bytes, advance
        keys = np.unique(row_keys(rows))
        first = keys.view(np.uint8).reshape(len(keys), -1)[:, 0]
        edges = np.searchsorted(first, np.arange(257)).tolist()
        self._keys = {b: keys[edges[b] : edges[b + 1]] for b in range(256) if edges[b] < edges[b + 1]}
        self._counted = dict.fromkeys(self._keys, 0)
        self._held_by_others: list[int] = []
        self._stack = ExitStack()
        store.refresh()
        store.missing(keys)  # verifies all shards that matter at once, in threads

    def __enter__(self) -> WorkList:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def free(self) -> Iterator[Claim]:
        """Claim every bucket that no other builder holds. Claims never wait, so several may be open at once."""
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
        """Claim what other builders held during `free` and did not finish, bucket by bucket, waiting for each lock.

        Release each claim before the next; two builders would otherwise wait for each other.
        """
        for bucket in self._held_by_others:
            locks, lock = self._new_locks(), self._lock(bucket)
            while len(self._lacking(bucket)) and not self._acquire(lock, _CHECK, locks):
                self._store.refresh()
            yield from self._claim([bucket], locks)

    def _claim(self, buckets: list[int], locks: ExitStack) -> Iterator[Claim]:
        """Yield a claim on the rows that are still missing, if any, now that the locks are held."""
        self._store.refresh()
        keys = [self._lacking(bucket) for bucket in buckets]
        if sum(map(len, keys)):
            yield Claim(np.concatenate(keys), locks)
        else:
            locks.close()

    def _lacking(self, bucket: int) -> np.ndarray:
        """Return the missing keys of a bucket, and advance by those that are new in the store."""
        missing = self._store.missing(self._keys[bucket])
        there = len(self._keys[bucket]) - len(missing)
        if there > self._counted[bucket]:
            self._advance(there - self._counted[bucket])
            self._counted[bucket] = there
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
