"""The feature bank on disk: rows addressed by (picture digest, view number), in shards that appear whole or not at all.

A store is a folder named by a hash of everything that changes its numbers (``key.json`` says what). A shard is a
safetensors file of at most 64 MB, and beside it an index with its rows and its checksum, written after it: a shard
without an index does not exist. Readers map shards; nothing loads a bank whole.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from citycam.errors import CitycamError
from citycam.files import sha256, write_bytes, write_json

Row = tuple[str, int]
SHARD_BYTES = 64 * 2**20


class FeatureStore:
    """Rows of float32 arrays of one shape under one key.

    Args:
        key: everything that changes the numbers; JSON.
        root: the folder of all banks.
    """

    def __init__(self, key: dict[str, Any], root: Path) -> None:
        text = json.dumps(key, sort_keys=True)
        self.key = key
        self.name = hashlib.sha256(text.encode()).hexdigest()[:32]
        self.folder = root / self.name
        self._shards: list[np.ndarray] = []
        self._places: dict[Row, tuple[int, int]] = {}
        self._read: set[str] = set()
        self.damaged: list[str] = []

    @property
    def lock_path(self) -> Path:
        """Who adds rows holds this."""
        return self.folder.parent / f"{self.name}.lock"

    def refresh(self) -> None:
        """Take in shards that are new on disk. A damaged one is removed, noted in ``damaged``, and its rows are
        missing again."""
        if not self.folder.is_dir():
            return
        for index in sorted(self.folder.glob("*.json")):
            if index.name == "key.json" or index.name in self._read:
                continue
            rows = self._map(index)
            if rows is not None:
                self._read.add(index.name)

    def missing(self, rows: Iterable[Row]) -> list[Row]:
        """Those of ``rows`` that the store lacks, each once, in order."""
        return [row for row in dict.fromkeys(rows) if row not in self._places]

    def add(self, rows: Sequence[Row], values: np.ndarray) -> None:
        """Write a shard of ``values`` (len(rows), ...) float32.

        Raises:
            CitycamError: the disk is full, or the cache cannot be written.
        """
        if len(rows) != len(values):
            raise ValueError(f"{len(rows)} rows for {len(values)} values")
        if not (self.folder / "key.json").exists():
            write_json(self.folder / "key.json", self.key)
        content = save({"rows": np.ascontiguousarray(values, dtype=np.float32)})
        digest = hashlib.sha256(content).hexdigest()
        write_bytes(self.folder / f"{digest[:32]}.safetensors", content)
        index = self.folder / f"{digest[:32]}.json"
        write_json(index, {"sha256": digest, "rows": [list(row) for row in rows]})
        self.refresh()

    def places(self, rows: Sequence[Row]) -> np.ndarray:
        """Where rows lie: int32 (len(rows), 2) of shard and row in it, for `read`.

        Raises:
            CitycamError: a row is missing.
        """
        try:
            return np.array([self._places[row] for row in rows], dtype=np.int32).reshape(-1, 2)
        except KeyError as error:
            raise CitycamError(
                f"The feature bank {self.folder} lacks a view that this run needs; the same command again makes it.",
                exit_code=1,
            ) from error

    def read(self, places: np.ndarray) -> np.ndarray:
        """Values at ``places`` (B, 2): float32 (B, ...), copied out of the maps."""
        first = self._shards[places[0, 0]]
        values = np.empty((len(places), *first.shape[1:]), dtype=np.float32)
        for shard in np.unique(places[:, 0]):
            chosen = places[:, 0] == shard
            values[chosen] = self._shards[shard][places[chosen, 1]]
        return values

    def _map(self, index: Path) -> list[Row] | None:
        try:
            content = json.loads(index.read_text())
            rows = [(str(digest), int(number)) for digest, number in content["rows"]]
            shard = index.with_suffix(".safetensors")
            if sha256(shard) != content["sha256"]:
                raise ValueError("checksum")
            values = _map_safetensors(shard)
        except (OSError, ValueError, KeyError, TypeError):
            self.damaged.append(index.name)
            index.unlink(missing_ok=True)
            index.with_suffix(".safetensors").unlink(missing_ok=True)
            return None
        number = len(self._shards)
        self._shards.append(values)
        self._places.update({row: (number, place) for place, row in enumerate(rows)})
        return rows


def _map_safetensors(path: Path) -> np.ndarray:
    """The one float32 tensor ``rows`` of a safetensors file, mapped (safetensors itself reads whole slices only)."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))["rows"]
    start = 8 + length + header["data_offsets"][0]
    return np.memmap(path, dtype=np.float32, mode="r", offset=start, shape=tuple(header["shape"]))
