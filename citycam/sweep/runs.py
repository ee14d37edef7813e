"""Runs as their folders tell them, in whatever state they are."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from citycam.errors import CitycamError
from citycam.files import read_csv
from citycam.processes import is_gone
from citycam.statistics import Mark, marks
from citycam.words import natural

# The layout of run.json that this version writes.
_SCHEMA = 1
# Settings of the place and the way, and not of an experiment.
_NOT_SETTINGS = ("sweep.", "hydra.", "hydra/")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as its folder tells it.

    Attributes:
        status: completed, running, failed, interrupted, unreadable, or missing where sweep.json alone tells of it.
        overrides: what was asked for, and where another run that was read with it names a setting that it does not,
            that setting from its config.yaml.
        data, split, backbone, explained: as in run.json.
        classes: names, in the order of their numbers.
        label: its name where runs of several sweeps stand together; empty elsewhere.
    """

    folder: Path
    status: str
    error: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    final: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[Mark, ...] = ()
    weights: str | None = None
    seconds: float | None = None
    command: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)
    explained: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    seed: int | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """The folder's own name, behind that of its sweep where there are several."""
        return self.label or self.folder.name

    @property
    def sweep(self) -> str:
        """Its sweep's name, where there are several."""
        return self.label.rpartition("/")[0]

    @property
    def settings(self) -> dict[str, str]:
        """Overrides that make it another experiment: all but those that name a place."""
        return {key: value for key, value in self.overrides.items() if not key.startswith(_NOT_SETTINGS)}

    @property
    def leaky(self) -> str | None:
        """``true``, ``false`` or ``unknown``; None where the run did not come as far as its split."""
        if "leaky" not in self.split:
            return None
        return {True: "true", False: "false"}.get(self.split["leaky"], "unknown")

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
    """A row per run folder in ``sweep_folder`` (or the folder itself, if it is a run's), in their natural order.

    A run folder is one that holds run.json or Hydra's own record; it may be half there. Jobs of sweep.json that never
    began have a row too.
    """
    return _filled(_read_folder(Path(sweep_folder)))


def _read_folder(sweep_folder: Path) -> list[RunRow]:
    if _is_run(sweep_folder):
        return [_read_run(sweep_folder)]
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        found = [_read_run(folder) for folder in sweep_folder.iterdir() if folder.is_dir() and _is_run(folder)]
        found += _never_begun(sweep_folder, {row.folder.name for row in found})
        return sorted(found, key=lambda row: natural(row.folder.name))
    return []


def _never_begun(sweep_folder: Path, known: set[str]) -> list[RunRow]:
    """The jobs of sweep.json that have no folder of a run."""
    try:
        jobs = json.loads((sweep_folder / "sweep.json").read_text(encoding="utf-8"))["jobs"]
        return [
            RunRow(
                sweep_folder / name,
                "missing",
                error="It never started.",
                overrides=_parse_overrides(row["overrides"]),
                command=row.get("command"),
            )
            for name, row in jobs.items()
            if name not in known
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # whatever it is, it is no sweep.json of ours


def read_all(folders: Sequence[Path]) -> list[RunRow]:
    """The runs of several folders, each once: run folders, sweeps, and folders of sweeps.

    Where they come from more than one sweep, their names begin with the sweep's.

    Raises:
        CitycamError: a folder does not exist, or holds no run.
    """
    found: dict[Path, RunRow] = {}
    for folder in folders:
        rows = _read_folder(Path(folder)) or _read_sweeps(Path(folder))
        if not rows:
            there = "holds no run" if Path(folder).is_dir() else "is no folder"
            raise CitycamError(f"{folder} {there}; give the folder of a run, of a sweep, or of several sweeps.")
        for row in rows:
            found.setdefault(row.folder.resolve(), row)
    sweeps = {folder.parent for folder in found}
    if len(sweeps) < 2:
        return _filled(list(found.values()))
    common = Path(os.path.commonpath(sweeps))
    return _filled([replace(row, label=folder.relative_to(common).as_posix()) for folder, row in found.items()])


def _read_sweeps(folder: Path) -> list[RunRow]:
    if not folder.is_dir():
        return []
    sweeps = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: natural(path.name))
    return [row for sweep in sweeps for row in _read_folder(sweep)]


def _filled(rows: list[RunRow]) -> list[RunRow]:
    """Rows whose overrides leave out a setting that other rows name, with its value: a default is no difference."""
    keys = differing(rows)
    return [_fill(row, [key for key in keys if key not in row.overrides]) for row in rows]


def _fill(row: RunRow, keys: Sequence[str]) -> RunRow:
    config = _config(row.folder) if keys else {}
    found = {key: text for key in keys if (text := _setting(config, key)) is not None}
    return replace(row, overrides=row.overrides | found) if found else row


def _config(folder: Path) -> dict[str, Any]:
    import yaml

    # The C parser is ten times as fast, and not everywhere.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), loader)
        return config if isinstance(config, dict) else {}
    return {}


def _setting(config: dict[str, Any], key: str) -> str | None:
    """A setting as an override would write it; of a group, the option's name. None where there is none."""
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
    return {None: "null", True: "true", False: "false"}.get(value) or str(value)


def differing(rows: Sequence[RunRow]) -> list[str]:
    """Settings whose values differ between runs, in the order in which they were given; none of a single run."""
    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    return [key for key in keys if len({row.overrides.get(key) for row in rows}) > 1]


def warnings_of(rows: Sequence[RunRow]) -> list[SharedWarning]:
    """Every warning and mark once, with the runs that it holds for, in order of appearance.

    A mark that the run's own warnings tell already, by its code or for the split in the split's words, is left out.
    """
    runs: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        told = {mark.code for mark in row.warnings}
        split_told = any(code.startswith("split_") for code in told)
        for mark in dict.fromkeys((*row.warnings, *row.marks)):
            own = mark in row.warnings
            if own or not (mark.code in told or (split_told and mark.code.startswith("split_"))):
                runs.setdefault((mark.code, mark.sentence), []).append(row.name)
    return [SharedWarning(code, sentence, tuple(names)) for (code, sentence), names in runs.items()]


def _is_run(folder: Path) -> bool:
    return (folder / "run.json").exists() or (folder / ".hydra").is_dir()


def _read_run(folder: Path) -> RunRow:
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _without_record(folder, "interrupted", "The run stopped before it wrote run.json.")
    except (OSError, ValueError) as error:
        return _without_record(folder, "unreadable", f"run.json cannot be read: {error}.")
    if not isinstance(record, dict) or not isinstance(record.get("status"), str):
        return _without_record(folder, "unreadable", "run.json was not written by citycam: it has no status.")
    return _row_of(folder, record)


def _without_record(folder: Path, status: str, error: str) -> RunRow:
    """What the other files of a folder tell: its overrides, and the metrics of its last epoch."""
    final: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        last = read_csv(folder / "metrics.csv")[-1]
        final = {key: float(value) for key, value in last.items() if value}
    return RunRow(folder, status, error=error, overrides=_hydra_overrides(folder), final=final)


def _row_of(folder: Path, record: dict[str, Any]) -> RunRow:
    # A newer or foreign writer may have put other things in these places: what is not as it should be is left out.
    status, error = str(record["status"]), record.get("error")
    if status == "running" and is_gone(record.get("host"), record.get("pid")):
        status, error = "interrupted", error or f"Its process {record.get('pid')} is gone."
    seed, classes = record.get("seed"), _items(record, "classes")
    return RunRow(
        folder,
        status,
        error=None if error is None else str(error),
        overrides=_parse_overrides(item for item in _items(record, "overrides") if isinstance(item, str)),
        final=_numbers(_part(record, "final")),
        best=_numbers(_part(record, "best")),
        split=_part(record, "split"),
        warnings=(*_newer(record), *_warnings(record)),
        weights=_weights(_part(record, "backbone")),
        seconds=_total(record.get("seconds")),
        command=str(record["command"]) if record.get("command") else None,
        data=_part(record, "data"),
        backbone=_part(record, "backbone"),
        explained=_part(record, "explained"),
        classes=tuple(map(str, classes)),
        seed=seed if isinstance(seed, int) else None,
    )


def _part(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _items(record: dict[str, Any], key: str) -> list[Any]:
    value = record.get(key)
    return value if isinstance(value, list) else []


def _numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics without those that are no number, interval or, where words belong, words."""
    return {key: value for key, value in metrics.items() if _fits(key, value)}


def _fits(key: str, value: Any) -> bool:
    if key.endswith("_interval"):
        return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    return _is_number(value) or (key == "interval_over" and isinstance(value, str))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _newer(record: dict[str, Any]) -> tuple[Mark, ...]:
    schema = record.get("schema")
    if isinstance(schema, int) and schema <= _SCHEMA:
        return ()
    if isinstance(schema, int):
        sentence = (
            f"Its run.json was written by a newer citycam (schema {schema}; this one knows {_SCHEMA}) and is shown as "
            "far as it can be read; install that version to see all of it."
        )
        return (Mark("newer_schema", sentence),)
    return (Mark("no_schema", "Its run.json has no schema, so another program may have written it."),)


def _warnings(record: dict[str, Any]) -> list[Mark]:
    found = [item for item in _items(record, "warnings") if isinstance(item, dict) and "sentence" in item]
    return [Mark(str(item.get("code", "")), str(item["sentence"])) for item in found]


def _hydra_overrides(folder: Path) -> dict[str, str]:
    # Hydra's file is a YAML list of plain strings; one per line is enough of YAML here.
    with contextlib.suppress(OSError):
        lines = (folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8").splitlines()
        return _parse_overrides(line[2:].strip("'\"") for line in lines if line.startswith("- "))
    return {}


def _parse_overrides(overrides: Iterable[str]) -> dict[str, str]:
    pairs = (text.lstrip("+~").partition("=") for text in overrides)
    return {key: value for key, _, value in pairs}


def _weights(backbone: dict[str, Any]) -> str | None:
    weights = backbone.get("weights")
    if isinstance(weights, dict):
        return str(weights["origin"]) if "origin" in weights else None
    return weights if isinstance(weights, str) else None


def _total(seconds: Any) -> float | None:
    if not isinstance(seconds, dict):
        return None
    if isinstance(seconds.get("total"), (int, float)):
        return float(seconds["total"])
    phases = [value for value in seconds.values() if isinstance(value, (int, float))]
    return float(sum(phases)) if phases else None


def _number_marks(final: dict[str, Any]) -> tuple[Mark, ...]:
    try:
        return marks(
            accuracy=final["val_accuracy"],
            majority_accuracy=final["majority_accuracy"],
            balanced_accuracy=final["val_balanced_accuracy"],
            balanced_accuracy_interval=final["val_balanced_accuracy_interval"],
            chance=final["chance"],
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
