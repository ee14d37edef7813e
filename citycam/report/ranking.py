"""Which runs may be compared, and which of their differences are significant.

Runs with equal data, classes and split are in one `Comparable`. Those that differ only in ``seed`` are one `Entry` of
it. Entries are sorted by validation accuracy. A paired test over the same pictures compares each with the best.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citycam.errors import DamagedFile
from citycam.statistics import LEVEL, holm, seeds_interval, sign_flip, welch
from citycam.sweep.runs import RunRow, differing
from citycam.sweep.stored import PREDICTIONS, SplitRow, read_answers, read_split

BEST, SAME, BELOW, UNTESTED = "best", "≈ best", "below", "untested"


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a comparison: a run, or runs that differ only in their seed.

    Attributes:
        number: from 1, over all comparables.
        rows: one run, or one of each seed.
        rank: `BEST`; `SAME`, not significantly different from the best; `BELOW`; `UNTESTED`, since predictions.csv is
            missing or has other pictures; empty where nothing is ranked.
        p: p-value of the paired test against the best, adjusted by Holm's method.
    """

    number: int
    rows: tuple[RunRow, ...]
    rank: str = ""
    p: float | None = None

    @property
    def status(self) -> str:
        """``completed``, or the status of the first run that is not completed."""
        return next((row.status for row in self.rows if row.status != "completed"), "completed")

    @property
    def counted(self) -> tuple[RunRow, ...]:
        """The rows with numbers that count: the completed ones, or all where none is completed."""
        known = [row for row in self.rows if "val_accuracy" in row.final]
        return tuple([row for row in known if row.status == "completed"] or known)

    @property
    def completed(self) -> bool:
        """Whether a run of it is completed, so that it can be ranked."""
        return any(row.status == "completed" for row in self.counted)

    def mean(self, key: str) -> float | None:
        """Return the mean of a number of ``final`` over the counted rows; None where all lack it."""
        values = [row.final[key] for row in self.counted if key in row.final]
        return math.fsum(values) / len(values) if values else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the validation accuracy; see `interval_of`."""
        return self.interval_of("val")

    def interval_of(self, part: str) -> tuple[float, float] | None:
        """Return the 95 % interval of the accuracy on a part: over seeds if there are several, else the run's own."""
        rows = [row for row in self.counted if f"{part}_accuracy" in row.final]
        if len(rows) > 1:
            return seeds_interval([row.final[f"{part}_accuracy"] for row in rows])
        interval = rows[0].final.get(f"{part}_accuracy_interval") if rows else None
        return None if interval is None else (interval[0], interval[1])


@dataclass(frozen=True, slots=True)
class Comparable:
    """Entries with equal data, classes and split: the best first, those without numbers last.

    Attributes:
        title: what they share, in words.
        over: what the paired tests are over, in words; empty where nothing was tested.
    """

    title: str
    entries: tuple[Entry, ...]
    over: str = ""

    @property
    def rows(self) -> list[RunRow]:
        """The runs of all entries."""
        return [row for entry in self.entries for row in entry.rows]

    @property
    def tested(self) -> bool:
        """Whether a run was evaluated on a test part."""
        return any("test_accuracy" in row.final for row in self.rows)

    @property
    def ranked(self) -> tuple[Entry, ...]:
        """Entries that have a rank."""
        return tuple(entry for entry in self.entries if entry.rank)

    @property
    def settings(self) -> list[str]:
        """The settings that differ between entries; ``sweep`` comes first where runs are of several sweeps.

        ``seed`` is among them only if no entry has several runs.
        """
        keys = differing(self.rows)
        if any(len(entry.rows) > 1 for entry in self.entries):
            keys = [key for key in keys if key != "seed"]
        return ["sweep"] * (len({row.sweep for row in self.rows}) > 1) + keys

    def values(self, entry: Entry) -> list[str]:
        """Return the entry's values of `settings`."""
        overrides = [{**row.overrides, "sweep": row.sweep} for row in entry.rows]
        return [", ".join(dict.fromkeys(values.get(key, "") for values in overrides)) for key in self.settings]

    def label(self, entry: Entry) -> str:
        """Return the entry's `values` on one line, numbers after the name of their setting, and the number of seeds."""
        pairs = zip(self.settings, self.values(entry), strict=True)
        parts = [f"{key} {value}" if value[:1].isdigit() else value for key, value in pairs if value]
        return " · ".join([*parts, *[f"{len(entry.rows)} seeds"] * (len(entry.rows) > 1)])


def arrange(rows: Sequence[RunRow]) -> list[Comparable]:
    """Return the runs grouped, sorted, tested and numbered.

    Reads their predictions.csv and, where pictures have groups, one split.csv of each comparable.
    """
    by_key: dict[str, list[RunRow]] = {}
    for row in rows:
        by_key.setdefault(_comparison_key(row), []).append(row)
    titles = _titles([group[0] for group in by_key.values()])
    comparables: list[Comparable] = []
    number = 0
    # Runs that stopped before they read their data come last.
    for key in sorted(by_key, key=lambda key: key == ""):
        entries = []
        for seeds in sorted(_group_seeds(by_key[key]), key=_by_accuracy):
            number += 1
            entries.append(Entry(number, seeds))
        over = ""
        if key:
            entries, over = _rank(entries)
        comparables.append(Comparable(titles[key], tuple(entries), over))
    return comparables


def _comparison_key(row: RunRow) -> str:
    """Return what must be equal for accuracies to be compared; empty where it is not known."""
    data, split, classes = row.record.data, row.record.split, row.record.classes
    if not data.digest or not classes:
        return ""
    settings = {key: value for key, value in row.overrides.items() if key.startswith("split.")}
    return json.dumps([data.digest, classes, split.kind, settings, data.counts], sort_keys=True)


def _titles(firsts: Sequence[RunRow]) -> dict[str, str]:
    """Return a title that distinguishes each comparable, by its key.

    Args:
        firsts: one row of each comparable.
    """
    facts = {_comparison_key(row): _facts(row) for row in firsts if _comparison_key(row)}
    columns = list(zip(*facts.values(), strict=True))
    # A title always has the number of classes. It has the other facts where they differ, and names only if it must.
    shown = [0, *(column for column in (1, 2, 3) if columns and len(set(columns[column])) > 1)]
    if len({tuple(row[column] for column in shown) for row in facts.values()}) < len(facts):
        shown.append(4)
    titles = {key: " · ".join(filter(None, (row[column] for column in shown))) for key, row in facts.items()}
    return {"": "data not known: not ranked"} | titles


def _facts(row: RunRow) -> tuple[str, str, str, str, str]:
    """Return in words: classes, data, kind of split, settings of the split, and names of the classes."""
    names = row.record.classes
    rest = len(names) == 2 and names[0] == "rest"
    classes = f"{names[1]} against the rest" if rest else f"{len(names)} classes" if names else ""
    data = f"{row.record.data.kind or 'data'} {row.record.data.digest[:8]}"
    settings = " ".join(f"{key}={value}" for key, value in row.overrides.items() if key.startswith("split."))
    return classes, data, f"split {row.record.split.kind}", settings, ", ".join(names)


def _group_seeds(rows: Sequence[RunRow]) -> list[tuple[RunRow, ...]]:
    """Return runs that differ only in their seed together.

    A repetition of a run in another sweep has the same seed and so becomes an entry of its own.
    """
    entries: dict[tuple[Any, ...], list[RunRow]] = {}
    for row in rows:
        settings = tuple(sorted((key, value) for key, value in row.settings.items() if key != "seed"))
        digest = row.record.backbone.weights.digest
        repetition = 0
        while any(other.record.seed == row.record.seed for other in entries.get((settings, digest, repetition), ())):
            repetition += 1
        entries.setdefault((settings, digest, repetition), []).append(row)
    return [tuple(seeds) for seeds in entries.values()]


def _by_accuracy(rows: tuple[RunRow, ...]) -> tuple[bool, float]:
    entry = Entry(0, rows)
    return not entry.completed, -(entry.mean("val_accuracy") or 0.0)


def _rank(entries: list[Entry]) -> tuple[list[Entry], str]:
    """Test every completed entry against the best one; return the entries with ranks, and what the tests are over."""
    completed = [entry for entry in entries if entry.completed]
    if len(completed) < 2:
        return entries, ""
    best = _Predictions.of(completed[0])
    groups: list[str] | None = None
    if best is not None:
        # All of them have the same split; without any split.csv it is not known what the tests are to be over.
        splits = (_read_split(row.folder) for entry in completed for row in entry.rows)
        split = next((rows for rows in splits if rows is not None), None)
        groups, best = (None, None) if split is None else (_groups(split, best.pictures), best)
    p_values = [_p_value(best, _Predictions.of(entry), groups) for entry in completed[1:]]
    tested = [p for p in p_values if p is not None]
    adjusted = iter(holm(tested))
    ranked = [replace(completed[0], rank=BEST)]
    for entry, p_value in zip(completed[1:], p_values, strict=True):
        p = None if p_value is None else next(adjusted)
        rank = UNTESTED if p is None else SAME if p >= 1 - LEVEL else BELOW
        ranked.append(replace(entry, rank=rank, p=p))
    over = ""
    if best is not None and tested:
        over = f"the same {len(best.pictures)} validation pictures"
        over += "" if groups is None else f" in {len(set(groups))} groups"
    return [*ranked, *entries[len(completed) :]], over


@dataclass(frozen=True, slots=True)
class _Predictions:
    """What the runs of an entry predicted.

    Attributes:
        pictures: names with true classes (N,).
        correct: correct predictions (N,), summed over seeds.
        accuracies: one per seed.
    """

    pictures: tuple[str, ...]
    correct: NDArray[np.int64]
    accuracies: tuple[float, ...]

    @classmethod
    def of(cls, entry: Entry) -> _Predictions | None:
        """Read the predictions.csv of each run; None if one is missing or damaged, or if their pictures differ."""
        tables = [_read_predictions(row) for row in entry.counted if row.status == "completed"]
        readable = [table for table in tables if table is not None]
        if len(readable) < len(tables) or len({pictures for pictures, _ in readable}) != 1:
            return None
        correct = np.stack([correct for _, correct in readable])
        return cls(readable[0][0], correct.sum(axis=0), tuple(correct.mean(axis=1).tolist()))


def _read_predictions(row: RunRow) -> tuple[tuple[str, ...], NDArray[np.int64]] | None:
    """Return the pictures of a run's predictions.csv with their classes, and whether each prediction is correct; None
    where the file is missing or damaged, or has another accuracy than the run."""
    try:
        answers = read_answers(row.folder / PREDICTIONS)
    except (FileNotFoundError, DamagedFile):
        return None
    pictures = tuple(f"{path}\0{label}" for path, label in zip(answers.paths, answers.labels, strict=True))
    correct = np.array([a == b for a, b in zip(answers.labels, answers.predicted, strict=True)], dtype=np.int64)
    return (pictures, correct) if abs(correct.mean() - row.final["val_accuracy"]) < 1e-6 else None


def _read_split(folder: Path) -> tuple[SplitRow, ...] | None:
    try:
        return read_split(folder)
    except (FileNotFoundError, DamagedFile):
        return None


def _groups(split: Sequence[SplitRow], pictures: Sequence[str]) -> list[str] | None:
    """Return the group of each picture; None unless every picture has one."""
    known = {row.path: f"{row.city}\0{row.group}" for row in split if row.group}
    names = [picture.partition("\0")[0] for picture in pictures]
    return [known[name] for name in names] if known.keys() >= set(names) else None


def _p_value(best: _Predictions | None, other: _Predictions | None, groups: Sequence[str] | None) -> float | None:
    if best is None or other is None or best.pictures != other.pictures:
        return None
    # Multiplied to whole numbers, also where the numbers of seeds differ.
    differences = best.correct * len(other.accuracies) - other.correct * len(best.accuracies)
    p = sign_flip(differences, groups)
    if len(best.accuracies) > 1 and len(other.accuracies) > 1:
        # Pictures and seeds both change an accuracy, so a difference must be significant over both.
        p = max(p, welch(best.accuracies, other.accuracies))
    return p
