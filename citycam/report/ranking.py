"""Which runs may be compared, and which of their differences are significant.

Runs with equal data, classes and split are in one `Comparable`. Those that differ only in ``seed`` are one `Entry` of
it. Entries are sorted by what the loss is after: balanced accuracy if a run weights its classes, else accuracy. A test
over the same pictures compares each with the best.
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
from citycam.report.significance import against_best, holm, welch
from citycam.statistics import FEW_GROUPS, LEVEL, effective_groups, seeds_interval
from citycam.sweep.runs import RunRow, differing
from citycam.sweep.stored import PREDICTIONS, SplitRow, read_answers, read_split

BEST, SAME, BELOW, UNTESTED, FEW = "best", "≈ best", "below", "untested", "too few walks to tell"
ACCURACY, BALANCED = "accuracy", "balanced_accuracy"
# Such an accuracy shows nothing, also where it is the best of its table.
NOTHING_SHOWN = ("balanced_accuracy_reaches_chance", "accuracy_not_above_majority")


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a comparison: a run, or runs that differ only in their seed.

    Attributes:
        number: from 1, over all comparables.
        rows: one run, or one of each seed.
        rank: `BEST`; `SAME`, not significantly different from the best; `BELOW`; `UNTESTED`, since predictions.csv is
            missing or has other pictures; `FEW`, where no difference can be significant over so few walks; empty where
            nothing is ranked.
        p: p-value of the test against the best, corrected for all tests of the table.
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

    def interval_of(self, measure: str) -> tuple[float, float] | None:
        """Return the 95 % interval of a measure as ``val_accuracy``: the run's own, or of several seeds both over seeds
        and over pictures (see `citycam.statistics.seeds_interval`); None where a run lacks its own."""
        rows = [row for row in self.counted if measure in row.final]
        own = [row.final.get(f"{measure}_interval") for row in rows]
        known = [(interval[0], interval[1]) for interval in own if interval is not None]
        if not known or len(known) < len(rows):
            return None
        return known[0] if len(rows) == 1 else seeds_interval([row.final[measure] for row in rows], known)

    @property
    def shows_nothing(self) -> tuple[str, ...]:
        """Sentences of the marks that leave its accuracy without a meaning, each code once."""
        marks = [mark for row in self.counted for mark in row.marks if mark.code in NOTHING_SHOWN]
        return tuple({mark.code: mark.sentence for mark in reversed(marks)}.values())


@dataclass(frozen=True, slots=True)
class Comparable:
    """Entries with equal data, classes and split: the best first, those without numbers last.

    Attributes:
        title: what they share, in words.
        over: what the tests are over, in words; empty where nothing was tested.
        measure: `ACCURACY` or `BALANCED`, by which entries are sorted and tested.
    """

    title: str
    entries: tuple[Entry, ...]
    over: str = ""
    measure: str = ACCURACY

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
        measure = _measure(by_key[key])
        entries = []
        for seeds in sorted(_group_seeds(by_key[key]), key=lambda rows: _order(rows, measure)):
            number += 1
            entries.append(Entry(number, seeds))
        over = ""
        if key:
            entries, over = _rank(entries, measure)
        comparables.append(Comparable(titles[key], tuple(entries), over, measure))
    return comparables


def _measure(rows: Sequence[RunRow]) -> str:
    """Return what comparable runs are ranked by: balanced accuracy if the loss of any of them weights its classes."""
    weighted = any(mark.code == "ece_with_class_weights" for row in rows for mark in row.record.warnings)
    known = all(f"val_{BALANCED}" in row.final for row in rows if "val_accuracy" in row.final)
    return BALANCED if weighted and known else ACCURACY


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


def _order(rows: tuple[RunRow, ...], measure: str) -> tuple[bool, float, float]:
    """Return a key that sorts by a measure, completed entries first; ties by the accuracy."""
    entry = Entry(0, rows)
    # Some measures are stored in single precision, so that equal ones differ.
    return not entry.completed, -round(entry.mean(f"val_{measure}") or 0.0, 6), -(entry.mean("val_accuracy") or 0.0)


def _rank(entries: list[Entry], measure: str) -> tuple[list[Entry], str]:
    """Test every completed entry against the best one; return the entries with ranks, and what the tests are over."""
    completed = [entry for entry in entries if entry.completed]
    if len(completed) < 2:
        return entries, ""
    ranks, p_values, over = [UNTESTED] * len(completed), dict[int, float](), ""
    best = _Predictions.of(completed[0])
    # All of them have the same split; without any split.csv it is not known what the tests are to be over.
    split = next((rows for entry in completed for row in entry.rows if (rows := _read_split(row.folder))), None)
    if best is not None and split is not None and len(answers := _answers(best.pictures, completed)) > 1:
        groups = _groups(split, best.pictures)
        # Accuracy knows no classes.
        labels = [picture.partition("\0")[2] if measure == BALANCED else "" for picture in best.pictures]
        p_values = dict(zip(answers, _p_values(list(answers.values()), _weights(labels), groups), strict=True))
        few = groups is not None and effective_groups(labels, groups) < FEW_GROUPS
        for index, p in p_values.items():
            ranks[index] = FEW if few else SAME if p >= 1 - LEVEL else BELOW
        over = f"the same {len(best.pictures)} validation pictures"
        over += "" if groups is None else f" in {len(set(groups))} groups"
    ranks[0] = BEST
    ranked = [
        replace(entry, rank=rank, p=p_values.get(index) if index else None)
        for index, (entry, rank) in enumerate(zip(completed, ranks, strict=True))
    ]
    return [*ranked, *entries[len(completed) :]], over


def _answers(pictures: tuple[str, ...], entries: Sequence[Entry]) -> dict[int, NDArray[np.bool_]]:
    """Return whether predictions are correct (S, N), by index, of the entries that predicted these pictures."""
    answers = {}
    for index, entry in enumerate(entries):
        its = _Predictions.of(entry)
        if its is not None and its.pictures == pictures:
            answers[index] = its.correct  # without its names: of a thousand runs they would fill the memory
    return answers


def _weights(labels: Sequence[str]) -> NDArray[np.float64]:
    """Return what a correct prediction of each picture adds to the mean over classes (N,)."""
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(counts) * counts[classes]), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Predictions:
    """What the runs of an entry predicted.

    Attributes:
        pictures: names with true classes (N,).
        correct: whether each prediction is correct (S, N), a row per seed.
    """

    pictures: tuple[str, ...]
    correct: NDArray[np.bool_]

    @classmethod
    def of(cls, entry: Entry) -> _Predictions | None:
        """Read the predictions.csv of each run; None if one is missing or damaged, or if their pictures differ."""
        tables = [_read_predictions(row) for row in entry.counted if row.status == "completed"]
        readable = [table for table in tables if table is not None]
        if len(readable) < len(tables) or len({pictures for pictures, _ in readable}) != 1:
            return None
        return cls(readable[0][0], np.stack([correct for _, correct in readable]))


def _read_predictions(row: RunRow) -> tuple[tuple[str, ...], NDArray[np.bool_]] | None:
    """Return the pictures of a run's predictions.csv with their classes, and whether each prediction is correct; None
    where the file is missing or damaged, or has another accuracy than the run."""
    try:
        answers = read_answers(row.folder / PREDICTIONS)
    except (FileNotFoundError, DamagedFile):
        return None
    pictures = tuple(f"{path}\0{label}" for path, label in zip(answers.paths, answers.labels, strict=True))
    correct = np.array([a == b for a, b in zip(answers.labels, answers.predicted, strict=True)], dtype=np.bool_)
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


def _p_values(
    answers: Sequence[NDArray[np.bool_]], weights: NDArray[np.float64], groups: Sequence[str] | None
) -> list[float]:
    """Return a p-value for each entry against the first one, the best.

    Args:
        answers: whether predictions are correct, for each entry (S, N).
        weights: what a correct one adds to the measure (N,).
        groups: of each picture, or None.
    """
    p_values: list[float] = against_best(np.stack([its.mean(axis=0) * weights for its in answers]), groups).tolist()
    # Pictures and seeds both change an accuracy, so a difference must be significant over both.
    means = [(its @ weights).tolist() for its in answers]
    seeded = [index for index in range(1, len(means)) if len(means[0]) > 1 and len(means[index]) > 1]
    for index, p in zip(seeded, holm([welch(means[0], means[index]) for index in seeded]), strict=True):
        p_values[index] = max(p_values[index], p)
    return p_values
