"""Runs as their folders show them, whether complete, failed, half-written or damaged."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from citycam.errors import CitycamError, DamagedFile
from citycam.files import read_file
from citycam.statistics import marks
from citycam.sweep.ledger import Ledger
from citycam.sweep.record import NAME, SCHEMA, Metrics, RunRecord, SplitRecord, read_record
from citycam.sweep.stored import Columns, read_metrics, read_settings
from citycam.words import Mark, natural, say

# Settings of where and how to run; they make no other experiment.
_NOT_SETTINGS = ("sweep.", "hydra.", "hydra/")
# Bytes of Hydra's own list of overrides, at most.
_MOST_OVERRIDES = 2**20


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run of a sweep as its folder shows it.

    Attributes:
        status: completed, running, failed, interrupted, unreadable, or missing where only sweep.json names it.
        error: one sentence, where it did not complete.
        overrides: what was asked for, and each setting that another run read with it names, from its config.yaml.
        record: its run.json; without one, the metrics of its last epoch.
        label: its name where runs of several sweeps stand together; empty elsewhere.
        epochs: the columns of its metrics.csv; empty without one.
        damage: warnings about its files that do not fit.
    """

    folder: Path
    status: str
    error: str | None
    overrides: dict[str, str]
    record: RunRecord
    label: str = ""
    epochs: Columns = field(default_factory=dict)
    damage: tuple[Mark, ...] = ()

    @property
    def name(self) -> str:
        """The folder's own name, after that of its sweep where there are several."""
        return self.label or self.folder.name

    @property
    def sweep(self) -> str:
        """The name of its sweep, where there are several."""
        return self.label.rpartition("/")[0]

    @property
    def settings(self) -> dict[str, str]:
        """Overrides that make it another experiment: all but those that name a place."""
        return {key: value for key, value in self.overrides.items() if not key.startswith(_NOT_SETTINGS)}

    @property
    def final(self) -> Metrics:
        """The metrics of its last epoch."""
        return self.record.final

    @property
    def leaky(self) -> str | None:
        """``true``, ``false`` or ``unknown``; None where the run did not get to its split."""
        if self.record.split == SplitRecord():
            return None
        return {True: "true", False: "false", None: "unknown"}[self.record.split.leaky]

    @property
    def warnings(self) -> tuple[Mark, ...]:
        """What it recorded, and what its files themselves make doubtful."""
        return (*_format_marks(self.record), *self.damage, *self.record.warnings)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What its accuracy does not show: the marks of `citycam.statistics` and those of its split."""
        return (*_number_marks(self.final), *_split_marks(self))


@dataclass(frozen=True, slots=True)
class SharedWarning:
    """A sentence, and the names of the runs that it holds for."""

    code: str
    sentence: str
    runs: tuple[str, ...]


def read_runs(sweep_folder: Path) -> list[RunRow]:
    """Return a row per run folder in ``sweep_folder`` (or of the folder itself, if it is a run's), in natural order.

    A run folder holds run.json or Hydra's own record; it may be incomplete. Jobs of sweep.json that never started have
    a row too.
    """
    return _filled(_read_folder(Path(sweep_folder)))


def _read_folder(sweep_folder: Path) -> list[RunRow]:
    if _is_run(sweep_folder):
        return [_read_run(sweep_folder)]
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        rows = [_read_run(folder) for folder in sweep_folder.iterdir() if folder.is_dir() and _is_run(folder)]
        rows += _never_started(sweep_folder, {row.folder.name for row in rows})
        return sorted(rows, key=lambda row: natural(row.folder.name))
    return []


def _never_started(sweep_folder: Path, known: set[str]) -> list[RunRow]:
    """Rows of the jobs of sweep.json that have no run folder."""
    try:
        jobs = Ledger(sweep_folder).jobs
    except DamagedFile as error:
        say(f"note: {error.path} cannot be read ({error.reason}), so jobs that never started are not shown.")
        return []
    return [
        RunRow(
            sweep_folder / name,
            "missing",
            "It never started.",
            _parse_overrides(row["overrides"]),
            RunRecord(status="missing", command=row.get("command")),
        )
        for name, row in jobs.items()
        if name not in known
    ]


def read_all(folders: Sequence[Path]) -> list[RunRow]:
    """Return the runs of several folders, each once: run folders, sweeps, and folders of sweeps.

    If they come from more than one sweep, their names start with the sweep's.

    Raises:
        CitycamError: a folder does not exist, or holds no run.
    """
    runs: dict[Path, RunRow] = {}
    for folder in folders:
        rows = _read_folder(Path(folder)) or _read_sweeps(Path(folder))
        if not rows:
            there = "holds no run" if Path(folder).is_dir() else "is no folder"
            raise CitycamError(f"{folder} {there}; give the folder of a run, of a sweep, or of several sweeps.")
        for row in rows:
            runs.setdefault(row.folder.resolve(), row)
    sweeps = {folder.parent for folder in runs}
    if len(sweeps) < 2:
        return _filled(list(runs.values()))
    common = Path(os.path.commonpath(sweeps))
    return _filled([replace(row, label=folder.relative_to(common).as_posix()) for folder, row in runs.items()])


def _read_sweeps(folder: Path) -> list[RunRow]:
    if not folder.is_dir():
        return []
    sweeps = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: natural(path.name))
    return [row for sweep in sweeps for row in _read_folder(sweep)]


def _filled(rows: list[RunRow]) -> list[RunRow]:
    """Add settings that other rows name to the overrides of each row: a default is no difference."""
    keys = differing(rows)
    return [_fill(row, [key for key in keys if key not in row.overrides]) for row in rows]


def _fill(row: RunRow, keys: Sequence[str]) -> RunRow:
    if not keys:
        return row
    try:
        config = read_settings(row.folder)
    except FileNotFoundError:
        return row
    except DamagedFile as error:
        sentence = f"Its config.yaml cannot be read ({error.reason}), so {', '.join(keys)} of it are not known."
        return replace(row, damage=(*row.damage, Mark("config_damaged", sentence)))
    filled = {key: text for key in keys if (text := _setting(config, key)) is not None}
    return replace(row, overrides=row.overrides | filled)


def _setting(config: dict[str, Any], key: str) -> str | None:
    """Return a setting as an override would write it; of a group, the option's name. None if there is none."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    if isinstance(value, dict):
        value = value.get("kind") or value.get("name")
        return None if value is None else str(value)
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def differing(rows: Sequence[RunRow]) -> list[str]:
    """Return the settings whose values differ between runs, in the order given; none for a single run."""
    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    return [key for key in keys if len({row.overrides.get(key) for row in rows}) > 1]


def warnings_of(rows: Sequence[RunRow]) -> list[SharedWarning]:
    """Return every warning and mark once, with the runs that it holds for, in order of appearance.

    A mark is left out if the run's own warnings have its code, or for the split any code of the split.
    """
    runs: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        codes = {mark.code for mark in row.warnings}
        split_warned = any(code.startswith("split_") for code in codes)
        for mark in dict.fromkeys((*row.warnings, *row.marks)):
            own = mark in row.warnings
            if own or not (mark.code in codes or (split_warned and mark.code.startswith("split_"))):
                runs.setdefault((mark.code, mark.sentence), []).append(row.name)
    return [SharedWarning(code, sentence, tuple(names)) for (code, sentence), names in runs.items()]


def _is_run(folder: Path) -> bool:
    return (folder / NAME).exists() or (folder / ".hydra").is_dir()


def _read_run(folder: Path) -> RunRow:
    epochs, damage = _read_epochs(folder)
    try:
        record = read_record(folder)
    except CitycamError as error:
        return _without_record(folder, "unreadable", str(error).removeprefix(f"{folder}/"), epochs, damage)
    if record is None:
        return _without_record(folder, "interrupted", "The run stopped before it wrote run.json.", epochs, damage)
    gone = record.state != record.status
    reason = f"Its process {record.pid} is gone." if gone and record.error is None else record.error
    damage = (*damage, *_disagreements(record, epochs))
    overrides = _parse_overrides(record.overrides)
    return RunRow(folder, record.state, reason, overrides, record, epochs=epochs, damage=damage)


def _read_epochs(folder: Path) -> tuple[Columns, tuple[Mark, ...]]:
    """Return the columns of a run's metrics.csv, and a warning where it is damaged."""
    try:
        return read_metrics(folder), ()
    except FileNotFoundError:
        return {}, ()
    except DamagedFile as error:
        return {}, (Mark("metrics_damaged", f"Its metrics.csv cannot be read ({error.reason}), so it has no curves."),)


def _disagreements(record: RunRecord, epochs: Columns) -> tuple[Mark, ...]:
    """Warn if a completed run's run.json has other numbers than the last row of its metrics.csv, or other counts."""
    if record.status != "completed":
        return ()
    names = []
    for name, value in record.final.items():
        other = next(reversed(epochs.get(name, ())), None)
        if other is None or not isinstance(value, int | float):
            continue
        if not math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-12):
            names.append(name)
    counts = sum(record.data.counts.get("val", {}).values())
    if counts and record.final.get("n_val") not in (None, counts):
        names.append(f"n_val (it counts {counts})")
    if not names:
        return ()
    sentence = f"Its run.json does not agree with itself or with its metrics.csv in {', '.join(names)}"
    return (Mark("numbers_differ", f"{sentence}, so one of them was changed."),)


def _without_record(folder: Path, status: str, error: str, epochs: Columns, damage: tuple[Mark, ...]) -> RunRow:
    """What the other files of a folder show: its overrides, and the metrics of its last epoch."""
    final = {name: column[-1] for name, column in epochs.items() if column and column[-1] is not None}
    record = RunRecord(status=status, final=final)
    return RunRow(folder, status, error, _hydra_overrides(folder), record, epochs=epochs, damage=damage)


def _format_marks(record: RunRecord) -> list[Mark]:
    """Warnings about run.json itself."""
    marks = []
    if record.schema is None:
        marks.append(Mark("no_schema", "Its run.json has no schema, so another program may have written it."))
    elif record.schema > SCHEMA:
        sentence = (
            f"Its run.json was written by a newer citycam (schema {record.schema}; this one knows {SCHEMA}) and is "
            "shown as far as it can be read; install that version to see all of it."
        )
        marks.append(Mark("newer_schema", sentence))
    if record.misfits:
        sentence = f"Its run.json holds values that do not fit and were left out: {', '.join(record.misfits)}."
        marks.append(Mark("record_repaired", sentence))
    return marks


def _hydra_overrides(folder: Path) -> dict[str, str]:
    # Hydra's file is a YAML list of plain strings; one per line is enough of YAML here.
    with contextlib.suppress(OSError, UnicodeDecodeError):
        lines = read_file(folder / ".hydra" / "overrides.yaml", _MOST_OVERRIDES).decode("utf-8").splitlines()
        return _parse_overrides(line[2:].strip("'\"") for line in lines if line.startswith("- "))
    return {}


def _parse_overrides(overrides: Iterable[str]) -> dict[str, str]:
    pairs = (text.lstrip("+~").partition("=") for text in overrides)
    return {key: value for key, _, value in pairs}


def _number_marks(final: Metrics) -> tuple[Mark, ...]:
    try:
        return marks(
            accuracy=final["val_accuracy"],
            majority_accuracy=final["majority_accuracy"],
            balanced_accuracy=final["val_balanced_accuracy"],
            balanced_accuracy_interval=final["val_balanced_accuracy_interval"],
            chance=final["chance"],
            effective_groups=final.get("effective_groups"),
        )
    except KeyError:
        return ()


def _split_marks(row: RunRow) -> tuple[Mark, ...]:
    if row.leaky == "true":
        sentence = "Pictures of one walk or video lie on both sides of the split, so accuracies are too high (leaky)."
        return (Mark("split_leaky", sentence),)
    if row.leaky == "unknown":
        sentence = (
            "It is not known which pictures belong to one walk or video, so the random split may leak and accuracies "
            "may be too high; name groups with data.group or data.table."
        )
        return (Mark("split_unknown", sentence),)
    return ()
