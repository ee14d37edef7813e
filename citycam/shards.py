"""Rows of equal arrays on disk, addressed by (picture digest, number), in shards that appear whole or not at all.

A store is a folder named by a hash of everything that changes its numbers, which ``key.json`` lists. A shard is a
safetensors file of at most 64 MB. Its index (``.rows``, safetensors too) is written after it and holds the rows and
the shard's checksum; a shard without an index does not count. A process verifies the checksum of a shard when it first
uses it. Readers map shards, so a store is never loaded whole; its index takes 28 bytes of memory a row.

``users/`` holds a lock file for each process that uses the store. ``used`` is touched when a process starts to use it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import platform
import secrets
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from safetensors.numpy import save

from citycam.errors import CitycamError
from citycam.files import lock, read_json, sha256, write_bytes, write_json

Row = tuple[str, int]
# Rows as a list of (digest, number), or as keys: see `row_keys`.
Rows = Sequence[Row] | np.ndarray

SHARD_BYTES = 64 * 2**20
_FORMAT = 2
_DTYPES = {"F32": np.float32, "U8": np.uint8}
# What a damaged file of ours raises when it is read.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError, AttributeError, struct.error)
_DIGEST, _KEY = 16, np.dtype("S20")


def row_keys(rows: Rows) -> np.ndarray:
    """Return rows as keys (n,) of 20 bytes: the digest's 16 and the number's 4, big-endian, so that sorted keys are
    grouped by picture."""
    if isinstance(rows, np.ndarray):
        return rows
    return _keys([digest for digest, _ in rows], np.array([number for _, number in rows], dtype=np.int64))


def view_keys(digests: Sequence[str], numbers: Sequence[int]) -> np.ndarray:
    """Return the keys of all numbers of all digests, digest by digest."""
    keys = _keys(digests, np.zeros(len(digests), dtype=np.int64))
    repeated = np.repeat(keys, len(numbers)).view(np.uint8).reshape(-1, _KEY.itemsize)
    repeated[:, _DIGEST:] = np.tile(_number_bytes(np.asarray(numbers, dtype=np.int64)), (len(digests), 1))
    return repeated.reshape(-1).view(_KEY)


def key_rows(keys: np.ndarray) -> Iterable[Row]:
    """Yield the rows of keys."""
    for start in range(0, len(keys), 4096):  # lists of a whole store's rows would take hundreds of MB
        parts = np.ascontiguousarray(keys[start : start + 4096]).view(np.uint8).reshape(-1, _KEY.itemsize)
        numbers = np.ascontiguousarray(parts[:, _DIGEST:]).view(">u4").reshape(-1).tolist()
        for part, number in zip(parts[:, :_DIGEST], numbers, strict=True):
            yield part.tobytes().hex(), number


@dataclass
class _Shard:
    path: Path
    sha256: str
    rows: int
    verified: bool


class ShardStore:
    """Rows of one shape and dtype under one key.

    Args:
        key: everything that changes the numbers, as JSON values.
        root: the folder of all stores of this kind.
        dtype: float32 or uint8.

    Attributes:
        given: the key that the store was opened with.  key: the same with dtype and format on disk.  name: its hash.
        folder: that of the store, which need not exist yet.
        damaged: names of damaged shards, which were removed.
    """

    def __init__(self, key: dict[str, Any], root: Path, dtype: type[np.float32] | type[np.uint8] = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self.given = key
        self.key = key | {"dtype": self.dtype.name, "format": _FORMAT}
        self.name = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:32]
        self.folder = root / self.name
        self.damaged: list[str] = []
        self._shards: list[_Shard] = []
        self._read: set[str] = set()
        self._row_shape: tuple[int, ...] = ()
        self._written: set[str] = set()  # by this process, so there is no need to verify them
        # Sorted keys with their places, the longest run first, each less than half of the one before.
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []
        self._user: filelock.BaseFileLock | None = None
        self._map = functools.lru_cache(maxsize=_most_maps())(functools.partial(_mapped, self._shards, self.dtype))

    def refresh(self) -> None:
        """Read the indices of shards that are new on disk."""
        if not self.folder.is_dir():
            return
        self.use()
        for index in sorted(self.folder.glob("*.rows")):
            if index.name not in self._read:
                self._take_in(index)

    def missing(self, rows: Rows) -> np.ndarray:
        """Return the sorted, distinct keys of those ``rows`` that the store lacks; see `key_rows`."""
        keys = np.unique(row_keys(rows))
        return keys[self._find(keys)[:, 0] < 0]

    def add(self, rows: Rows, values: np.ndarray) -> None:
        """Write values and read their index: `write` and `refresh`."""
        self.write(rows, values)
        self.refresh()

    def write(self, rows: Rows, values: np.ndarray) -> None:
        """Write ``values`` (len(rows), ...) of the store's dtype, in as many shards as they need.

        Call `refresh` to read them. Another thread may use the store meanwhile.

        Raises:
            CitycamError: the disk is full, or the cache cannot be written.
        """
        keys = row_keys(rows)
        if len(keys) != len(values) or values.dtype != self.dtype:
            raise ValueError(f"{len(keys)} rows of {self.dtype} for {len(values)} values of {values.dtype}")
        self.use()
        if read_key(self.folder) is None:
            write_json(self.folder / "key.json", self.key)
        step = max(1, SHARD_BYTES // max(1, values[:1].nbytes))
        for start in range(0, len(keys), step):
            self._write(keys[start : start + step], values[start : start + step])

    def places(self, rows: Rows) -> np.ndarray:
        """Return the places of rows for `read`: int32 (len(rows), 2), the shard and the row in it.

        Raises:
            CitycamError: a row is missing.
        """
        places = self._find(row_keys(rows))
        if (places < 0).any():
            raise CitycamError(
                f"The store {self.folder} lacks a view that this run needs; run the same command again to make it.",
                exit_code=1,
            )
        return places

    def read(self, places: np.ndarray) -> np.ndarray:
        """Return the values (B, ...) at ``places`` (B, 2), B > 0, copied out of the maps.

        Raises:
            CitycamError: a shard has rows of another shape.
        """
        order = np.lexsort((places[:, 1], places[:, 0]))
        shards, starts = np.unique(places[order, 0], return_index=True)
        values = np.empty((len(places), *self._map(int(shards[0])).shape[1:]), dtype=self.dtype)
        for shard, start, end in zip(shards.tolist(), starts, [*starts[1:], len(order)], strict=True):
            chosen = order[start:end]
            rows = self._map(shard)
            if rows.shape[1:] != values.shape[1:]:
                raise CitycamError(
                    f"{self.folder} holds rows of different shapes, so citycam did not write all of it; remove that "
                    "folder, and what it held is computed again."
                )
            values[chosen] = rows[places[chosen, 1]]
        return values

    def use(self) -> None:
        """Mark the store as used by this process, so that no other process removes it."""
        if self._user is None:
            # A cache that cannot be written cannot be pruned either, and can still be read.
            with contextlib.suppress(OSError), lock(self.folder.parent / ".lock"):
                name = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}.lock"
                user = filelock.FileLock(self.folder / "users" / name, thread_local=False)
                (self.folder / "users").mkdir(parents=True, exist_ok=True)
                in_use(self.folder)  # removes the files of ended processes
                user.acquire()
                self._user = user
                (self.folder / "used").touch()

    def _find(self, keys: np.ndarray) -> np.ndarray:
        """Return the places of keys in verified shards; -1 where there is none."""
        while True:
            places = self._locate(keys)
            if self._verify(np.unique(places[:, 0][places[:, 0] >= 0]).tolist()):
                return places

    def _locate(self, keys: np.ndarray) -> np.ndarray:
        order = np.argsort(keys, kind="stable")  # looking up in order is ten times faster
        keys = keys[order]
        ordered = np.full((len(keys), 2), -1, dtype=np.int32)
        for run, places in self._runs:
            at = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            hit = (run[at] == keys) & (ordered[:, 0] < 0)
            ordered[hit] = places[at[hit]]
        result = np.empty_like(ordered)
        result[order] = ordered
        return result

    def _verify(self, numbers: Sequence[int]) -> bool:
        """Verify the checksums of shards that were not verified yet; return False if one was damaged."""
        new = [number for number in numbers if not self._shards[number].verified]
        if not new:
            return True
        with ThreadPoolExecutor(min(len(new), os.cpu_count() or 1), thread_name_prefix="verify") as pool:
            whole = list(pool.map(self._is_whole, new))
        for number, good in zip(new, whole, strict=True):
            self._shards[number].verified = good
            if not good:
                self._drop(number)
        return all(whole)

    def _is_whole(self, number: int) -> bool:
        """Return whether a shard has its checksum, the rows of its index, and the store's type and shape of a row."""
        shard = self._shards[number]
        layout = shard_layout(shard.path) if is_whole(shard.path, shard.sha256) else None
        if layout is None or layout[0] != self.dtype or layout[1][:1] != (shard.rows,):
            return False
        # The first shard that is used says what a row is like.
        self._row_shape = self._row_shape or layout[1][1:]
        return layout[1][1:] == self._row_shape

    def _drop(self, number: int) -> None:
        index = self._shards[number].path.with_suffix(".rows")
        remove_shard(index)
        self.damaged.append(index.stem)
        self._read.discard(index.name)
        self._written.discard(index.name)
        kept = [(keys, places, places[:, 0] != number) for keys, places in self._runs]
        self._runs = [(keys[mask], places[mask]) for keys, places, mask in kept if mask.any()]

    def _write(self, keys: np.ndarray, values: np.ndarray) -> None:
        listed = np.ascontiguousarray(keys).view(np.uint8).reshape(-1, _KEY.itemsize)
        rows_digest = hashlib.sha256(listed.tobytes()).hexdigest()
        # Shards of equal values and other rows get other names by the rows' digest.
        content = save({"rows": np.ascontiguousarray(values)}, metadata={"rows": rows_digest})
        digest = hashlib.sha256(content).hexdigest()
        write_bytes(self.folder / f"{digest[:32]}.safetensors", content)
        index = self.folder / f"{digest[:32]}.rows"
        self._written.add(index.name)
        write_bytes(index, save({"rows": listed}, metadata={"rows": rows_digest, "sha256": digest}))

    def _take_in(self, index: Path) -> None:
        content = read_index(index)
        if content is None:
            remove_shard(index)
            self.damaged.append(index.stem)
            return
        keys, digest = content
        places = np.empty((len(keys), 2), dtype=np.int32)
        places[:, 0], places[:, 1] = len(self._shards), np.arange(len(keys))
        self._shards.append(_Shard(index.with_suffix(".safetensors"), digest, len(keys), index.name in self._written))
        self._read.add(index.name)
        order = np.argsort(keys, kind="stable")
        keys, places = keys[order], places[order]
        while self._runs and len(self._runs[-1][0]) < 2 * len(keys):
            longer, its = self._runs.pop()
            keys, places = np.concatenate([longer, keys]), np.concatenate([its, places])
            order = np.argsort(keys, kind="stable")
            keys, places = keys[order], places[order]
        self._runs.append((keys, places))


def in_use(folder: Path) -> bool:
    """Return whether a living process uses the store in ``folder``, and remove what ended processes left. The caller
    holds the lock ``.lock`` beside the store."""
    busy = False
    for path in sorted((folder / "users").glob("*.lock")):
        user = filelock.FileLock(path, thread_local=False)
        try:
            user.acquire(blocking=False)
        except filelock.Timeout:
            busy = True
            continue
        path.unlink()
        user.release()
    return busy


def read_key(folder: Path) -> dict[str, Any] | None:
    """Return what a store was made from, as its key.json says; None where that is missing or not what names it."""
    try:
        key = read_json(folder / "key.json")
        named = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    except (OSError, ValueError, RecursionError):
        return None
    return key if isinstance(key, dict) and named == folder.name else None


def read_index(index: Path) -> tuple[np.ndarray, str] | None:
    """Return the keys (n,) of a shard's rows and the shard's checksum; None where the index is damaged."""
    try:
        metadata, dtype, shape, offset = _header(index)
        if dtype != np.uint8 or len(shape) != 2 or shape[1] != _KEY.itemsize or not shape[0]:
            return None
        listed = np.fromfile(index, dtype=np.uint8, offset=offset).reshape(shape)
        if hashlib.sha256(listed.tobytes()).hexdigest() != metadata["rows"] or len(metadata["sha256"]) != 64:
            return None
        return listed.reshape(-1).view(_KEY), str(metadata["sha256"])
    except _DAMAGE:
        return None


def index_length(index: Path) -> int:
    """Return the number of a shard's rows by the header of its index; 0 where that is damaged."""
    try:
        return _header(index)[2][0]
    except _DAMAGE:
        return 0


def shard_layout(shard: Path) -> tuple[np.dtype[Any], tuple[int, ...]] | None:
    """Return type and shape of a shard's values by its header; None where that is damaged."""
    try:
        return _header(shard)[1:3]
    except _DAMAGE:
        return None


def is_whole(shard: Path, digest: str) -> bool:
    """Return whether a shard has its checksum."""
    try:
        return shard.is_file() and sha256(shard) == digest
    except OSError:
        return False


def remove_shard(index: Path) -> None:
    """Remove a shard and its index, the index first, since a shard without one does not count; one that is a folder is
    moved aside, with what is in it."""
    for path in (index, index.with_suffix(".safetensors")):
        if path.is_dir() and not path.is_symlink():
            path.rename(path.with_name(f"{path.name}.folder-{secrets.token_hex(4)}"))
        else:
            path.unlink(missing_ok=True)


def _header(path: Path) -> tuple[dict[str, Any], np.dtype[Any], tuple[int, ...], int]:
    """Return the metadata of a safetensors file, and type, shape and offset of its one tensor ``rows``.

    Raises:
        ValueError: the header does not fit the file.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, 2**20)))
    tensor, metadata = header["rows"], header.get("__metadata__", {})
    dtype, shape = np.dtype(_DTYPES[tensor["dtype"]]), tuple(tensor["shape"])
    start, end = tensor["data_offsets"]
    whole = all(type(number) is int and number >= 0 for number in (*shape, start, end)) and isinstance(metadata, dict)
    if not whole or not shape or end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{path} has another size than its header says")
    if path.stat().st_size != 8 + length + end:
        raise ValueError(f"{path} is cut short")
    return metadata, dtype, shape, 8 + length + start


def _mapped(shards: Sequence[_Shard], dtype: np.dtype[Any], number: int) -> np.ndarray:
    _, _, shape, offset = _header(shards[number].path)
    return np.memmap(shards[number].path, dtype=dtype, mode="r", offset=offset, shape=shape)


def _keys(digests: Sequence[str], numbers: np.ndarray) -> np.ndarray:
    keys = np.empty((len(digests), _KEY.itemsize), dtype=np.uint8)
    keys[:, :_DIGEST] = np.frombuffer(bytes.fromhex("".join(digests)), dtype=np.uint8).reshape(-1, _DIGEST)
    keys[:, _DIGEST:] = _number_bytes(numbers)
    return keys.reshape(-1).view(_KEY)


def _number_bytes(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(">u4").view(np.uint8).reshape(-1, 4)


def _most_maps() -> int:
    """Return how many shards are kept open: a third of the file descriptors of the process."""
    try:
        import resource
    except ImportError:  # Windows, whose limit is far away
        return 2048
    return max(64, min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3))
