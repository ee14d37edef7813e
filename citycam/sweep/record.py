"""run.json: what a run is, does and found; one object, replaced whole at each change of status."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from citycam.files import write_json

SCHEMA = 1


class RunRecord:
    """The run.json of one folder.

    Args:
        folder: the run's, which need not exist yet.
        overrides: what was asked for, ``key=value``.
        command: the line that trains this run again.
        config_hash: see `citycam.sweep.names.config_hash`.
    """

    def __init__(self, folder: Path, *, overrides: list[str], command: str, config_hash: str) -> None:
        self.folder = folder
        self._path = folder / "run.json"
        self.content: dict[str, Any] = {
            "schema": SCHEMA,
            "status": "running",
            "error": None,
            "pid": os.getpid(),
            "host": platform.node(),
            "started": now(),
            "config_hash": config_hash,
            "overrides": overrides,
            "command": command,
            "seconds": {},
            "final": {},
            "best": {},
            "warnings": [],
        }
        self._begun = time.perf_counter()
        self.write()

    def update(self, **fields: Any) -> None:
        """Set top-level fields; they reach the disk with the next `write`, `phase` or `finish`."""
        self.content |= fields

    def warn(self, code: str, sentence: str) -> None:
        """Add a warning, once."""
        warning = {"code": code, "sentence": sentence}
        if warning not in self.content["warnings"]:
            self.content["warnings"].append(warning)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase into ``seconds``; what it recorded is written when it ends."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.content["seconds"][name] = self.content["seconds"].get(name, 0.0) + time.perf_counter() - begun
        self.write()

    def finish(self, status: str, error: str | None = None) -> None:
        """The last word: completed, failed or interrupted, with the sentence that says why."""
        self.content |= {"status": status, "error": error}
        self.content["seconds"]["total"] = time.perf_counter() - self._begun
        self.write()

    def write(self) -> None:
        """Replace run.json."""
        rounded = {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in self.content["seconds"].items()
        }
        write_json(self._path, {**self.content, "seconds": rounded})


def now() -> str:
    """The time as run.json and sweep.json write it; later times sort behind earlier ones."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def read_record(folder: Path) -> dict[str, Any] | None:
    """What run.json says, or None where there is none that can be read."""
    try:
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
