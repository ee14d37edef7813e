"""Processes of this machine: what all of ours are like, whether one still lives, and how one ends with its parent."""

from __future__ import annotations

import gc
import multiprocessing
import os
import platform
import threading
from pathlib import Path
from typing import Any

import citycam


def collect_rarely() -> None:
    """Loading torch makes a million objects that stay; looking through them for garbage again and again takes a
    second."""
    gc.set_threshold(200_000, 20, 20)


def environment(**more: str) -> dict[str, str]:
    """This process's environment and ``more``, for a child that is to find the package; ours stays as it is."""
    # train.py also runs where citycam is not installed, from its own folder.
    places = [str(Path(citycam.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))} | more


def is_gone(host: Any, pid: Any) -> bool:
    """Whether a process was of this machine and is no more; False where that cannot be known."""
    if host != platform.node() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and is another user's
        return False
    return False


def end_with_parent() -> None:
    """From here on this process of `multiprocessing` ends when the one that asked for it does, by whatever death: it
    trains nothing that nobody waits for, and lets go of what it holds. Asked for again, it does nothing."""
    parent, name = multiprocessing.parent_process(), "end with parent"

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    if not any(thread.name == name for thread in threading.enumerate()):
        threading.Thread(target=wait, name=name, daemon=True).start()


def end_with_input() -> None:
    """From here on this process ends when its standard input does, as it does when the one that holds the other end
    dies, by whatever death."""

    def wait() -> None:
        # Not through sys.stdin, whose lock a thread must not hold when the interpreter ends.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
