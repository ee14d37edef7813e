"""sweep.json: the commands of a sweep, what every ``auto`` became, and a row per job.

Where it and a run's folder differ, the folder is right.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.devices import Device
from citycam.errors import CitycamError, DamagedFile
from citycam.files import lock, read_json, reason_of, write_json
from citycam.resolved import Resolved
from citycam.sweep.record import read_record
from citycam.sweep.recorder import now
from citycam.words import is_text

SCHEMA = 1
NAME = "sweep.json"
STATES = ("done", "running", "failed", "interrupted", "missing")


@dataclass(frozen=True)
class JobRow:
    """A job of a sweep with its ``state``, one of `STATES`. A run whose process is gone is interrupted."""

    folder: Path
    hash: str
    overrides: tuple[str, ...]
    state: str
    command: str | None = None
    error: str | None = None
    attempts: int = 0
    seconds: float | None = None
    device: str | None = None


class Ledger:
    """The sweep.json of a folder, read at construction.

    Each change reads it again first, under a lock, so that several requests may add to one sweep at a time.

    Raises:
        DamagedFile: it is damaged, or another program wrote it.
    """

    def __init__(self, sweep_folder: Path) -> None:
        self.folder = sweep_folder
        self._path = sweep_folder / NAME
        self._read()

    @property
    def commands(self) -> list[str]:
        """The command lines that the jobs come from, oldest first."""
        return list(self._content["commands"])

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """Hash, overrides and last known state of each job, by the name of its folder."""
        return dict(self._content["jobs"])

    @property
    def working_folder(self) -> Path | None:
        """The folder in which the latest command was given; None where it no longer exists."""
        known = self._content.get("working_folder")
        with contextlib.suppress(OSError):  # a name that is too long, say
            return Path(known) if known is not None and Path(known).is_dir() else None
        return None

    @property
    def began(self) -> str:
        """Start of the latest request, as run.json writes times; empty where there was none."""
        return str(self._content.get("began", ""))

    def resolved(self, config_hash: str) -> Resolved | None:
        """What every ``auto`` of a job became when it was first prepared."""
        values = self._content["resolved"].get(config_hash)
        return Resolved.from_dict(values) if values is not None else None

    def add(
        self,
        *,
        commands: Sequence[str],
        jobs: Sequence[JobRow],
        resolved: dict[str, Resolved],
        devices: dict[str, list[Device]],
    ) -> None:
        """Add a request that starts now.

        Args:
            commands: its command lines.
            jobs: their folders, hashes, overrides and commands.
            resolved: resolved settings by hash.
            devices: of this machine, by kind.
        """
        with self._changed():
            self._content["commands"] += [command for command in commands if command not in self._content["commands"]]
            self._content["working_folder"] = str(Path.cwd())
            self._content["began"] = now()
            self._content["resolved"] |= {digest: values.as_dict() for digest, values in resolved.items()}
            self._content["devices"].setdefault(platform.node(), {}).update(
                {kind: [[device.name, device.identity] for device in its] for kind, its in devices.items()}
            )
            for job in jobs:
                self._content["jobs"][job.folder.name] = {
                    "hash": job.hash,
                    "overrides": list(job.overrides),
                    "command": job.command,
                    "folder": os.path.relpath(job.folder, self.folder),
                }

    def write(self) -> None:
        """Write sweep.json with the state of every job as its folder shows it now."""
        with self._changed():
            pass

    @contextlib.contextmanager
    def _changed(self) -> Iterator[None]:
        with lock(self.folder / ".locks" / "sweep.json.lock"):
            self._read()
            yield
            for row in self._content["jobs"].values():
                state = job_row(self.folder / row["folder"], row["hash"], tuple(row["overrides"]))
                row |= {
                    "state": state.state,
                    "attempts": state.attempts,
                    "device": state.device,
                    "seconds": state.seconds,
                    "exit": state.error,
                }
            write_json(self._path, self._content)

    def _read(self) -> None:
        self._content: dict[str, Any] = {"schema": SCHEMA, "commands": [], "devices": {}, "resolved": {}, "jobs": {}}
        try:
            self._content |= _checked(read_json(self._path))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as error:
            raise DamagedFile(
                self._path,
                reason_of(error),
                "move it away, and give the sweep's command again: its runs stand in their own folders",
            ) from error


def _checked(content: Any) -> dict[str, Any]:
    """Return the content of a sweep.json.

    Raises:
        ValueError: something in it does not fit.
    """
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise ValueError("it was not written by citycam")
    if content["schema"] > SCHEMA:
        raise ValueError(f"it was written by a newer citycam (schema {content['schema']}; this one knows {SCHEMA})")
    texts = ("working_folder", "began")
    if not all(is_text(content.get(name, "")) and "\0" not in content.get(name, "") for name in texts):
        raise ValueError(f"{' or '.join(texts)} is no text")
    if not _are_texts(content.get("commands", [])):
        raise ValueError("commands are no list of lines")
    for name, kind in (("devices", dict), ("resolved", dict), ("jobs", dict)):
        rows = content.get(name, {})
        if not isinstance(rows, dict) or not all(is_text(key) and isinstance(row, kind) for key, row in rows.items()):
            raise ValueError(f"{name} does not fit")
    for name, job in content.get("jobs", {}).items():
        its = (job.get("hash"), job.get("folder"), job.get("command") or "")
        plain = all(map(is_text, its)) and "\0" not in its[1] and Path(name).name == name
        if not plain or not _are_texts(job.get("overrides")):
            raise ValueError(f"the job {name} does not fit")
    for digest, values in content.get("resolved", {}).items():
        try:
            Resolved.from_dict(values)
        except ValueError as error:
            raise ValueError(f"what was resolved for {digest} does not fit: {error}") from error
    json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8")  # it is written back
    return content


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def job_row(folder: Path, config_hash: str, overrides: tuple[str, ...]) -> JobRow:
    """Return the state of a job as its folder shows it; where the folder holds another run, the job is missing."""
    try:
        record = read_record(folder)
    except CitycamError as error:
        return JobRow(folder, config_hash, overrides, "failed", error=str(error))
    if record is None or record.config_hash != config_hash:
        return JobRow(folder, config_hash, overrides, "missing")
    return JobRow(
        folder,
        config_hash,
        overrides,
        "done" if record.state == "completed" else record.state,
        error=record.error,
        attempts=record.attempts,
        seconds=record.seconds.get("total"),
        device=record.device,
    )
