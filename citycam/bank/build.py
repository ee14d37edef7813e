"""Filling a store: pictures are decoded once for all their views, by threads, while the backbone works."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from citycam.bank.store import SHARD_BYTES, FeatureStore, Row
from citycam.data.pictures import decode
from citycam.data.views import ViewSpec, render
from citycam.files import lock

# One picture's inputs for the backbone: (n, ...) for its n missing rows.
Inputs = Callable[[np.ndarray, str, Sequence[int]], np.ndarray]
Advance = Callable[[int], None]


def fill(
    store: FeatureStore,
    rows: Sequence[Row],
    paths: Mapping[str, Path],
    *,
    inputs: Inputs,
    extract: Callable[[np.ndarray], np.ndarray],
    batch: int,
    threads: int,
    advance: Advance,
) -> int:
    """Make the rows that the store lacks, and say how many those were.

    Args:
        rows: all rows that are needed.
        paths: a file for each picture digest among them.
        inputs: a decoded picture, its digest and view numbers to the backbone's inputs.
        extract: inputs (B, ...) to values (B, ...).
        batch: rows a pass.
        threads: decoding threads.
        advance: told how many rows are done since the last call, present ones included.
    """
    store.refresh()
    with lock(store.lock_path):
        store.refresh()
        missing = store.missing(rows)
        advance(len(rows) - len(missing))
        values: list[np.ndarray] = []
        made: list[Row] = []
        for chunk_rows, chunk in compute(missing, paths, inputs=inputs, extract=extract, batch=batch, threads=threads):
            values.append(chunk)
            made.extend(chunk_rows)
            advance(len(chunk_rows))
            if sum(part.nbytes for part in values) + values[-1].nbytes > SHARD_BYTES:
                store.add(made, np.concatenate(values))
                values, made = [], []
        if made:
            store.add(made, np.concatenate(values))
    return len(missing)


def compute(
    rows: Sequence[Row],
    paths: Mapping[str, Path],
    *,
    inputs: Inputs,
    extract: Callable[[np.ndarray], np.ndarray],
    batch: int,
    threads: int,
) -> Iterator[tuple[list[Row], np.ndarray]]:
    """Values of rows without keeping them, batch by batch; rows come grouped by picture. Arguments as of `fill`."""
    for chunk_rows, chunk in _batches(_inputs(rows, paths, inputs, threads), batch):
        yield chunk_rows, extract(chunk)


def view_inputs(spec: ViewSpec) -> Inputs:
    """Rendered views, uint8 (n, S, S, 3)."""

    def make(picture: np.ndarray, digest: str, numbers: Sequence[int]) -> np.ndarray:
        return np.stack([render(picture, spec, number, digest) for number in numbers])

    return make


def _inputs(
    rows: Sequence[Row], paths: Mapping[str, Path], inputs: Inputs, threads: int
) -> Iterator[tuple[list[Row], np.ndarray]]:
    """Inputs picture by picture, a bounded number of pictures ahead of the backbone."""
    numbers: dict[str, list[int]] = {}
    for digest, number in rows:
        numbers.setdefault(digest, []).append(number)

    def make(digest: str) -> tuple[list[Row], np.ndarray]:
        wanted = numbers[digest]
        return [(digest, number) for number in wanted], inputs(decode(paths[digest]), digest, wanted)

    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        ahead: deque[Future[tuple[list[Row], np.ndarray]]] = deque()
        for digest in numbers:
            ahead.append(pool.submit(make, digest))
            if len(ahead) > 16 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _batches(pictures: Iterator[tuple[list[Row], np.ndarray]], batch: int) -> Iterator[tuple[list[Row], np.ndarray]]:
    """Regroup picture by picture into batches of exactly ``batch`` rows, the last one shorter."""
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
