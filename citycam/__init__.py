"""Can a network tell my city from the others, and by what?"""

import sys

if sys.hexversion < 0x030B0000:  # said here, before other files need what older versions lack
    print(f"citycam: this is Python {sys.version.split()[0]}, and citycam needs 3.11 or newer.", file=sys.stderr)
    sys.exit(2)

from importlib import import_module
from typing import Any

# What notebooks need; it lies in `citycam.frames`, which takes time to import.
__all__ = ["read_answers", "read_elements", "read_epochs", "read_maps", "read_runs", "read_scores"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("citycam.frames"), name)
