"""Processes of this machine: what all of ours are like, whether one still lives, and how one ends with its parent."""

from __future__ import annotations

import gc
import os
import platform
import threading
import time
from typing import Any

_LOOK_SECONDS = 0.5


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
    """From here on this process ends when its parent does, by whatever death, so that it trains nothing that nobody
    waits for, and lets go of what it holds. Asked for again, it does nothing."""
    parent, name = os.getppid(), "end with parent"

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        os._exit(1)

    if not any(thread.name == name for thread in threading.enumerate()):
        threading.Thread(target=look, name=name, daemon=True).start()
