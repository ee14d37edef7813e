"""What every process that citycam starts has: its way to the package, and an end when the one that started it ends."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import citycam


def environment(**more: str) -> dict[str, str]:
    """This process's environment and ``more``, for a child; ours stays as it is."""
    # train.py also runs where citycam is not installed, from its own folder.
    places = [str(Path(citycam.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))} | more


def end_with_input() -> None:
    """From now on, end this process when its standard input ends, as it does when the parent dies, however it does."""

    def wait() -> None:
        # Not through sys.stdin, whose lock a thread must not hold when the interpreter ends.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
