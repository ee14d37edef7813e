"""Imported by a process of a launcher before its first job, and by the one that they are forked from: everything that
jobs import, and a collector of garbage that leaves it alone (joblib's processes ask for a whole collection every
second, which takes half of one among the million objects of torch)."""

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
    # Its forks leave by a way of their own. Taken apart at its end, libraries complain at length of what is left.
    atexit.register(os._exit, 0)
