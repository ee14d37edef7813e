"""The light gate: a request's settings are checked before anything is imported that takes seconds, and before job 0.

Hydra alone starts the first jobs of a sweep whose last one cannot be (ranges are checked when a job begins), accepts
unknown keys behind ``+``, and turns a callback's exceptions into warnings. So every job is composed here, first.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.config import Config, Partition
from citycam.doors import called
from citycam.errors import CitycamError
from citycam.files import at_home, to_dict
from citycam.study_config import StudyRuns
from citycam.sweep.command import Command, override_key, parse
from citycam.sweep.compose import groups, hydra_on_conf, register, to_config
from citycam.sweep.hydra_errors import explain_hydra_error
from citycam.sweep.hydra_internals import Composition, count_jobs, parse_override, parse_overrides, split_sweep
from citycam.sweep.keys import check_key, is_any_text
from citycam.sweep.maps import explain_line, other_maps
from citycam.sweep.names import config_hash
from citycam.sweep.own_options import check_own_options
from citycam.sweep.quoting import as_one_value, value_of
from citycam.sweep.resume import recorded_commands, refuse_other_settings
from citycam.words import counted, say

# From so many jobs on, their check takes seconds.
_MANY_JOBS, _MOST_JOBS = 200, 10_000
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
    given = Command(tuple(parsed.overrides), parsed.multirun, parsed.config_dir)
    if any(getattr(parsed, flag) for flag in _QUESTIONS):
        if given.config_dir is not None:
            check_own_options(given.config_dir)
        # Hydra composes them to answer, and refuses several values at length.
        for item in map(parse_override, given.overrides):
            if item is not None and item.is_sweep_override():
                _check_swept(item, given)
        return None
    register()
    resumed = _resumed(given.overrides)
    if resumed is not None:
        others = [item for item in given.overrides if override_key(item) != "sweep.resume"]
        commands = recorded_commands(resumed, others, given.config_dir)
    else:
        commands = [_named(given)]
    composed = [_compose_all(command) for command in commands]
    if any(job.config.sweep.resume is not None for some in composed for job in some.jobs):
        raise CitycamError("sweep.resume is taken from the command line only; write sweep.resume=FOLDER there.")
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
    """The folder of ``sweep.resume``, where it is given; as for Hydra, the last one counts, with ``+`` or without."""
    value = value_of(overrides, "sweep.resume")
    return None if value in (None, "null") else at_home(str(value)).absolute()


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
            batches, composition = _batches(command), Composition(groups())
            if len(batches) >= _MANY_JOBS:
                say(f"citycam: checking the settings of {counted(len(batches), 'run')}")
            composed = [_job(composition.job(overrides), command) for overrides in batches]
    except (HydraException, OmegaConfBaseException) as error:
        raise CitycamError(explain_hydra_error(error, command.config_dir)) from error
    jobs = [job for one in composed for job in one.jobs]
    _refuse_twins(jobs)
    _refuse_sweeps_of_one_run(command, jobs, composed[-1].sweep_folder)
    _check_study(command, jobs)
    return _Composed(jobs, composed[-1].sweep_folder, composed[-1].at_once)


def _batches(command: Command) -> list[list[str]]:
    """The overrides of each job."""
    parsed = parse_overrides(command.overrides)
    for item in parsed:
        check_key(item)
    swept = [item for item in parsed if item.is_sweep_override()]
    for item in swept:
        _check_swept(item, command)
    if not command.multirun:
        return [list(command.overrides)]
    jobs = count_jobs(parsed)
    if not 0 < jobs <= _MOST_JOBS:
        lines = " ".join(str(item.input_line) for item in swept)
        raise CitycamError(
            f"{lines} gives {counted(jobs, 'run')}; a sweep has at least one and at most {_MOST_JOBS:,}."
        )
    return split_sweep(parsed)


def _check_swept(item: Any, command: Command) -> None:
    """Refuse several values where there is one: without -m, for the sweep itself, and what cannot be listed."""
    key, line = str(item.key_or_group), str(item.input_line)
    if not command.multirun:
        one = (
            f", or quote it if it is one value: {as_one_value(item)}"
            if is_any_text(key) and item.is_choice_sweep()
            else ""
        )
        raise CitycamError(
            f"{line} gives several values; add -m to train a run with each: {called('train')} -m {line}{one}"
        )
    if key.startswith(("sweep.", "hydra.", "hydra/")):
        raise CitycamError(f"{line} gives several values, but {key} is the same for all runs of a sweep; give one.")
    if not item.is_discrete_sweep():
        raise CitycamError(f"{line} is no list of values; write {item.get_key_element()}=A,B,C.")


def _job(composed: Any, command: Command) -> _Composed:
    """The job of a composed configuration."""
    config = to_config(composed)
    task = tuple(map(str, composed.hydra.overrides.task))
    _check_random(config, task)
    if command.multirun:
        sweep_folder = Path(composed.hydra.sweep.dir).absolute()
        folder = sweep_folder / str(composed.hydra.sweep.subdir)
    else:
        folder = Path(composed.hydra.run.dir).absolute()
        sweep_folder = folder.parent
    at_once = _at_once(composed.hydra.launcher, config) if command.multirun else 1
    job = Job(task, config, folder, config_hash(config), command.config_dir)
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


def _refuse_sweeps_of_one_run(command: Command, jobs: list[Job], sweep_folder: Path) -> None:
    """Refuse jobs that train the same and differ elsewhere: only one of them would run."""
    first: dict[Path, Job] = {}
    pairs = [(one, job) for job in jobs if (one := first.setdefault(job.folder, job)).config != job.config]
    for one, job in pairs:
        if dataclasses.replace(job.config, explain=one.config.explain) != one.config:
            own = [[word for word in a.overrides if word not in b.overrides] for a, b in ((one, job), (job, one))]
            raise CitycamError(
                f"{' '.join(own[0])} and {' '.join(own[1])} are one run, since they change no trained number; give "
                "one of them, or train each under a sweep.name of its own."
            )
    if not pairs:
        return
    chosen = {override_key(word): word for word in pairs[0][0].overrides}
    swept = [word for word in command.overrides if _is_of_maps(word) and word not in chosen.values()]
    words = tuple(chosen[override_key(word)] if word in swept else word for word in command.overrides)
    once = f"{called('train')} {shlex.join(dataclasses.replace(command, overrides=words).words)}"
    others = [other_maps(to_dict(one.config.explain), job.config.explain) for one, job in pairs]
    lines = dict.fromkeys(explain_line(sweep_folder, settings) for settings in others if settings)
    raise CitycamError(
        f"{' '.join(swept)} would train each run several times, since maps change no trained number; train once, then "
        f"draw the other maps: {' ; '.join([once, *lines])}"
    )


def _check_study(command: Command, jobs: Sequence[Job]) -> None:
    """Refuse a study where no run has a logit for each city, and settings of a study where there is none."""
    asked = any(job.config.study.runs is not StudyRuns.none for job in jobs)
    if asked and all(job.config.partition is Partition.binary for job in jobs):
        raise CitycamError(
            "study=default needs a run with partition=multi, since a study needs a logit for each city; add it "
            "(-m partition=binary,multi), or leave study=default out."
        )
    idle = [word for word in command.overrides if override_key(word).startswith("study.")]
    if idle and not asked:
        raise CitycamError(f"{idle[0]} does nothing without a study; add study=default.")


def _is_of_maps(word: str) -> bool:
    return override_key(word).partition(".")[0] == "explain"
