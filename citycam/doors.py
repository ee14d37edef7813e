"""What all doors share: one sentence for a person's mistake, exit codes, tracebacks only where they are wanted."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from citycam.errors import CitycamError
from citycam.processes import Terminated, collect_rarely, sigterm_like_ctrl_c

# The doors of a checkout.
_CHECKOUT = ("train.py", "explain.py")


def called(name: str) -> str:
    """Return how a door is called here: ``python train.py`` from the files of a checkout, else ``citycam train``."""
    return f"python {name}.py" if Path(sys.argv[0]).name in _CHECKOUT else f"citycam {name}"


def as_called(text: str) -> str:
    """Return text with commands from run.json, ``python train.py …``, as they are called here."""
    return text.replace("python train.py", called("train"))


@contextlib.contextmanager
def needs_environment() -> Iterator[None]:
    """End the process with one sentence if a library that is imported here is not installed for this Python."""
    try:
        yield
    except ModuleNotFoundError as error:
        if _is_ours(error):
            raise
        print(f"citycam: {_not_installed(error)}", file=sys.stderr)
        sys.exit(2)


def _is_ours(error: ModuleNotFoundError) -> bool:
    return os.environ.get("CITYCAM_DEBUG") == "1" or str(error.name).partition(".")[0] == "citycam"


def _not_installed(error: ModuleNotFoundError) -> str:
    """The sentence for a missing library: most often an environment was not made, or another Python was called."""
    program = Path(sys.argv[0])
    if program.name not in _CHECKOUT:
        return f"{error.name} is not installed for {sys.executable}; install citycam again, which brings it."
    there = (program.parent / ".venv" / "bin" / "python").exists()
    way = "" if there else "make venv makes an environment with it (docs/install.md says how without make and CUDA); "
    return f"{error.name} is not installed for {sys.executable}; {way}run .venv/bin/python {program.name}."


def door(main: Callable[[], int]) -> Callable[[], int]:
    """Turn a `CitycamError` into its sentence on stderr and its exit code, Ctrl-C into 130, and SIGTERM into 143.

    ``CITYCAM_DEBUG=1`` lets exceptions through with their tracebacks.
    """

    @functools.wraps(main)
    def guarded() -> int:
        """Call ``main`` and return its exit code, or that of what it raised."""
        collect_rarely()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # for names of files that the terminal cannot show
        try:
            with sigterm_like_ctrl_c():
                return main()
        except CitycamError as error:
            if os.environ.get("CITYCAM_DEBUG") == "1":
                raise
            print(f"citycam: {error}", file=sys.stderr)
            return error.exit_code
        except ModuleNotFoundError as error:
            if _is_ours(error):
                raise
            print(f"citycam: {_not_installed(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as error:
            print("citycam: stopped; run the same command again to resume.", file=sys.stderr)
            return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
        except BrokenPipeError:  # the reader of our output has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE

    return guarded


def leave(code: int) -> NoReturn:
    """Exit with ``code``, as ``sys.exit`` does, but skip the interpreter's clean-up, which takes two seconds once torch
    is loaded. ``CITYCAM_DEBUG=1`` does not skip it."""
    if os.environ.get("CITYCAM_DEBUG") != "1":
        _leaving.append(code)
    sys.exit(code)


# What is registered first runs last: after the threads, processes and files of other libraries are closed.
_leaving: list[int] = []


@atexit.register
def _end() -> None:
    if _leaving:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.flush()
        os._exit(_leaving[0])
