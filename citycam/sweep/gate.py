"""The light gate: a request's settings are checked before anything is imported that takes seconds, and before job 0.

Hydra alone starts the first jobs of a sweep whose last one cannot be (ranges are checked when a job begins), accepts
unknown keys behind ``+``, and turns a callback's exceptions into warnings. So every job is composed here, first.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.config import CONF, Config
from citycam.errors import CitycamError, near_matches
from citycam.sweep.compose import register, to_config
from citycam.sweep.hydra_internals import parse_command_line, parse_overrides, split_sweep
from citycam.sweep.names import config_hash
from citycam.sweep.resume import recorded_commands, refuse_other_settings

_FEW_JOBS = 32


@dataclass(frozen=True)
class Job:
    """One run that was asked for: its overrides, settings and folder (which need not exist yet)."""

    overrides: tuple[str, ...]
    config: Config
    folder: Path
    hash: str


@dataclass(frozen=True)
class Request:
    """What a command line asks for: the jobs, in order, and the folder that all of them share.

    ``commands``: arguments for Hydra; several where a sweep is gone on with that was asked for in several commands.
    ``at_once``: jobs that Hydra's launcher is to run at a time; None for as many as the machine has room for.
    """

    jobs: tuple[Job, ...]
    sweep_folder: Path
    commands: tuple[tuple[str, ...], ...]
    at_once: int | None
    resumed: bool


def read_request(arguments: Sequence[str]) -> Request | None:
    """Compose and check every job of a command line; None where it only asks Hydra for help or its configuration.

    Raises:
        CitycamError: one sentence on the first setting that cannot be, with near matches.
    """
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    parsed, unknown = parse_command_line(arguments)
    if unknown:
        raise CitycamError(f"{unknown[0]} is no option of train.py; see python train.py --help.")
    if parsed.help or parsed.hydra_help or parsed.cfg or parsed.info or parsed.shell_completion:
        return None
    for flag in ("config_path", "config_name", "config_dir", "experimental_rerun"):
        if getattr(parsed, flag) is not None:
            raise CitycamError(f"--{flag.replace('_', '-')} is no option of train.py; its settings are those of conf/.")
    register()
    given = [_quoted(item) for item in parsed.overrides]
    resumed = _resumed(given)
    if resumed is not None:
        commands = recorded_commands(resumed, [item for item in given if not item.startswith("sweep.resume=")])
    else:
        if not any(item.lstrip("+").startswith("sweep.name=") for item in given):
            given.append(f"sweep.name={datetime.datetime.now().strftime('%Y-%m-%d_%H-%M-%S')}")
        commands = [(parsed.multirun, given)]
    try:
        with initialize_config_dir(str(CONF), version_base="1.3", job_name="train"):
            composed = [_compose_all(overrides, multirun) for multirun, overrides in commands]
    except CitycamError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise CitycamError(_sentence(error)) from error
    jobs = {job.folder: job for some in composed for job in some.jobs}
    if resumed is not None:
        refuse_other_settings(resumed, [(job.overrides, job.config, job.hash) for job in jobs.values()])
    return Request(
        tuple(jobs.values()),
        composed[-1].sweep_folder,
        tuple(("-m", *overrides) if multirun else tuple(overrides) for multirun, overrides in commands),
        composed[-1].at_once,
        resumed is not None,
    )


def _resumed(overrides: list[str]) -> Path | None:
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


def _compose_all(overrides: list[str], multirun: bool) -> _Composed:
    from hydra import compose

    parsed = parse_overrides(overrides)
    swept = [item for item in parsed if item.is_sweep_override()]
    if swept and not multirun:
        line = swept[0].input_line
        raise CitycamError(f"{line} gives several values; add -m to train a run with each: python train.py -m {line}")
    for item in parsed:
        _check_key(item)
    plain = [str(item.input_line) for item in parsed if not item.is_sweep_override()]
    for item in swept:
        if not item.is_discrete_sweep():
            raise CitycamError(f"{item.input_line} is no list of values; write {item.get_key_element()}=A,B,C.")
    batches = split_sweep(parsed) if multirun else [plain]
    if len(batches) > _FEW_JOBS:  # a mistake in one of many values is found before thousands of jobs are composed
        for item in swept:
            for value in item.sweep_string_iterator():
                compose("config", overrides=[*plain, f"{item.get_key_element()}={value}"])
    composed = [_job(list(job_overrides), multirun) for job_overrides in batches]
    jobs = [job for one in composed for job in one.jobs]
    _refuse_twins(jobs)
    return _Composed(jobs, composed[-1].sweep_folder, composed[-1].at_once)


def _job(overrides: list[str], multirun: bool) -> _Composed:
    from hydra import compose
    from omegaconf import OmegaConf, open_dict

    composed = compose("config", overrides=overrides, return_hydra_config=True)
    config = to_config(composed)
    task = [item for item in overrides if not item.lstrip("+~").startswith(("hydra.", "hydra/"))]
    with open_dict(composed):
        OmegaConf.update(composed, "hydra.overrides.task", task)
    if multirun:
        sweep_folder = Path(composed.hydra.sweep.dir).absolute()
        folder = sweep_folder / str(composed.hydra.sweep.subdir)
    else:
        folder = Path(composed.hydra.run.dir).absolute()
        sweep_folder = folder.parent
    at_once = _at_once(composed.hydra.launcher, config) if multirun else 1
    return _Composed([Job(tuple(task), config, folder, config_hash(config))], sweep_folder, at_once)


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
    if key.startswith("hydra") or "/" in key:
        return
    composed = _defaults()
    top, *rest = key.split(".")
    known = [*composed, "experiment"]
    if top not in known:
        raise CitycamError(f"{top} is no setting of citycam; {near_matches(top, known)}")
    if not rest:
        return
    # Which keys a group has depends on the option chosen; any option's key is let through here and judged composed.
    names = set(composed[top]) if isinstance(composed.get(top), DictConfig) else set()
    for option in (CONF / top).glob("*.yaml"):
        names |= set(OmegaConf.load(option)) - {"defaults"}
    if rest[0] not in names:
        raise CitycamError(f"{key} is no setting of citycam; {near_matches(rest[0], names)}")


@functools.cache
def _defaults() -> Any:
    from hydra import compose

    return compose("config")


def _sentence(error: Exception) -> str:
    """Hydra's and OmegaConf's own errors in one sentence."""
    cause = error.__cause__ if error.__cause__ is not None else error
    text = str(error)
    group = re.search(r"Could not find '([\w/]+)/([^']+)'", text)
    if group:
        options = re.findall(r"^\t(\w[\w.-]*)$", text, flags=re.MULTILINE)
        place, word = group[1].lstrip("/"), group[2]
        return (
            f"{place}={word} is not known; {near_matches(word, options) if options else 'see python train.py --help.'}"
        )
    override = re.search(r"Error merging override (\S+)", text)
    if override:
        return f"{override[1]} cannot be: {_plain(str(cause).splitlines()[0])}"
    missing = re.search(r"Could not override '([^']+)'", text)
    if missing:
        key = missing[1]
        names = re.search(r"object_type=(\w+)", str(cause))
        return f"{key} is no setting of {_group_of(names[1] if names else '', key)}; see python train.py --cfg job."
    return _plain(text.splitlines()[0]) + "; see python train.py --help."


def _group_of(class_name: str, key: str) -> str:
    option = class_name.removesuffix("Config").lower()
    top = key.split(".")[0]
    return f"{top}={option}" if option and option != top and "." in key else top


def _plain(text: str) -> str:
    text = re.sub(r"Value '(.*)' of type '\w+' could not be converted to Integer", r"'\1' is no whole number", text)
    text = re.sub(r"Value '(.*)' of type '\w+' could not be converted to Float", r"'\1' is no number", text)
    text = re.sub(r"Value '(.*)' is not a valid bool.*", r"'\1' is neither true nor false", text)
    found = re.search(r"Invalid value '(.*)', expected one of \[(.*)\]", text)
    if found:
        close = difflib.get_close_matches(found[1], found[2].split(", "), n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"it is one of {found[2]}{hint}."
    return text.rstrip(".") + "."
