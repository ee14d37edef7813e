"""What every door does the same: one sentence for a person's mistake, exit codes, tracebacks only when asked for."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from citycam.errors import CitycamError
from citycam.processes import collect_rarely


def door(main: Callable[[], int]) -> Callable[[], int]:
    """Turn a `CitycamError` into its sentence on stderr and its exit code, and Ctrl-C into 130.

    ``CITYCAM_DEBUG=1`` lets exceptions through with their tracebacks.
    """

    @functools.wraps(main)
    def guarded() -> int:
        """As ``main``, which gives the exit code."""
        collect_rarely()
        try:
            return main()
        except CitycamError as error:
            if os.environ.get("CITYCAM_DEBUG") == "1":
                raise
            print(f"citycam: {error}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            print("citycam: stopped; the same command goes on.", file=sys.stderr)
            return 130
        except BrokenPipeError:  # who read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE

    return guarded


def leave(code: int) -> NoReturn:
    """End the process with ``code``, as ``sys.exit`` does, but without taking everything apart at the end, which takes
    two seconds once torch was loaded. ``CITYCAM_DEBUG=1`` ends it the usual way."""
    if os.environ.get("CITYCAM_DEBUG") != "1":
        _leaving.append(code)
    sys.exit(code)


# What is registered first runs last: after the threads, processes and files of others were seen to.
_leaving: list[int] = []


@atexit.register
def _end() -> None:
    if _leaving:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.flush()
        os._exit(_leaving[0])
