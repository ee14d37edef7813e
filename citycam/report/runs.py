"""Runs as their folders tell them, in whatever state they are."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from citycam.statistics import Mark, marks

# Settings that name a place and not an experiment.
_NOT_SETTINGS = ("sweep.name", "hydra.", "hydra/")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as its folder tells it. ``status``: completed, running, failed, interrupted, or unreadable."""

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

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.name

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

    A run folder is one that holds run.json or Hydra's own record; it may be half there.
    """
    sweep_folder = Path(sweep_folder)
    if _is_run(sweep_folder):
        return [_read_run(sweep_folder)]
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = [folder for folder in sweep_folder.iterdir() if folder.is_dir() and _is_run(folder)]
        return [_read_run(folder) for folder in sorted(found, key=lambda folder: _natural(folder.name))]
    return []


def differing(rows: Sequence[RunRow]) -> list[str]:
    """Settings whose values differ between runs, in the order in which they were given; none of a single run."""
    keys = list(dict.fromkeys(key for row in rows for key in row.overrides if not key.startswith(_NOT_SETTINGS)))
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
    overrides = _hydra_overrides(folder)
    try:
        return _row_of(folder, json.loads((folder / "run.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return RunRow(folder, "interrupted", error="The run stopped before it wrote run.json.", overrides=overrides)
    except (OSError, ValueError) as error:
        return RunRow(folder, "unreadable", error=f"run.json cannot be read: {error}.", overrides=overrides)
    except (AttributeError, KeyError, TypeError) as error:
        sentence = f"run.json was not written by this version of citycam: {error}."
        return RunRow(folder, "unreadable", error=sentence, overrides=overrides)


def _row_of(folder: Path, record: dict[str, Any]) -> RunRow:
    status, error = str(record["status"]), record.get("error")
    if status == "running" and _process_gone(record):
        status, error = "interrupted", error or f"Its process {record.get('pid')} is gone."
    return RunRow(
        folder,
        status,
        error=error,
        overrides=_parse_overrides(record.get("overrides") or ()),
        final=record.get("final") or {},
        best=record.get("best") or {},
        split=record.get("split") or {},
        warnings=tuple(Mark(item["code"], item["sentence"]) for item in record.get("warnings") or ()),
        weights=_weights(record.get("backbone") or {}),
        seconds=_total(record.get("seconds")),
        command=record.get("command"),
    )


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
    return str(weights.get("origin")) if isinstance(weights, dict) else weights


def _total(seconds: Any) -> float | None:
    if not isinstance(seconds, dict):
        return None
    if isinstance(seconds.get("total"), (int, float)):
        return float(seconds["total"])
    phases = [value for value in seconds.values() if isinstance(value, (int, float))]
    return float(sum(phases)) if phases else None


def _process_gone(record: dict[str, Any]) -> bool:
    pid = record.get("pid")
    if record.get("host") != platform.node() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


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


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
