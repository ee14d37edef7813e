"""Doors end with the exit code that they say, and only after what others started has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from citycam.doors import door
from tests.conftest import ROOT

# A pool of processes with an idle worker, as launchers of several jobs leave them behind.
CHILD = """
from citycam.doors import leave
import atexit
from concurrent.futures import ProcessPoolExecutor

def work():
    return 1

if __name__ == "__main__":
    atexit.register(print, "seen to")
    pool = ProcessPoolExecutor(1)
    assert pool.submit(work).result() == 1
    leave({code})
"""


@pytest.mark.parametrize("code", [0, 3])
def test_leaving_sees_to_what_others_started(code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CHILD.format(code=code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "seen to\n", "")


def test_a_reader_that_has_seen_enough_is_no_traceback() -> None:
    code = (
        "from citycam.doors import door, leave\n"
        "@door\n"
        "def main():\n    for _ in range(100_000): print('x' * 50)\n    return 0\n"
        "leave(main())"
    )
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr.read() == ""
        assert writer.wait() == 141


def test_names_that_a_terminal_cannot_show_are_no_traceback() -> None:
    code = (
        "from citycam.doors import door, leave\n"
        "@door\n"
        "def main():\n    print('caf\\udce9 é')\n    return 0\n"
        "leave(main())"
    )
    for encoding, shown in (("utf-8", "caf\\udce9 é\n"), ("ascii", "caf\\udce9 \\xe9\n")):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
        assert ended.stdout.decode(encoding) == shown


@pytest.mark.parametrize("program", ["train.py", "explain.py"])
def test_a_python_without_the_environment_is_told_how_to_make_it(program: str, tmp_path: Path) -> None:
    for name in (program, "citycam", "conf"):
        (tmp_path / name).symlink_to(ROOT / name)
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CITYCAM_DEBUG")}

    def run() -> tuple[int, str]:
        words = [sys.executable, "-S", program, "epochs=1"]  # -S: nothing but Python's own library
        ended = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stderr

    code, said = run()
    assert (code, said.count("\n")) == (2, 1)
    assert "is not installed for " in said
    assert "make venv makes an environment with it" in said
    assert said.endswith(f"run .venv/bin/python {program}.\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    assert "make venv" not in run()[1]


def test_a_library_that_is_missing_later_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/citycam"])

    @door
    def main() -> int:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    assert main() == 2
    assert capsys.readouterr().err.startswith("citycam: torch is not installed for ")


def test_an_older_python_is_one_sentence() -> None:
    code = "import sys; sys.hexversion = 0x030A0000; import citycam"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert ended.stderr.endswith("and citycam needs 3.11 or newer.\n")
