"""Which runs may be compared, and which of their differences are larger than their noise.

Runs of equal data, classes and split stand in one `Comparable`; those that differ only in ``seed`` are one `Entry` of
it. Entries are sorted by validation accuracy; each is held against the best by a paired test over the same pictures.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citycam.statistics import LEVEL, holm, seeds_interval, sign_flip, welch
from citycam.sweep.runs import RunRow, differing

BEST, SAME, BELOW, UNTESTED = "best", "≈ best", "below", "untested"


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a comparison: a run, or runs that differ only in their seed.

    Attributes:
        number: from 1, over all comparables.
        rows: one, or one of each seed.
        rank: `BEST`; `SAME`, which cannot be told from it; `BELOW`; `UNTESTED`, where pictures or answers are not the
            same or are missing; empty where nothing is ranked.
        p: of the paired test against the best, after Holm.
    """

    number: int
    rows: tuple[RunRow, ...]
    rank: str = ""
    p: float | None = None

    @property
    def status(self) -> str:
        """That of its runs, or the first that is not completed."""
        return next((row.status for row in self.rows if row.status != "completed"), "completed")

    @property
    def counted(self) -> tuple[RunRow, ...]:
        """The rows whose numbers count: those completed, or all that have numbers where none is."""
        known = [row for row in self.rows if "val_accuracy" in row.final]
        return tuple([row for row in known if row.status == "completed"] or known)

    @property
    def completed(self) -> bool:
        """Whether it has a completed run, and so can be ranked."""
        return any(row.status == "completed" for row in self.counted)

    def mean(self, key: str) -> float | None:
        """Mean over the counted rows of a number of ``final``; None where it is missing."""
        values = [row.final[key] for row in self.counted if key in row.final]
        return math.fsum(values) / len(values) if values else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the validation accuracy; see `interval_of`."""
        return self.interval_of("val")

    def interval_of(self, part: str) -> tuple[float, float] | None:
        """The interval of the accuracy on a part: over seeds where there are two or more, else the run's own."""
        rows = [row for row in self.counted if f"{part}_accuracy" in row.final]
        if len(rows) > 1:
            return seeds_interval([row.final[f"{part}_accuracy"] for row in rows])
        own = rows[0].final.get(f"{part}_accuracy_interval") if rows else None
        return None if own is None else (own[0], own[1])


@dataclass(frozen=True, slots=True)
class Comparable:
    """Entries of equal data, classes and split, best first, those without numbers last.

    Attributes:
        title: what they share, in words.
        ranked: entries that have a rank.
        over: what the paired tests are over, in words; empty where nothing was tested.
    """

    title: str
    entries: tuple[Entry, ...]
    over: str = ""

    @property
    def rows(self) -> list[RunRow]:
        """All runs."""
        return [row for entry in self.entries for row in entry.rows]

    @property
    def tested(self) -> bool:
        """Whether any of its runs kept a test part."""
        return any("test_accuracy" in row.final for row in self.rows)

    @property
    def ranked(self) -> tuple[Entry, ...]:
        """Entries that have a rank."""
        return tuple(entry for entry in self.entries if entry.rank)

    @property
    def settings(self) -> list[str]:
        """Settings that differ between its entries: ``seed`` where each entry has one seed, and first ``sweep`` where
        they come from several sweeps."""
        keys = differing(self.rows)
        if any(len(entry.rows) > 1 for entry in self.entries):
            keys = [key for key in keys if key != "seed"]
        return ["sweep"] * (len({row.sweep for row in self.rows}) > 1) + keys

    def values(self, entry: Entry) -> list[str]:
        """The entry's values of `settings`."""
        told = [{**row.overrides, "sweep": row.sweep} for row in entry.rows]
        return [", ".join(dict.fromkeys(one.get(key, "") for one in told)) for key in self.settings]

    def words(self, entry: Entry) -> str:
        """The entry's `values` on one line, numbers behind their setting's name; and how many seeds it has."""
        pairs = zip(self.settings, self.values(entry), strict=True)
        words = [f"{key} {value}" if value[:1].isdigit() else value for key, value in pairs if value]
        return " · ".join([*words, *[f"{len(entry.rows)} seeds"] * (len(entry.rows) > 1)])


def arrange(rows: Sequence[RunRow]) -> list[Comparable]:
    """Group, sort, test and number runs. Reads their predictions.csv and, where pictures come in groups, one split.csv
    of each comparable."""
    kinds: dict[str, list[RunRow]] = {}
    for row in rows:
        kinds.setdefault(_kind(row), []).append(row)
    titles = _titles([its[0] for its in kinds.values()])
    made, number = [], 0
    # Runs that never came as far as their data stand last.
    for kind in sorted(kinds, key=lambda kind: kind == ""):
        entries = []
        for some in sorted(_by_seed(kinds[kind]), key=_by_accuracy):
            number += 1
            entries.append(Entry(number, some))
        over = ""
        if kind:
            entries, over = _rank(entries)
        made.append(Comparable(titles[kind], tuple(entries), over))
    return made


def _kind(row: RunRow) -> str:
    """What must be equal for accuracies to be compared; empty where it is not known."""
    data, split, classes = row.record.data, row.record.split, row.record.classes
    if not data.digest or not classes:
        return ""
    settings = {key: value for key, value in row.overrides.items() if key.startswith("split.")}
    return json.dumps([data.digest, classes, split.kind, settings, data.counts], sort_keys=True)


def _titles(firsts: Sequence[RunRow]) -> dict[str, str]:
    """What sets each kind apart, by kind, of one row of each."""
    facts = {_kind(row): _facts(row) for row in firsts if _kind(row)}
    columns = list(zip(*facts.values(), strict=True))
    # Which classes they are is always said, by their number; of the rest what differs, and names only where they must.
    shown = [0, *(place for place in (1, 2, 3) if columns and len(set(columns[place])) > 1)]
    if len({tuple(its[place] for place in shown) for its in facts.values()}) < len(facts):
        shown.append(4)
    titles = {kind: " · ".join(filter(None, (its[place] for place in shown))) for kind, its in facts.items()}
    return {"": "not as far as their data, or of data that they do not name: not ranked"} | titles


def _facts(row: RunRow) -> tuple[str, str, str, str, str]:
    names = row.record.classes
    rest = len(names) == 2 and names[0] == "rest"
    classes = f"{names[1]} against the rest" if rest else f"{len(names)} classes" if names else ""
    data = f"{row.record.data.kind or 'data'} {row.record.data.digest[:8]}"
    own = " ".join(f"{key}={value}" for key, value in row.overrides.items() if key.startswith("split."))
    return classes, data, f"split {row.record.split.kind}", own, ", ".join(names)


def _by_seed(rows: Sequence[RunRow]) -> list[tuple[RunRow, ...]]:
    """Runs that differ only in their seed together. The same run once more, from another sweep, stands apart: it is no
    new seed."""
    entries: dict[tuple[Any, ...], list[RunRow]] = {}
    for row in rows:
        settings = tuple(sorted((key, value) for key, value in row.settings.items() if key != "seed"))
        digest = row.record.backbone.weights.digest
        copy = 0
        while any(other.record.seed == row.record.seed for other in entries.get((settings, digest, copy), ())):
            copy += 1
        entries.setdefault((settings, digest, copy), []).append(row)
    return [tuple(some) for some in entries.values()]


def _by_accuracy(rows: tuple[RunRow, ...]) -> tuple[bool, float]:
    entry = Entry(0, rows)
    return not entry.completed, -(entry.mean("val_accuracy") or 0.0)


def _rank(entries: list[Entry]) -> tuple[list[Entry], str]:
    """Hold every completed entry against the best one."""
    able = [entry for entry in entries if entry.completed]
    if len(able) < 2:
        return entries, ""
    best = _Answers.of(able[0])
    groups = None if best is None else _groups(able[0].rows[0].folder, best.pictures)
    p_values = [_p_value(best, _Answers.of(entry), groups) for entry in able[1:]]
    known = [p for p in p_values if p is not None]
    adjusted = iter(holm(known))
    ranked = [replace(able[0], rank=BEST)]
    for entry, p in zip(able[1:], p_values, strict=True):
        fair = None if p is None else next(adjusted)
        word = UNTESTED if fair is None else SAME if fair >= 1 - LEVEL else BELOW
        ranked.append(replace(entry, rank=word, p=fair))
    over = ""
    if best is not None and known:
        over = f"the same {len(best.pictures)} validation pictures"
        over += "" if groups is None else f" in {len(set(groups))} groups"
    return [*ranked, *entries[len(able) :]], over


@dataclass(frozen=True, slots=True)
class _Answers:
    """What an entry answered: pictures with their classes, right answers (N,) summed over seeds, accuracy per seed."""

    pictures: tuple[str, ...]
    right: NDArray[np.int64]
    accuracies: tuple[float, ...]

    @classmethod
    def of(cls, entry: Entry) -> _Answers | None:
        """Read the entry's predictions.csv; None where one is missing, damaged, or of other pictures."""
        found = [_read_answers(row.folder / "predictions.csv") for row in entry.counted if row.status == "completed"]
        known = [one for one in found if one is not None]
        if len(known) < len(found) or len({one[0] for one in known}) != 1:
            return None
        right = np.stack([one[1] for one in known])
        return cls(known[0][0], right.sum(axis=0), tuple(right.mean(axis=1).tolist()))


def _read_answers(path: Path) -> tuple[tuple[str, ...], NDArray[np.int64]] | None:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.reader(file)
            header = next(table)
            name, label, answer = (header.index(title) for title in ("path", "label", "predicted"))
            rows = [(f"{row[name]}\0{row[label]}", row[label] == row[answer]) for row in table]
    except (OSError, ValueError, StopIteration, IndexError, csv.Error):
        return None
    if not rows:
        return None
    pictures, right = zip(*rows, strict=True)
    return pictures, np.array(right, dtype=np.int64)


def _groups(folder: Path, pictures: Sequence[str]) -> list[str] | None:
    """The group of each picture as split.csv tells it; None where not every picture has one."""
    try:
        with (folder / "split.csv").open(newline="", encoding="utf-8") as file:
            known = {row["path"]: f"{row['city']}\0{row['group']}" for row in csv.DictReader(file) if row["group"]}
    except (OSError, KeyError, csv.Error, UnicodeDecodeError):
        return None
    found = [known.get(picture.partition("\0")[0]) for picture in pictures]
    groups = [group for group in found if group is not None]
    return groups if len(groups) == len(found) else None


def _p_value(best: _Answers | None, other: _Answers | None, groups: Sequence[str] | None) -> float | None:
    if best is None or other is None or best.pictures != other.pictures:
        return None
    # Whole numbers whatever the numbers of seeds.
    differences = best.right * len(other.accuracies) - other.right * len(best.accuracies)
    p = sign_flip(differences, groups)
    if len(best.accuracies) > 1 and len(other.accuracies) > 1:
        # Other pictures and other seeds both move an accuracy; only what stands out against both is a difference.
        p = max(p, welch(best.accuracies, other.accuracies))
    return p
