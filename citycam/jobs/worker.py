"""Import what jobs need, in a launcher's process before its first job or in the server that it is forked from, and keep
the garbage collector off it: joblib's processes collect every second, which among torch's million objects takes half a
second."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from citycam.processes import collect_rarely

collect_rarely()

import citycam.train.run  # noqa: E402, F401

gc.freeze()

if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
    # Exit at once, since libraries print warnings at an orderly end. Forks exit by a way of their own.
    atexit.register(os._exit, 0)
