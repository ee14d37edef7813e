"""Doors end with the exit code that they say, and only after what others started has ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
