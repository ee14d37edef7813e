"""Jobs handed to Hydra's launcher, and what is said where the launcher itself breaks down."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from citycam import progress
from citycam.jobs.job import run_job
from citycam.processes import end_with_parent, environment
from citycam.sweep.command import Command, hydra_order
from citycam.sweep.compose import CONF, hydra_record, register, to_config
from citycam.sweep.hydra_internals import reset_hydra


def task(composed: Any) -> str:
    """One job, called by Hydra's launcher with its composed configuration, here or in a process of the launcher's."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if multiprocessing.current_process().name != "MainProcess":
        importlib.import_module("citycam.jobs.worker")
        end_with_parent()
        progress.speak_as(folder.name)
    return run_job(to_config(composed), folder, list(hydra.overrides.task), hydra_record(composed))


def run_hydra(arguments: Sequence[str]) -> None:
    """Hand a command line to Hydra, which calls `task` for each job, or prints what was asked for."""
    import hydra

    register()
    sys.argv[1:] = hydra_order(arguments)
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    reset_hydra()


def warm_up() -> None:
    """Start the process from which the joblib launcher's are forked, and let it import what jobs need while this one
    goes on preparing. It computes nothing, so that forks of it are safe; a fork of this process would not be, once it
    has used its threads or a GPU. Elsewhere than on Linux, imported libraries may not survive a fork: there each
    process imports for itself."""
    if sys.platform != "linux":
        return
    from joblib.externals.loky.backend import context

    context.set_start_method("forkserver", force=True)
    multiprocessing.set_forkserver_preload(["citycam.jobs.worker"])
    with _changed_environment("PYTHONPATH", environment()["PYTHONPATH"]):
        forkserver.ensure_running()


def launch(commands: Sequence[Command], at_once: int) -> None:
    """Run the jobs of a request; whatever becomes of the launcher, what they did stands in their folders.

    Args:
        at_once: jobs at a time, for launchers that run several.
    """
    for command in commands:
        try:
            # Else Hydra prints an error of its launcher and ends the process.
            with _changed_environment("HYDRA_FULL_ERROR", "1"):
                run_hydra(_at_most(command.words, at_once))
        except Exception as error:  # jobs catch their own, so it is the launcher's: most often a worker that was killed
            if os.environ.get("CITYCAM_DEBUG") == "1":
                raise
            print(
                f"citycam: Hydra's launcher broke down ({_first_sentence(error)}) and lost the jobs that it ran; "
                "what was completed stands, and the same command goes on with the rest.",
                file=sys.stderr,
            )


def _at_most(arguments: Sequence[str], at_once: int) -> list[str]:
    if not any(item.startswith("hydra/launcher=joblib") for item in arguments):
        return list(arguments)
    return [
        *(item for item in arguments if not item.startswith("hydra.launcher.n_jobs=")),
        f"hydra.launcher.n_jobs={at_once}",
    ]


def _first_sentence(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0].rstrip('.')}" if text else type(error).__name__


@contextlib.contextmanager
def _changed_environment(name: str, value: str) -> Iterator[None]:
    """A variable for as long as the context lasts."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
