"""What every door does the same: one sentence for a person's mistake, exit codes, tracebacks only when asked for."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

from citycam.errors import CitycamError


def door(main: Callable[[], int]) -> Callable[[], int]:
    """Turn a `CitycamError` into its sentence on stderr and its exit code, and Ctrl-C into 130.

    ``CITYCAM_DEBUG=1`` lets exceptions through with their tracebacks.
    """

    @functools.wraps(main)
    def guarded() -> int:
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

    return guarded
