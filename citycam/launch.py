"""Jobs handed to Hydra's launcher, and what is said where the launcher itself breaks down."""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from citycam import progress
from citycam.compose import register
from citycam.config import CONF
from citycam.processes import collect_rarely, end_with_parent


def task(composed: Any) -> str:
    """One job, called by Hydra's launcher with its composed configuration, here or in a process of the launcher's."""
    from hydra.core.hydra_config import HydraConfig

    from citycam.compose import hydra_record, to_config
    from citycam.jobs import run_job

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if multiprocessing.current_process().name != "MainProcess":
        _load()
        progress.speak_as(folder.name)
    return run_job(to_config(composed), folder, list(hydra.overrides.task), hydra_record(composed))


def run_hydra(arguments: Sequence[str]) -> None:
    """Hand a command line to Hydra, which calls `task` for each job, or prints what was asked for."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    register()
    sys.argv[1:] = arguments
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    GlobalHydra.instance().clear()


def warm_up(at_once: int) -> None:
    """Start the joblib launcher's processes and let them import what jobs need, while this process goes on preparing.

    joblib takes the same processes again for as many jobs at a time.
    """
    from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf
    from joblib import Parallel, delayed

    # Under other settings than the launcher's, joblib would start other processes. A batch of its own for each, or one
    # process would do them all.
    settings = {key: value for key, value in vars(JobLibLauncherConf()).items() if key != "_target_"}
    settings |= {"n_jobs": at_once, "backend": "loky", "batch_size": 1}

    def start() -> None:
        with contextlib.suppress(BrokenProcessPool):  # where one is killed already, the launcher starts it anew
            Parallel(**settings)(delayed(_load)() for _ in range(at_once))

    _warming.append(threading.Thread(target=start, name="warm up", daemon=True))
    _warming[-1].start()


_warming: list[threading.Thread] = []


def _load() -> None:
    """In a process of the launcher: what it is like, and what jobs import."""
    if "citycam.run" in sys.modules:
        return
    end_with_parent()
    collect_rarely()
    importlib.import_module("citycam.run")
    # joblib's processes look for garbage every second, which takes half of one among the million objects of torch.
    gc.freeze()


def launch(commands: Sequence[Sequence[str]], at_once: int) -> None:
    """Run the jobs of a request; whatever becomes of the launcher, what they did stands in their folders.

    Args:
        at_once: jobs at a time, for launchers that run several.
    """
    for thread in _warming:
        thread.join()
    for arguments in commands:
        try:
            with _whole_errors():
                run_hydra(_at_most(arguments, at_once))
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
def _whole_errors() -> Iterator[None]:
    """Hydra prints an error of its launcher and ends the process, unless it is told to let it through."""
    name = "HYDRA_FULL_ERROR"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
