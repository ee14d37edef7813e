"""The progress of a piece of work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from citycam.words import duration, say

if TYPE_CHECKING:
    from rich.progress import Progress

Advance = Callable[[int], None]

# Seconds between plain lines, and seconds below which work is not worth a line.
_EVERY, _WORTH = 10.0, 1.0

# The name of this process where several report to one place; live bars would overwrite each other there.
_name: str | None = None

# The live display of this process and the number of its users; rich allows no second one.
_live: tuple[Progress, int] | None = None


@contextlib.contextmanager
def bar(what: str, total: int, *, unit: str = "pictures") -> Iterator[Advance]:
    """Show the progress of ``what`` on stderr, with its rate and the time left; bars may be nested.

    On a terminal it is a live bar. Elsewhere it is a line every 10 seconds and one at the end, and nothing for work
    that takes less than a second.

    Args:
        what: a word or two, for example ``bank``.
        total: number of pieces; 0 where there is nothing to do.
        unit: the name of the pieces.

    Yields:
        ``advance(n)``, to be called when ``n`` more pieces are done.
    """
    if _name is not None:
        what = f"{_name}: {what}"
    live = sys.stderr.isatty() and _name is None
    with _rich_bar(what, total, unit) if live else _lines(what, total, unit) as advance:
        yield advance


def report_as(name: str) -> None:
    """Report progress as one of several processes: by plain lines that begin with ``name``."""
    global _name
    _name = name


@contextlib.contextmanager
def counted(what: str, *, unit: str = "pictures") -> Iterator[Callable[[int, int], None]]:
    """Show a `bar` for work whose total is known only after it started; yields a function of (done, total)."""
    with contextlib.ExitStack() as stack:
        advance: Advance | None = None
        shown = 0

        def show(done: int, total: int) -> None:
            nonlocal advance, shown
            if advance is None:
                advance = stack.enter_context(bar(what, total, unit=unit))
            advance(done - shown)
            shown = done

        yield show


class Lines:
    """The plain lines of one piece of work, given to ``write`` by its count and ``clock`` (seconds)."""

    def __init__(
        self, what: str, total: int, unit: str, write: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self._write, self._clock = write, clock
        self._start = self._last = clock()

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more pieces; write a line if the last one is at least 10 seconds old."""
        self.done += n
        now = self._clock()
        if now - self._last >= _EVERY and self.done < self.total:
            self._last = now
            seconds = now - self._start
            left = seconds / self.done * (self.total - self.done) if self.done else None
            rest = "" if left is None else f", {duration(left)} left"
            self._write(f"{self._so_far(seconds)}{rest}")

    def close(self) -> None:
        """Write the last line, for work that took a second or more."""
        seconds = self._clock() - self._start
        if seconds >= _WORTH:
            self._write(f"{self._so_far(seconds)}, took {duration(seconds)}")

    def _so_far(self, seconds: float) -> str:
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        rate = f", {self.done / seconds:.3g} {self.unit}/s" if seconds > 0 else ""
        return f"{self.what}: {self.done} of {self.total} {self.unit}{share}{rate}"


@contextlib.contextmanager
def _lines(what: str, total: int, unit: str) -> Iterator[Advance]:
    lines = Lines(what, total, unit, say, time.monotonic)
    try:
        yield lines.advance
    finally:
        lines.close()


@contextlib.contextmanager
def _rich_bar(what: str, total: int, unit: str) -> Iterator[Advance]:
    global _live
    progress, users = _live or (_new_progress(), 0)
    if users == 0:
        progress.start()
    _live = (progress, users + 1)
    task = progress.add_task(what, total=total, unit=unit)

    def advance(n: int = 1) -> None:
        progress.advance(task, n)

    try:
        yield advance
    finally:
        if users:
            progress.remove_task(task)
            _live = (progress, users)
        else:
            progress.stop()
            _live = None


def _new_progress() -> Progress:
    from rich import progress as columns
    from rich.console import Console
    from rich.text import Text

    class Rate(columns.ProgressColumn):
        def render(self, task: columns.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(task.fields["unit"] if speed is None else f"{task.fields['unit']}, {speed:.3g}/s")

    return columns.Progress(
        columns.TextColumn("{task.description}"),
        columns.BarColumn(),
        columns.MofNCompleteColumn(),
        Rate(),
        columns.TimeElapsedColumn(),
        columns.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
