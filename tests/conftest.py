"""What holds for every test: one thread per process, no network."""

from __future__ import annotations

import os

# Before anything imports torch. Tests run side by side, and threads would fight over the same cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
