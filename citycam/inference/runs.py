"""Trained runs, read from their folders: their settings, and the files that hold their weights; no torch."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.config import SCHEMAS, Config
from citycam.doors import as_called
from citycam.errors import CitycamError, DamagedFile
from citycam.files import reason_of
from citycam.resolved import MEMORY_FORMATS
from citycam.sweep.ledger import Ledger
from citycam.sweep.record import NAME, SCHEMA, RunRecord, read_record
from citycam.sweep.runs import RunRow, read_runs
from citycam.sweep.stored import read_settings

# Groups that runs of an older version do not have; no number of a run depends on them.
_LATER = ("study",)
_WHAT = "a run's folder (multirun/SWEEP/RUN), or a checkpoint in it (RUN/checkpoints/best.ckpt)"


@dataclass(frozen=True)
class TrainedRun:
    """A completed run. ``record``: its run.json. ``batch``: pictures a pass of the body, as it was resolved."""

    folder: Path
    checkpoint: Path
    config: Config
    record: RunRecord
    batch: int

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of the probabilities; of a binary run the rest, then the target."""
        return self.record.classes

    @property
    def target(self) -> str:
        """The city of the maps, and of `partition=binary`."""
        return self.record.data.target

    @property
    def body(self) -> Path | None:
        """The file of its frozen body in the sweep's folder; None where the checkpoint holds all weights."""
        if self.record.backbone.finetune != "none":
            return None
        name = f"{self.config.backbone.name}-{self.config.image_size}-{self.record.backbone.weights.digest}"
        return self.folder.parent / "bodies" / f"{name}.safetensors"


def find_run(place: Path, weights: str | None = None) -> TrainedRun:
    """Return the one run that ``place`` names; arguments as for `find_runs`.

    Raises:
        CitycamError: see `find_runs`; or there are several.
    """
    runs = find_runs(place, weights)
    if len(runs) > 1:
        raise CitycamError(
            f"{place} holds {len(runs)} completed runs ({runs[0].folder.name}, …) and one is needed; give {_WHAT}."
        )
    return runs[0]


def find_runs(place: Path, weights: str | None = None) -> list[TrainedRun]:
    """Return the completed runs that ``place`` names; runs of a sweep that are not completed are named on stderr.

    Args:
        place: a run's folder, a sweep's, or a checkpoint file in the folder of its run.
        weights: ``last`` or ``best``; None is last, or the given checkpoint.

    Raises:
        CitycamError: there is no run, none is completed, or its files cannot be used.
    """
    if place.is_file():
        return [_of_checkpoint(place, weights)]
    rows = read_runs(place)
    if not rows:
        what = "holds no run" if place.is_dir() else "does not exist"
        raise CitycamError(f"{place} {what}; give {_WHAT}, or a sweep's folder.")
    completed = [row for row in rows if row.status == "completed"]
    if not completed:
        raise CitycamError(_unfinished(rows[0], len(rows)))
    for row in rows:
        if row.status != "completed":
            print(f"note: {row.name} is {row.status} and is skipped.", file=sys.stderr)
    return [_read(row.folder, row.folder / "checkpoints" / f"{weights or 'last'}.ckpt") for row in completed]


def config_from(settings: Mapping[str, Any]) -> Config:
    """Return the `Config` of a run's config.yaml.

    Raises:
        CitycamError: a setting is unknown, missing or out of its range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    hints = typing.get_type_hints(Config)
    values: dict[str, Any] = dict(settings)
    try:
        for name, kind in hints.items():
            if name in _LATER and name not in values:
                values[name] = kind()
            elif dataclasses.is_dataclass(kind):
                fitting = _option(name, typing.cast(type, kind), values[name])
                values[name] = OmegaConf.merge(OmegaConf.structured(fitting(**values[name])), values[name])
        return typing.cast(Config, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), values)))
    except (OmegaConfBaseException, KeyError, TypeError, AttributeError) as error:
        raise CitycamError(str(error).splitlines()[0]) from error


def _option(group: str, kind: type, values: Mapping[str, Any]) -> type:
    """Return the dataclass of a group that has exactly the given fields."""
    options = SCHEMAS.get(group, {}).values()
    fitting = [option for option in options if {field.name for field in dataclasses.fields(option)} == set(values)]
    return fitting[0] if fitting else kind


def _of_checkpoint(path: Path, weights: str | None) -> TrainedRun:
    folder = path.absolute().parent.parent
    if path.suffix != ".ckpt" or path.absolute().parent.name != "checkpoints" or not read_runs(folder):
        raise CitycamError(f"{path} is no checkpoint in the folder of its run; give {_WHAT}.")
    if weights not in (None, path.stem):
        raise CitycamError(
            f"{path.name} and weights {weights} were both asked for; give the run's folder, or one name."
        )
    row = read_runs(folder)[0]
    if row.status != "completed":
        raise CitycamError(_unfinished(row, 1))
    return _read(folder, path)


def _unfinished(row: RunRow, count: int) -> str:
    if row.status == "unreadable":
        return f"{row.folder} cannot be used: {row.error}"
    which = (
        f"{row.folder} is {row.status}" if count == 1 else f"None of the {count} runs in {row.folder.parent} is done"
    )
    again = (
        f"finish it with {as_called(row.record.command)}"
        if row.record.command and count == 1
        else "train it to its end"
    )
    return f"{which}, and only a completed run can be used; {again}."


def _read(folder: Path, checkpoint: Path) -> TrainedRun:
    record = read_record(folder)
    if record is None or record.schema is None or record.schema > SCHEMA:
        version = None if record is None else record.schema
        raise CitycamError(
            f"{folder} was made by a newer citycam (its run.json is of schema {version}, this one reads {SCHEMA}); "
            "install that version, or train the run here."
        )
    try:
        config = config_from(read_settings(folder))
    except FileNotFoundError as error:
        raise CitycamError(f"{folder} lacks its config.yaml, so its settings are not known; train it again.") from error
    except DamagedFile:
        raise
    except (CitycamError, ValueError) as error:
        reason = reason_of(error).rstrip(";")
        raise CitycamError(
            f"{folder / 'config.yaml'} does not fit this version of citycam ({reason}); train the run again."
        ) from error
    run = TrainedRun(folder, checkpoint, config, record, _batch(folder, record.config_hash))
    _check(run)
    return run


def _check(run: TrainedRun) -> None:
    """Check what can be checked before anything is loaded."""
    its = run.record
    needed = {
        "classes": its.classes,
        "data.target": its.data.target,
        "data.digest": its.data.digest,
        "split.kind": its.split.kind,
        "backbone.finetune": its.backbone.finetune,
        "precision": its.precision,
    }
    lacking = [name for name, value in needed.items() if not value]
    if lacking:
        raise CitycamError(
            f"{run.folder / NAME} lacks {', '.join(lacking)}, so the run cannot be used; train it again."
        )
    if its.precision not in ("fp32", "bf16") or its.memory_format not in (None, *MEMORY_FORMATS):
        raise CitycamError(
            f"{run.folder / NAME} names an arithmetic that is not known ({its.precision}, {its.memory_format}), so the "
            "run cannot be used; train it again."
        )
    if any("/" in name or "\0" in name for name in (str(its.backbone.weights.digest), str(run.config.backbone.name))):
        raise CitycamError(f"{run.folder / NAME} names a body that is none; train the run again.")
    body = run.body
    if not run.checkpoint.is_file():
        raise CitycamError(f"There is no checkpoint {run.checkpoint}; put it back, or train the run again.")
    if body is not None and not body.is_file():
        raise CitycamError(f"{run.checkpoint} needs the frozen body {body}, which is not there; move both together.")


def _batch(folder: Path, config_hash: str) -> int:
    """Return pictures per pass as resolved; 32 for a run away from its sweep.json, which only changes rounding.

    Raises:
        CitycamError: the sweep.json is damaged.
    """
    resolved = Ledger(folder.parent).resolved(config_hash)
    return 32 if resolved is None else resolved.batch
