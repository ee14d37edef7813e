"""Imported by a process of a launcher before its first job: everything that jobs import, and a collector of garbage
that leaves it alone (joblib's processes ask for a whole collection every second, which takes half of one among the
million objects of torch)."""

from __future__ import annotations

import gc

from citycam.processes import collect_rarely

collect_rarely()

import citycam.run  # noqa: E402, F401

gc.freeze()
