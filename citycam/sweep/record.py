"""run.json: what a run is, does and found. One type and one reader, which repairs what it can and refuses the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from citycam.errors import CitycamError, DamagedFile
from citycam.files import read_json, reason_of
from citycam.processes import is_gone
from citycam.resolved import WeightsSource
from citycam.sweep.numbers import is_metric, number
from citycam.words import Mark, is_text

# The layout of run.json that this version writes.
SCHEMA = 1
NAME = "run.json"
STATUSES = ("running", "completed", "failed", "interrupted")
# What a completed run has in ``final``, whatever it was trained on.
_NEEDED = ("val_accuracy", "val_balanced_accuracy", "val_accuracy_interval", "majority_accuracy", "chance", "n_val")

# Metrics by name: numbers; intervals [low, high]; and in words what an interval is over.
Metrics = Mapping[str, Any]


_NO_WEIGHTS = WeightsSource("", None, None, "")


@dataclass(frozen=True, slots=True)
class DataRecord:
    """The pictures of a run. ``counts``: of pictures, by part and city. ``skipped``: files that cannot be read."""

    kind: str = ""
    root: str = ""
    digest: str = ""
    target: str = ""
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class SplitRecord:
    """How pictures were split. ``leaky``: whether frames of one walk lie on both sides; None where it is not known."""

    kind: str = ""
    leaky: bool | None = None


@dataclass(frozen=True, slots=True)
class BackboneRecord:
    """The body of a run. ``finetune``: none, all, or the stage from which on it trained."""

    name: str = ""
    weights: WeightsSource = _NO_WEIGHTS
    finetune: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run.json. What a run did not get to, or a foreign writer left out, has its default.

    Attributes:
        schema: of the file; None where it has none.
        status: running, completed, failed or interrupted.
        error: one sentence, where it did not complete.
        pid, host: of the process that writes it.
        started: time in UTC, ISO 8601; later times sort after earlier ones.
        config_hash: see `citycam.sweep.names.config_hash`.
        overrides: what was asked for, ``key=value``.
        command: the line that trains this run again.
        seconds: by phase, and ``total``.  epoch_seconds: of each epoch.
        final, best: metrics of the last and of the best epoch.
        warnings: what a reader of its numbers must know.
        attempts: how often it was started.  resumed_after: epochs of an earlier attempt that it kept.
        device, devices, threads, precision, memory_format: what it computed with.
        classes: names, in the order of their numbers.
        versions: of Python, citycam and the libraries that change numbers.
        explained: facts about its maps.
        misfits: entries of the file that do not fit and were read as their defaults.
    """

    status: str
    schema: int | None = SCHEMA
    error: str | None = None
    pid: int | None = None
    host: str | None = None
    started: str = ""
    config_hash: str = ""
    overrides: tuple[str, ...] = ()
    command: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    epoch_seconds: tuple[float, ...] = ()
    final: Metrics = field(default_factory=dict)
    best: Metrics = field(default_factory=dict)
    warnings: tuple[Mark, ...] = ()
    attempts: int = 1
    resumed_after: int | None = None
    device: str | None = None
    devices: tuple[str, ...] = ()
    data: DataRecord = DataRecord()
    split: SplitRecord = SplitRecord()
    backbone: BackboneRecord = BackboneRecord()
    classes: tuple[str, ...] = ()
    threads: int | None = None
    precision: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    memory_format: str | None = None
    seed: int | None = None
    explained: Mapping[str, Any] = field(default_factory=dict)
    misfits: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The status, but interrupted where the process that was running it is gone."""
        gone = self.status == "running" and is_gone(self.host, self.pid)
        return "interrupted" if gone else self.status

    @property
    def total_seconds(self) -> float | None:
        """Seconds of the whole run, or of its phases so far."""
        phases = [value for name, value in self.seconds.items() if name != "total"]
        return self.seconds.get("total", sum(phases) if phases else None)

    def to_json(self) -> dict[str, Any]:
        """Plain values in the layout of the file; what is not known yet is left out."""
        plain: dict[str, Any] = {
            "schema": self.schema,
            "status": self.status,
            "error": self.error,
            "pid": self.pid,
            "host": self.host,
            "started": self.started,
            "config_hash": self.config_hash,
            "overrides": list(self.overrides),
            "command": self.command,
            "seconds": self._seconds_to_json(),
            "final": dict(self.final),
            "best": dict(self.best),
            "warnings": [mark.as_dict() for mark in self.warnings],
            "attempts": self.attempts,
            "resumed_after": self.resumed_after,
        }
        later = {
            "device": self.device,
            "devices": list(self.devices),
            "data": self._data_to_json(),
            "split": self._split_to_json(),
            "backbone": self._backbone_to_json(),
            "classes": list(self.classes),
            "threads": self.threads,
            "precision": self.precision,
            "versions": dict(self.versions),
            "memory_format": self.memory_format,
            "seed": self.seed,
            "explained": dict(self.explained),
        }
        return plain | {name: value for name, value in later.items() if value not in (None, [], {})}

    def _seconds_to_json(self) -> dict[str, Any]:
        rounded: dict[str, Any] = {name: round(value, 3) for name, value in self.seconds.items() if name != "total"}
        if self.epoch_seconds:
            rounded["epochs"] = [round(epoch, 3) for epoch in self.epoch_seconds]
        return rounded | ({"total": round(self.seconds["total"], 3)} if "total" in self.seconds else {})

    def _data_to_json(self) -> dict[str, Any]:
        if not self.data.digest:
            return {}
        plain: dict[str, Any] = {entry.name: getattr(self.data, entry.name) for entry in fields(DataRecord)}
        return plain | {"counts": {part: dict(counts) for part, counts in self.data.counts.items()}}

    def _split_to_json(self) -> dict[str, Any]:
        if not self.split.kind:
            return {}
        return {"kind": self.split.kind, "leaky": "unknown" if self.split.leaky is None else self.split.leaky}

    def _backbone_to_json(self) -> dict[str, Any]:
        if not self.backbone.name:
            return {}
        its = self.backbone.weights
        path = None if its.path is None else str(its.path)
        weights = {"origin": its.origin, "digest": its.digest, "path": path, "note": its.note}
        return {"name": self.backbone.name, "weights": weights, "finetune": self.backbone.finetune}


def read_record(folder: Path) -> RunRecord | None:
    """Read the run.json of a run's folder; None where there is none.

    Entries that do not fit are read as their defaults and named in ``misfits``.

    Raises:
        CitycamError: the file cannot be read, or was not written by citycam.
    """
    path = folder / NAME
    try:
        content = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DamagedFile(path, reason_of(error), "put it back, or move the folder away") from error
    if not isinstance(content, dict) or content.get("status") not in STATUSES:
        raise CitycamError(f"{path} was not written by citycam: it has no status; move the folder away.")
    return _parse(content)


def _parse(content: dict[str, Any]) -> RunRecord:
    values: dict[str, Any] = {"schema": None}
    misfits = []
    for name, convert in _READERS.items():
        if content.get(name) is None:
            continue
        try:
            values[name] = convert(content[name])
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
            misfits.append(name)
    for name in ("final", "best"):
        given, kept = content.get(name), values.get(name, {})
        misfits += [f"{name}.{key}"[:80] for key in given if key not in kept] if isinstance(given, dict) else []
    if values["status"] == "completed":
        final = values.get("final", {})
        misfits += [f"final.{key}" for key in _NEEDED if key not in final and f"final.{key}" not in misfits]
    seconds = values.pop("seconds", {})
    epochs = seconds.pop("epochs", ())
    return RunRecord(**values, seconds=seconds, epoch_seconds=epochs, misfits=tuple(misfits))


def _text(value: Any) -> str:
    if not is_text(value):
        raise TypeError(value)
    return str(value)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise TypeError(value)
    return value


def _pid(value: Any) -> int:
    # The system takes 0 and negative numbers for groups of processes.
    if not 0 < _whole(value) < 2**31:
        raise TypeError(value)
    return int(value)


def _duration(value: Any) -> float:
    seconds = number(value)
    if not 0 <= seconds < 1e12:
        raise TypeError(value)
    return seconds


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(value)
    return tuple(map(_text, value))


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(value)
    return value


def _seconds(value: Any) -> dict[str, Any]:
    phases: dict[str, Any] = {_text(name): _duration(its) for name, its in _table(value).items() if name != "epochs"}
    return phases | {"epochs": tuple(map(_duration, value.get("epochs", ())))}


def _metrics(value: Any) -> dict[str, Any]:
    """Metrics without those that cannot be: see `citycam.sweep.numbers`."""
    return {name: its for name, its in _table(value).items() if is_text(name) and is_metric(name, its)}


def _marks(value: Any) -> tuple[Mark, ...]:
    return tuple(Mark(_text(item.get("code", "")), _text(item["sentence"])) for item in value)


def _facts(value: Any) -> dict[str, Any]:
    """A table of plain values, which JSON can hold again."""
    return {_text(name): _plain(its) for name, its in _table(value).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return _facts(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return _text(value) if isinstance(value, str) else number(value)


def _data(value: Any) -> DataRecord:
    its = _table(value)
    counts = {
        _text(part): {_text(city): _whole(n) for city, n in _table(cities).items()}
        for part, cities in _table(its.get("counts", {})).items()
    }
    texts = {name: _text(its[name]) for name in ("kind", "root", "digest", "target") if name in its}
    return DataRecord(**texts, counts=counts, skipped=_whole(its.get("skipped", 0)))


def _split(value: Any) -> SplitRecord:
    its = _table(value)
    leaky = its.get("leaky")
    if leaky not in (None, "unknown") and not isinstance(leaky, bool):
        raise TypeError(leaky)
    return SplitRecord(_text(its.get("kind", "")), leaky if isinstance(leaky, bool) else None)


def _backbone(value: Any) -> BackboneRecord:
    its = _table(value)
    weights = its.get("weights", {})
    if isinstance(weights, str):  # as older versions wrote it
        weights = {"origin": weights}
    path, digest = _table(weights).get("path"), weights.get("digest")
    source = WeightsSource(
        _text(weights.get("origin", "")),
        None if path is None else Path(_text(path)),
        None if digest is None else _text(digest),
        _text(weights.get("note", "")),
    )
    return BackboneRecord(_text(its.get("name", "")), source, _text(its.get("finetune", "")))


_READERS: dict[str, Callable[[Any], Any]] = {
    "status": _text,
    "schema": _whole,
    "error": _text,
    "pid": _pid,
    "host": _text,
    "started": _text,
    "config_hash": _text,
    "overrides": _texts,
    "command": _text,
    "seconds": _seconds,
    "final": _metrics,
    "best": _metrics,
    "warnings": _marks,
    "attempts": _whole,
    "resumed_after": _whole,
    "device": _text,
    "devices": _texts,
    "data": _data,
    "split": _split,
    "backbone": _backbone,
    "classes": _texts,
    "threads": _whole,
    "precision": _text,
    "versions": lambda value: {_text(name): _text(its) for name, its in _table(value).items()},
    "memory_format": _text,
    "seed": _whole,
    "explained": _facts,
}
