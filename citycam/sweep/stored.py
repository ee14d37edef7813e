"""What a run's folder holds beside run.json, read back: one reader for each file, which refuses what does not fit."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.errors import DamagedFile
from citycam.files import read_file, reason_of
from citycam.sweep.numbers import is_number
from citycam.words import is_text

CONFIG, METRICS, PREDICTIONS, SPLIT, THUMBS, NEAREST, SCORES = (
    "config.yaml", "metrics.csv", "predictions.csv", "split.csv", "thumbs/index.csv", "explain/nearest.csv",
    "explain/scores.csv",
)  # fmt: skip
NEAREST_COLUMNS = ("digest", "nearest_digest", "nearest", "city", "likeness")
PARTS = ("train", "val", "test", "gap")
# Sizes that no file of ours reaches.
_MOST_YAML, _MOST_TABLE = 2**20, 2**30
_DIGEST = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", flags=re.ASCII | re.IGNORECASE)
_DEEPEST = 20
# Of YAML: the characters of a line, and its indentation and marks of nesting.
_LONGEST, _WIDEST, _MOST_BRACKETS = 2**14, 100, 1000
_NESTING = re.compile(r"[\[{]|[-?:]\s")

Columns = Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class Answers:
    """Rows of predictions.csv (N,): names of the pictures, their true classes, what was predicted, and the probability
    of that as it is written; empty where the table has none."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    shares: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SplitRow:
    """A row of split.csv. ``part``: one of `PARTS`."""

    path: str
    digest: str
    city: str
    group: str | None
    part: str


@dataclass(frozen=True, slots=True)
class MapScores:
    """A row of scores.csv: the scores of a method's map of a picture by name, None where there is none."""

    picture: str
    digest: str
    method: str
    scores: Mapping[str, float | None]


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a run's config.yaml, as plain values.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is damaged.
    """
    import yaml

    path = folder / CONFIG
    # The C parser is ten times as fast, and not everywhere.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = _text(path, _MOST_YAML)
    if _nests_deeply(text):
        raise DamagedFile(path, "it was not written by citycam")
    try:
        settings = yaml.load(text, loader)
    except Exception as error:  # values that only look like dates, numbers or bytes raise almost anything
        raise DamagedFile(path, reason_of(error)) from error
    # Without aliases, which could make a short text stand for billions of values, each value has its own characters.
    if not isinstance(settings, dict) or not _is_plain(settings, [len(text)]):
        raise DamagedFile(path, "it holds no settings")
    return settings


def read_metrics(folder: Path) -> Columns:
    """Return the columns of a run's metrics.csv, ``epoch`` among them; an empty cell, and a loss that was not finite,
    is None.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is damaged.
    """
    path = folder / METRICS
    header, rows = _table(path, "epoch")
    columns = {name: tuple(_cell(path, name, row[place]) for row in rows) for place, name in enumerate(header)}
    epochs = [epoch for epoch in columns["epoch"] if epoch is not None]
    if len(epochs) < len(rows) or any(later <= earlier for earlier, later in itertools.pairwise(epochs)):
        raise DamagedFile(path, "its epochs do not follow each other")
    return columns


def read_answers(path: Path) -> Answers:
    """Return the rows of a predictions.csv.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is damaged.
    """
    header, rows = _table(path, "path", "label", "predicted")
    if not rows:
        raise DamagedFile(path, "it holds no rows")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    classes = {name.removeprefix("p_") for name in header if name.startswith("p_")}
    if classes and not classes >= {*columns["label"], *columns["predicted"]}:
        raise DamagedFile(path, "it names classes that it has no probabilities of")
    if len(set(columns["path"])) < len(rows):
        raise DamagedFile(path, "it names a picture twice")
    none = ("",) * len(rows)
    shares = tuple(columns.get(f"p_{name}", none)[place] for place, name in enumerate(columns["predicted"]))
    return Answers(columns["path"], columns["label"], columns["predicted"], shares)


def read_split(folder: Path) -> tuple[SplitRow, ...]:
    """Return the rows of a run's split.csv.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is damaged.
    """
    path = folder / SPLIT
    header, cells = _table(path, "path", "digest", "city", "group", "part")
    places = [header.index(name) for name in ("path", "digest", "city", "group", "part")]
    rows: list[SplitRow] = []
    for cell in cells:
        name, digest, city, group, part = (cell[place] for place in places)
        if not name or not city or not _DIGEST.fullmatch(digest) or part not in PARTS:
            raise DamagedFile(path, f"row {len(rows) + 1} is no picture of a split")
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise DamagedFile(path, f"row {len(rows) + 1} names a picture outside the data")
        rows.append(SplitRow(name, digest, city, group or None, part))
    if not rows or len({row.path for row in rows}) < len(rows):
        raise DamagedFile(path, "it names a picture twice" if rows else "it holds no rows")
    return tuple(rows)


def read_thumbs(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a run's thumbs/index.csv.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is damaged.
    """
    columns = ("digest", "picture", "kind", "class", "own_probability")
    header, rows = _table(folder / THUMBS, *columns)
    return [dict(zip(header, row, strict=True)) for row in rows]


def read_nearest(folder: Path) -> dict[str, list[tuple[str, str, float]]]:
    """Return the training pictures that are most like each explained one, by its digest: digest, city and likeness (-1
    to 1) of each, the most alike first.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is damaged.
    """
    path = folder / NEAREST
    header, rows = _table(path, *NEAREST_COLUMNS)
    places = [header.index(name) for name in ("digest", "nearest_digest", "city", "likeness")]
    nearest: dict[str, list[tuple[str, str, float]]] = {}
    for row in rows:
        digest, other, city, likeness = (row[place] for place in places)
        if not _DIGEST.fullmatch(digest) or not _DIGEST.fullmatch(other) or not _NUMBER.fullmatch(likeness):
            raise DamagedFile(path, "a row names no picture, or no likeness")
        nearest.setdefault(digest, []).append((other, city, max(-1.0, min(1.0, float(likeness)))))
    return nearest


def read_map_scores(folder: Path) -> tuple[MapScores, ...]:
    """Return the rows of a run's explain/scores.csv.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is damaged.
    """
    path, known = folder / SCORES, ("picture", "digest", "method")
    header, cells = _table(path, *known)
    places = [header.index(name) for name in known]
    names = [name for name in header if name not in known]
    rows: list[MapScores] = []
    for cell in cells:
        picture, digest, method = (cell[place] for place in places)
        if not picture or not method or not _DIGEST.fullmatch(digest):
            raise DamagedFile(path, f"row {len(rows) + 1} is no map of a picture")
        scores = {name: _score(path, cell[header.index(name)]) for name in names}
        rows.append(MapScores(picture, digest, method, scores))
    if not rows:
        raise DamagedFile(path, "it holds no rows")
    return tuple(rows)


def _score(path: Path, cell: str) -> float | None:
    if not cell:
        return None
    if not _NUMBER.fullmatch(cell) or not math.isfinite(float(cell)):
        raise DamagedFile(path, f"{cell[:40]!r} is no score")
    return float(cell)


def _text(path: Path, most: int) -> str:
    try:
        return read_file(path, most).decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(str(path)) from error
    except (OSError, ValueError) as error:
        raise DamagedFile(path, reason_of(error)) from error


def _table(path: Path, *columns: str) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table that has ``columns``, each row as long as the header."""
    try:
        header, *rows = csv.reader(io.StringIO(_text(path, _MOST_TABLE), newline=""), strict=True)
    except (ValueError, csv.Error) as error:
        raise DamagedFile(path, f"it is no table ({reason_of(error)})") from error
    lacking = sorted(set(columns) - set(header))
    if lacking:
        raise DamagedFile(path, f"it lacks the column {lacking[0]}")
    if len(set(header)) < len(header) or {len(row) for row in rows} - {len(header)}:
        raise DamagedFile(path, "its rows have other columns than its header")
    return header, rows


def _cell(path: Path, name: str, cell: str) -> float | None:
    if not cell or (name.endswith("loss") and cell in ("nan", "inf")):  # as Python writes them
        return None
    value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    if not is_number(name, value):
        raise DamagedFile(path, f"{cell[:40]!r} is no {name}")
    return value


def _nests_deeply(text: str) -> bool:
    """Return whether YAML may nest deeper than the stack of the C parser, which then ends the process."""
    if sum(map(text.count, "[{")) > _MOST_BRACKETS:
        return True
    lines = text.splitlines()
    indented = any(len(line) - len(line.lstrip()) > _WIDEST for line in lines)
    return indented or any(len(line) > _LONGEST or len(_NESTING.findall(line)) > _WIDEST for line in lines)


def _is_plain(value: Any, left: list[int], depth: int = 0) -> bool:
    """Return whether a value is made of named values, lists, text, finite numbers and truth values, and of no more
    than are ``left``."""
    left[0] -= 1
    if depth > _DEEPEST or left[0] < 0:
        return False
    if isinstance(value, dict):
        return all(is_text(key) and _is_plain(its, left, depth + 1) for key, its in value.items())
    if isinstance(value, list):
        return all(_is_plain(item, left, depth + 1) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int) or is_text(value)
