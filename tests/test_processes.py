"""A child ends with its context and with its parent; what a process remembers is forgotten in one call."""

from __future__ import annotations

import contextlib
import os
import platform
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from citycam.processes import Child, forget, is_gone, remember
from tests.conftest import ROOT

# A module that a child runs: says its process, then does what its command line says.
MODULE = """
import os, signal, sys
sys.path.insert(0, {root!r})
from citycam.processes import end_with_input
end_with_input()
print(os.getpid(), file=open({pid!r}, "w"), flush=True)
os.rename({pid!r}, {pid!r} + ".whole")
exec(sys.argv[1])
"""
PARENT = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from citycam.processes import Child
with Child("work", "signal.pause()", log=Path("log")) as child:
    while not Path("pid.whole").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, where children find the module ``work``."""
    (tmp_path / "work.py").write_text(MODULE.format(root=str(ROOT), pid=str(tmp_path / "pid")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_child_is_killed_when_its_context_is_left(place: Path) -> None:
    child = Child("work", "signal.pause()", log=place / "log")
    with pytest.raises(KeyboardInterrupt), child:
        raise KeyboardInterrupt
    assert child.code == -signal.SIGKILL


@pytest.mark.parametrize(
    ("does", "code", "sentence"),
    [
        ("pass", 0, None),
        ("sys.exit(3)", 3, "exit code 3"),
        ("sys.exit('noise\\ncitycam: There is no file x.\\n ')", 1, "There is no file x"),
        ("raise KeyError('roof')", 1, "KeyError: 'roof'"),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, "killed by SIGTERM"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, "killed by SIGKILL, as when memory runs out"),
    ],
)
def test_a_childs_failure_is_told_by_its_log_or_its_code(
    does: str, code: int, sentence: str | None, place: Path
) -> None:
    with Child("work", does, log=place / "log") as child:
        assert child.wait() == code
        assert sentence is None or child.failure() == sentence


@pytest.mark.usefixtures("place")
def test_a_child_without_a_log_speaks_to_the_person_and_has_our_environment_and_more(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Child("work", "sys.exit(os.environ['RANK'] + os.environ['OMP_NUM_THREADS'])", RANK="7") as child:
        assert child.wait() == 1
        assert child.failure() == "exit code 1"
    assert capfd.readouterr().err.strip() == "7" + os.environ["OMP_NUM_THREADS"]
    assert "RANK" not in os.environ


def test_ctrl_c_does_not_reach_a_child(place: Path) -> None:
    with Child("work", "sys.exit(0 if os.getsid(0) == os.getpid() else 5)", log=place / "log") as child:
        assert child.wait() == 0


def test_a_child_ends_with_its_parent(place: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", PARENT.format(root=str(ROOT))], check=False)
    assert ended.returncode == -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        waiting = os.pidfd_open(int((place / "pid.whole").read_text()))
        assert select.select([waiting], [], [], 60)[0], "the child is still there"


def test_a_process_that_cannot_be_known_is_not_gone() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_gone(platform.node(), ended.pid)
    assert not is_gone("another host", ended.pid)
    assert not is_gone(platform.node(), os.getpid())
    assert not is_gone(platform.node(), "12")


def test_what_is_remembered_is_forgotten_on_a_device_alone_or_all_together() -> None:
    calls: list[str] = []

    @remember(2)
    def read(name: str) -> str:
        calls.append(name)
        return name.upper()

    @remember(1, on_device=True)
    def load(name: str) -> str:
        calls.append(name)
        return name.upper()

    assert [read("a"), read("a"), load("b"), load("b")] == ["A", "A", "B", "B"]
    assert calls == ["a", "b"]
    forget(on_device=True)
    assert [read("a"), load("b")] == ["A", "B"]
    assert calls == ["a", "b", "b"]
    forget()
    assert [read("a"), load("b")] == ["A", "B"]
    assert calls == ["a", "b", "b", "a", "b"]
    assert [load("c"), load("b")] == ["C", "B"]  # only the latest is kept
    assert calls[5:] == ["c", "b"]
