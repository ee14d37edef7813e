"""What only ``hydra/launcher=joblib`` needs: the server that its processes are forked from, and its number of jobs."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from multiprocessing import forkserver

from citycam.processes import changed_environment, environment


def start_fork_server() -> None:
    """Start the process that joblib's are forked from, which imports what jobs need while this one prepares.

    It computes nothing, so that forks of it are safe. A fork of this process would not be, once it has used threads or
    a GPU. On other systems than Linux imported libraries may not survive a fork: there each process imports for itself.
    """
    if sys.platform != "linux":
        return
    from joblib.externals.loky.backend import context

    context.set_start_method("forkserver", force=True)
    multiprocessing.set_forkserver_preload(["citycam.jobs.worker"])
    with changed_environment("PYTHONPATH", environment()["PYTHONPATH"]):
        forkserver.ensure_running()


def limit_jobs(arguments: Sequence[str], at_once: int) -> list[str]:
    """Return a command line by which joblib runs ``at_once`` jobs at a time; one of another launcher as it is."""
    if not any(item.startswith("hydra/launcher=joblib") for item in arguments):
        return list(arguments)
    others = [item for item in arguments if not item.startswith("hydra.launcher.n_jobs=")]
    return [*others, f"hydra.launcher.n_jobs={at_once}"]
