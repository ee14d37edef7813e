"""The writer of a run's run.json, which is replaced whole at each change of status."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from citycam.files import write_json
from citycam.sweep.record import NAME, RunRecord
from citycam.words import Mark, printable


class Recorder:
    """Keeps the record of one attempt at a run, and writes it; the file says running from the start.

    Args:
        folder: the run's, which need not exist yet.
        known: fields of `RunRecord` that are known at the start, such as overrides, command and config_hash.

    Attributes:
        record: as it is now; it reaches the disk with the next `write`, `phase` or `finish`.
    """

    def __init__(self, folder: Path, **known: Any) -> None:
        self.folder = folder
        self.record = RunRecord(status="running", pid=os.getpid(), host=platform.node(), started=now(), **known)
        self._start = time.perf_counter()
        self.write()

    def update(self, **fields: Any) -> None:
        """Set fields of the record."""
        self.record = replace(self.record, **fields)

    def warn(self, code: str, sentence: str) -> None:
        """Add a warning on one line, once."""
        mark = Mark(code, printable(sentence))
        if mark not in self.record.warnings:
            self.update(warnings=(*self.record.warnings, mark))

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase into ``seconds``; what it recorded is written when it ends."""
        start = time.perf_counter()
        try:
            yield
        finally:
            before = self.record.seconds.get(name, 0.0)
            self.update(seconds={**self.record.seconds, name: before + time.perf_counter() - start})
        self.write()

    def finish(self, status: str, error: str | None = None) -> None:
        """Write the end: completed, failed or interrupted, with the sentence that says why."""
        total = time.perf_counter() - self._start
        self.update(status=status, error=error, seconds={**self.record.seconds, "total": total})
        self.write()

    def write(self) -> None:
        """Replace run.json."""
        write_json(self.folder / NAME, self.record.to_json())


def now() -> str:
    """Return the time as run.json and sweep.json write it; later times sort after earlier ones."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
