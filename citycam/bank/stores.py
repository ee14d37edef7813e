"""List, verify and prune the stores of the bank. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.files import cache_root, explain_os_error, lock
from citycam.shards import in_use, index_length, is_whole, read_index, read_key, remove_shard, shard_layout

_PRUNED = ".pruned-"


@dataclass(frozen=True)
class Store:
    """A store.

    ``key``: what it was made from, None where its key.json is damaged; ``size``: bytes; ``made``, ``used``: seconds
    since the epoch; ``busy``: whether a living process uses it, None where that cannot be known.
    """

    folder: Path
    key: dict[str, Any] | None
    rows: int
    size: int
    made: float
    used: float
    busy: bool | None


def bank_root() -> Path:
    """Return the folder of all stores."""
    return cache_root() / "bank"


def list_stores(root: Path) -> list[Store]:
    """Return all stores, the least recently used first."""
    if not root.is_dir():
        return []
    try:
        with lock(root / ".lock"):
            return _stores(root, in_use)
    except PermissionError:  # another person's cache, which can still be read
        return _stores(root, lambda _folder: None)


def verify(root: Path, advance: Callable[[int], None]) -> list[str]:
    """Verify the checksum of every shard and remove damaged ones; return their names (store/shard).

    Args:
        advance: called with the number of shards that were verified since the last call.
    """
    damaged = []
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="verify") as pool:
        indices = list_indices(root)
        for index, whole in zip(indices, pool.map(_whole, indices), strict=True):
            advance(1)
            if not whole and index.exists():  # its store may have been pruned meanwhile
                remove_shard(index)
                damaged.append(f"{index.parent.name}/{index.stem}")
    return damaged


def list_indices(root: Path) -> list[Path]:
    """Return the index file of every shard of every store."""
    return sorted(root.glob("*/*.rows"))


def prune(root: Path, *, used_before: float | None, most: int | None) -> list[Store]:
    """Remove stores that no process uses, the least recently used first, and what killed writers left.

    Args:
        used_before: remove stores last used before this moment, in seconds since the epoch; None for no such rule.
        most: remove stores until all together take at most this many bytes; None for no such rule.

    Returns:
        The stores that were removed; and for what killed writers left in a store that stays, one without rows.

    Raises:
        CitycamError: the cache cannot be written.
    """
    if not root.is_dir():
        return []
    try:
        with lock(root / ".lock"):
            doomed = _doomed(_stores(root, in_use), used_before, most)
            for store in doomed:
                store.folder.rename(root / f"{_PRUNED}{store.folder.name}-{secrets.token_hex(4)}")
            left = [removed for store in _stores(root, in_use) for removed in _tidy(store)]
            for folder in root.iterdir():  # a store without a key, whose first writer was killed
                if folder.is_dir() and not (folder / "key.json").exists() and not in_use(folder):
                    folder.rename(root / f"{_PRUNED}{secrets.token_hex(4)}")
        for folder in root.glob(f"{_PRUNED}*"):
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise explain_os_error(error, root / "stores") from error
    return doomed + left


def _stores(root: Path, busy: Callable[[Path], bool | None]) -> list[Store]:
    stores = []
    for folder in root.iterdir():
        if folder.name.startswith("."):
            continue
        try:
            made = (folder / "key.json").stat().st_mtime
        except OSError:
            continue
        used = max([made, *(path.stat().st_mtime for path in [folder / "used"] if path.exists())])
        rows = sum(map(index_length, folder.glob("*.rows")))
        stores.append(
            Store(folder, read_key(folder), rows, sum(map(_size, folder.rglob("*"))), made, used, busy(folder))
        )
    return sorted(stores, key=lambda store: store.used)


def _doomed(stores: list[Store], used_before: float | None, most: int | None) -> list[Store]:
    total, doomed = sum(store.size for store in stores), []
    for store in stores:
        old = used_before is not None and store.used < used_before
        large = most is not None and total > most
        if (old or large) and not store.busy:
            doomed.append(store)
            total -= store.size
    return doomed


def _tidy(store: Store) -> Iterator[Store]:
    """Remove temporary files and shards without an index from a store that no process uses."""
    if store.busy:
        return
    left = [*store.folder.rglob(".*.part")]
    left += [shard for shard in store.folder.glob("*.safetensors") if not shard.with_suffix(".rows").exists()]
    if left:
        yield Store(store.folder, store.key, 0, sum(map(_size, left)), store.made, store.used, False)
    for path in left:
        path.unlink()


def _whole(index: Path) -> bool:
    content = read_index(index)
    shard = index.with_suffix(".safetensors")
    layout = shard_layout(shard)
    return (
        layout is not None and content is not None and layout[1][0] == len(content[0]) and is_whole(shard, content[1])
    )


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):  # a writer's temporary file may be gone by now
        return path.lstat().st_size
    return 0
