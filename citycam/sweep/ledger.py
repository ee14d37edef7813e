"""sweep.json: the grid that was asked for, what every ``auto`` became, and a row per job.

It only adds the jobs that have no folder yet; where it and a run's folder differ, the folder holds.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.files import write_json
from citycam.sweep.record import read_record

SCHEMA = 1


@dataclass(frozen=True)
class JobRow:
    """A job of a sweep as it stands: ``state`` is done, failed, interrupted, running or missing."""

    folder: Path
    hash: str
    overrides: tuple[str, ...]
    state: str
    error: str | None = None
    attempts: int = 0
    seconds: float | None = None
    device: str | None = None


class Ledger:
    """The sweep.json of one sweep folder, read when made."""

    def __init__(self, sweep_folder: Path) -> None:
        self._path = sweep_folder / "sweep.json"
        self._content: dict[str, Any] = {"schema": SCHEMA, "commands": [], "resolved": {}, "jobs": {}}
        with contextlib.suppress(FileNotFoundError):
            self._content |= json.loads(self._path.read_text(encoding="utf-8"))

    def resolved(self, config_hash: str) -> dict[str, Any] | None:
        """What every auto of the job became when it was first prepared."""
        found = self._content["resolved"].get(config_hash)
        return dict(found) if found is not None else None

    def add(self, *, command: str, jobs: list[JobRow], resolved: dict[str, dict[str, Any]]) -> None:
        """Take in a request: its command line, jobs and resolved settings (by hash); written whole."""
        if command not in self._content["commands"]:
            self._content["commands"].append(command)
        self._content["resolved"] |= resolved
        for job in jobs:
            self._content["jobs"][job.folder.name] = {
                "hash": job.hash,
                "overrides": list(job.overrides),
                "folder": str(job.folder),
            }
        self.write()

    def write(self) -> None:
        """Write sweep.json with every job's state as its folder tells it now."""
        for name, row in self._content["jobs"].items():
            state = job_row(Path(row["folder"]), row["hash"], tuple(row["overrides"]))
            self._content["jobs"][name] |= {
                "state": state.state,
                "attempts": state.attempts,
                "device": state.device,
                "seconds": state.seconds,
                "exit": state.error,
            }
        write_json(self._path, self._content)


def job_row(folder: Path, config_hash: str, overrides: tuple[str, ...]) -> JobRow:
    """A job's state as its folder tells it. A folder whose hash differs holds another run: the job is missing."""
    record = read_record(folder)
    if record is None or record.get("config_hash") != config_hash:
        return JobRow(folder, config_hash, overrides, "missing")
    status = str(record.get("status"))
    return JobRow(
        folder,
        config_hash,
        overrides,
        "done" if status == "completed" else status,
        error=record.get("error"),
        attempts=int(record.get("attempts", 1)),
        seconds=(record.get("seconds") or {}).get("total"),
        device=record.get("device"),
    )
