"""Lines now and then in a file, a bar on a terminal."""

from __future__ import annotations

import os
import pty
import sys

import pytest

from citycam import progress


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_work_whose_total_is_learnt_on_the_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    with progress.counted("towns") as tell:
        for done in (0, 3, 8):
            tell(done, 8)
            clock.now += 1
    assert capsys.readouterr().err == "towns: 8 of 8 pictures (100%), 2.67 pictures/s, took 3 s\n"


def _lines(total: int, steps: list[tuple[float, int]]) -> list[str]:
    clock, written = _Clock(), list[str]()
    lines = progress.Lines("bank", total, "pictures", written.append, clock)
    for seconds, done in steps:
        clock.now += seconds
        lines.advance(done)
    lines.close()
    return written


def test_nothing_is_said_about_short_work() -> None:
    assert _lines(10, [(0.05, 1)] * 10) == []


def test_a_line_every_ten_seconds_and_one_at_the_end() -> None:
    assert _lines(100, [(4.0, 10)] * 10) == [
        "bank: 30 of 100 pictures (30%), 2.5 pictures/s, 28 s left",
        "bank: 60 of 100 pictures (60%), 2.5 pictures/s, 16 s left",
        "bank: 90 of 100 pictures (90%), 2.5 pictures/s, 4 s left",
        "bank: 100 of 100 pictures (100%), 2.5 pictures/s, took 40 s",
    ]


def test_nothing_to_do_and_nothing_done_yet() -> None:
    assert _lines(0, [(2.0, 0)]) == ["bank: 0 of 0 pictures, 0 pictures/s, took 2 s"]
    assert _lines(5, [(11.0, 0)])[0] == "bank: 0 of 5 pictures (0%), 0 pictures/s"


def test_work_that_fails_still_ends_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)

    def work() -> None:
        with progress.bar("maps", 4) as advance:
            advance(1)
            clock.now += 3
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        work()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "maps: 1 of 4 pictures (25%), 0.333 pictures/s, took 3 s\n"


_NESTED = """
from citycam import progress
with progress.bar("training", 2, unit="epochs") as epoch:
    for _ in range(2):
        with progress.bar("bank", 8) as advance:
            advance(8)
        epoch(1)
print("after", progress._live)
"""


def test_bars_may_be_nested_on_a_terminal() -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execve(sys.executable, [sys.executable, "-c", _NESTED], {**os.environ, "TERM": "xterm", "COLUMNS": "120"})
    text = b""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # Linux ends a terminal so.
            break
        if not chunk:
            break
        text += chunk
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    shown = text.decode()
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert "training" in shown
    assert "2/2" in shown
    assert "epochs" in shown
    assert "after None" in shown
    # What stays on the screen is the outer bar alone.
    assert "bank" not in shown.rpartition("\x1b[2K")[2]
