"""Processes of this machine: what all of ours are like, whether one still lives, and how one ends with its parent."""

from __future__ import annotations

import gc
import multiprocessing
import os
import platform
import threading
from typing import Any


def collect_rarely() -> None:
    """Loading torch makes a million objects that stay; looking through them for garbage again and again takes a
    second."""
    gc.set_threshold(200_000, 20, 20)


def is_gone(record: dict[str, Any]) -> bool:
    """Whether the process that a record names by ``host`` and ``pid`` was of this machine and is no more."""
    pid = record.get("pid")
    if record.get("host") != platform.node() or not isinstance(pid, int):
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
