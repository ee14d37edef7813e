"""Hand the jobs of a request to Hydra's launcher, and report it when the launcher itself fails."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from citycam import progress
from citycam.jobs.job import run_job
from citycam.jobs.joblib_launcher import limit_jobs
from citycam.processes import changed_environment, end_with_parent, sigterm_like_ctrl_c
from citycam.sweep.command import Command, hydra_order, parse
from citycam.sweep.compose import CONF, help_text, hydra_record, register, to_config
from citycam.sweep.hydra_internals import jobs_are_checked, reset_hydra


def task(composed: Any) -> str:
    """Run one job; Hydra's launcher calls this with the composed configuration, here or in a process of its own."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    os.chdir(hydra.runtime.cwd)  # paths start where the command was given; hydra.job.chdir has moved this process
    if multiprocessing.current_process().name != "MainProcess":
        importlib.import_module("citycam.jobs.worker")
        end_with_parent()
        progress.report_as(folder.name)
    with sigterm_like_ctrl_c():
        return run_job(to_config(composed), folder, list(hydra.overrides.task), hydra_record(composed))


def answer(arguments: Sequence[str]) -> None:
    """Print what a command line only asks for: the help, or what Hydra prints of the settings."""
    parsed = parse(arguments)
    if parsed.help:  # Hydra prints the same, after it has listed all groups twice, which takes a second
        print(help_text(parsed.config_dir))
    else:
        run_hydra(arguments)


def run_hydra(arguments: Sequence[str]) -> None:
    """Hand a command line to Hydra, which calls `task` for each job, or prints settings."""
    import hydra

    register()
    sys.argv[1:] = hydra_order(arguments)
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    reset_hydra()


def launch(commands: Sequence[Command], at_once: int) -> None:
    """Run the jobs of a request. Results are in their folders, also when the launcher fails.

    Args:
        at_once: jobs at a time, for launchers that run several.
    """
    for command in commands:
        try:
            # Without it Hydra prints an error of its launcher and ends the process.
            with changed_environment("HYDRA_FULL_ERROR", "1"), jobs_are_checked():
                run_hydra(limit_jobs(command.words, at_once))
        except Exception as error:  # jobs catch theirs, so it is the launcher's: most often a process was killed
            if os.environ.get("CITYCAM_DEBUG") == "1":
                raise
            print(
                f"citycam: Hydra's launcher failed ({_first_sentence(error)}) and lost the jobs that it was running; "
                "completed runs are kept: run the same command again for the rest.",
                file=sys.stderr,
            )


def _first_sentence(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0].rstrip('.')}" if text else type(error).__name__
