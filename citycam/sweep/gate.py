"""The light gate: a request's settings are checked before anything is imported that takes seconds, and before job 0.

Hydra alone starts the first jobs of a sweep whose last one cannot be (ranges are checked when a job begins), accepts
unknown keys behind ``+``, and turns a callback's exceptions into warnings. So every job is composed here, first.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.config import Config
from citycam.doors import called
from citycam.errors import CitycamError, near_matches
from citycam.sweep.command import Command, parse
from citycam.sweep.compose import CONF, groups, hydra_on_conf, register, to_config
from citycam.sweep.hydra_errors import explain_hydra_error
from citycam.sweep.hydra_internals import parse_overrides, split_sweep
from citycam.sweep.names import config_hash
from citycam.sweep.own_options import check_own_options
from citycam.sweep.resume import recorded_commands, refuse_other_settings

_FEW_JOBS = 32
# Flags with which Hydra prints something and trains nothing.
_QUESTIONS = ("help", "hydra_help", "cfg", "info", "shell_completion")


@dataclass(frozen=True)
class Job:
    """One run of a request: its overrides, settings and folder (which need not exist yet), and the folder of the user's
    own options that its overrides choose from."""

    overrides: tuple[str, ...]
    config: Config
    folder: Path
    hash: str
    config_dir: Path | None = None


@dataclass(frozen=True)
class Request:
    """The jobs of a command line, in order, and the folder that all of them share.

    ``commands``: for Hydra; several where a sweep is resumed that several commands have made.
    ``at_once``: jobs that Hydra's launcher is to run at a time; None for as many as the machine has room for.
    """

    jobs: tuple[Job, ...]
    sweep_folder: Path
    commands: tuple[Command, ...]
    at_once: int | None
    resumed: bool


def read_request(arguments: Sequence[str]) -> Request | None:
    """Compose and check every job of a command line; None where it only asks Hydra for help or its configuration.

    Raises:
        CitycamError: one sentence on the first setting that cannot be, with near matches.
    """
    parsed = parse(arguments)
    _check_flags(parsed)
    given = Command(tuple(map(_quoted, parsed.overrides)), parsed.multirun, parsed.config_dir)
    if any(getattr(parsed, flag) for flag in _QUESTIONS):
        if given.config_dir is not None:
            check_own_options(given.config_dir)
        return None
    register()
    resumed = _resumed(given.overrides)
    if resumed is not None:
        others = [item for item in given.overrides if not item.startswith("sweep.resume=")]
        commands = recorded_commands(resumed, others, given.config_dir)
    else:
        commands = [_named(given)]
    composed = [_compose_all(command) for command in commands]
    jobs = {job.folder: job for some in composed for job in some.jobs}
    if resumed is not None:
        refuse_other_settings(resumed, [(job.overrides, job.config, job.hash) for job in jobs.values()])
    return Request(
        tuple(jobs.values()), composed[-1].sweep_folder, tuple(commands), composed[-1].at_once, resumed is not None
    )


def _check_flags(parsed: argparse.Namespace) -> None:
    """Refuse those flags of Hydra that would replace conf/, and those that Hydra answers with a traceback."""
    for flag in ("config_path", "config_name", "experimental_rerun"):
        if getattr(parsed, flag) is not None:
            raise CitycamError(f"--{flag.replace('_', '-')} is no option; --config-dir FOLDER adds options of yours.")
    questions = [f"--{flag}".replace("_", "-") for flag in ("cfg", "info", "shell_completion") if getattr(parsed, flag)]
    if parsed.multirun and questions:
        raise CitycamError(f"{questions[0]} is about one run; leave out -m.")
    if (parsed.resolve or parsed.package) and not parsed.cfg:
        raise CitycamError(f"--resolve and --package go with --cfg; see {called('train')} --hydra-help.")


def _named(command: Command) -> Command:
    """The same command, with date and time for its name where it has none."""
    if any(item.lstrip("+").startswith("sweep.name=") for item in command.overrides):
        return command
    name = f"sweep.name={datetime.datetime.now().strftime('%Y-%m-%d_%H-%M-%S')}"
    return dataclasses.replace(command, overrides=(*command.overrides, name))


def _resumed(overrides: Sequence[str]) -> Path | None:
    """The folder of ``sweep.resume``, where it is given."""
    value = next((item.partition("=")[2] for item in overrides if item.startswith("sweep.resume=")), "null")
    return None if value == "null" else Path(value.strip("'\"")).expanduser().absolute()


def _quoted(override: str) -> str:
    """Hydra takes the bare word true for a truth value; as the name of a target it must be quoted."""
    key, _, value = override.partition("=")
    if key.lstrip("+") != "explain.target":
        return override
    return f"{key}=" + ",".join("'true'" if word.strip() == "true" else word for word in value.split(","))


@dataclass(frozen=True)
class _Composed:
    """One command, composed."""

    jobs: list[Job]
    sweep_folder: Path
    at_once: int | None


def _compose_all(command: Command) -> _Composed:
    """Compose the jobs of one command; Hydra's and OmegaConf's own errors become sentences."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if command.config_dir is not None:
        check_own_options(command.config_dir)
    try:
        with hydra_on_conf(command.config_dir):
            composed = [_job(list(overrides), command) for overrides in _batches(command)]
    except (HydraException, OmegaConfBaseException) as error:
        raise CitycamError(explain_hydra_error(error, command.config_dir)) from error
    jobs = [job for one in composed for job in one.jobs]
    _refuse_twins(jobs)
    return _Composed(jobs, composed[-1].sweep_folder, composed[-1].at_once)


def _batches(command: Command) -> list[list[str]]:
    """The overrides of each job."""
    from hydra import compose

    parsed = parse_overrides(command.overrides)
    swept = [item for item in parsed if item.is_sweep_override()]
    if swept and not command.multirun:
        line = swept[0].input_line
        raise CitycamError(f"{line} gives several values; add -m to train a run with each: {called('train')} -m {line}")
    for item in parsed:
        _check_key(item)
    plain = [str(item.input_line) for item in parsed if not item.is_sweep_override()]
    for item in swept:
        if not item.is_discrete_sweep():
            raise CitycamError(f"{item.input_line} is no list of values; write {item.get_key_element()}=A,B,C.")
    batches = split_sweep(parsed) if command.multirun else [plain]
    if len(batches) > _FEW_JOBS:  # a mistake in one of many values is found before thousands of jobs are composed
        for item in swept:
            for value in item.sweep_string_iterator():
                compose("config", overrides=[*plain, f"{item.get_key_element()}={value}"])
    return batches


def _job(overrides: list[str], command: Command) -> _Composed:
    from hydra import compose
    from omegaconf import OmegaConf, open_dict

    composed = compose("config", overrides=overrides, return_hydra_config=True)
    config = to_config(composed)
    task = [item for item in overrides if not item.lstrip("+~").startswith(("hydra.", "hydra/"))]
    _check_random(config, task)
    with open_dict(composed):
        OmegaConf.update(composed, "hydra.overrides.task", task)
    if command.multirun:
        sweep_folder = Path(composed.hydra.sweep.dir).absolute()
        folder = sweep_folder / str(composed.hydra.sweep.subdir)
    else:
        folder = Path(composed.hydra.run.dir).absolute()
        sweep_folder = folder.parent
    at_once = _at_once(composed.hydra.launcher, config) if command.multirun else 1
    job = Job(tuple(task), config, folder, config_hash(config), command.config_dir)
    return _Composed([job], sweep_folder, at_once)


def _check_random(config: Config, task: Sequence[str]) -> None:
    """Refuse to name a part that trains where weights are random; the default ``none`` is nobody's wish.

    Raises:
        CitycamError: it is named.
    """
    part = config.backbone.finetune
    named = any(item.lstrip("+").startswith("backbone.finetune=") for item in task)
    if config.backbone.weights == "random" and part != "all" and (named or part != "none"):
        raise CitycamError(
            f"backbone.finetune={part} keeps random weights as they are, but backbone.weights=random trains every "
            "layer; leave one of the two out, or write backbone.finetune=all."
        )


def _at_once(launcher: Any, config: Config) -> int | None:
    """How many jobs the launcher is to run at a time; None for as many as there is room for.

    Raises:
        CitycamError: that cannot be.
    """
    if "n_jobs" not in launcher:
        return 1
    if launcher.n_jobs == 0:
        raise CitycamError("hydra.launcher.n_jobs=0 would run nothing; give the number of jobs at a time, or -1.")
    if config.trainer.devices > 1:
        raise CitycamError(
            f"trainer.devices={config.trainer.devices} gives one model several devices, and hydra/launcher=joblib "
            "several models one each; leave out hydra/launcher=joblib, and the jobs run one after the other, each on "
            f"{config.trainer.devices} devices."
        )
    return int(launcher.n_jobs) if launcher.n_jobs > 0 else None


def _refuse_twins(jobs: list[Job]) -> None:
    seen: dict[Path, Job] = {}
    for job in jobs:
        other = seen.setdefault(job.folder, job)
        if other is not job and other.hash != job.hash:
            raise CitycamError(
                f"{' '.join(other.overrides)} and {' '.join(job.overrides)} would both write to {job.folder}; "
                "leave hydra.sweep.subdir as it is."
            )


def _check_key(override: Any) -> None:
    """Name a mistyped key with near matches, before Hydra advises to append it."""
    from omegaconf import DictConfig, OmegaConf

    key = override.key_or_group
    if override.is_delete() and not key.startswith("hydra"):
        raise CitycamError(
            f"~{key} would leave out a setting that every run needs; give it another value: {key}=VALUE."
        )
    if key == "hydra.searchpath":
        raise CitycamError("hydra.searchpath is not taken; --config-dir FOLDER adds options of yours.")
    if key.startswith("hydra") or "/" in key:
        return
    composed = _defaults()
    top, *rest = key.split(".")
    known = [*composed, "experiment"]
    if top not in known:
        raise CitycamError(f"{top} is no setting of citycam; {near_matches(top, known)}")
    if rest:
        # Which keys a group has depends on the option chosen; any option's key is let through here and judged composed.
        names = set(composed[top]) if isinstance(composed.get(top), DictConfig) else set()
        for option in (CONF / top).glob("*.yaml"):
            names |= set(OmegaConf.load(option)) - {"defaults"}
        if rest[0] not in names:
            raise CitycamError(f"{key} is no setting of citycam; {near_matches(rest[0], names)}")
    if override.is_add() or (override.is_force_add() and key in groups()):
        line = str(override.input_line)
        raise CitycamError(f"{line} would add what every run has already; write {line.lstrip('+')}.")


@functools.cache
def _defaults() -> Any:
    from hydra import compose

    return compose("config")
