"""Resume a sweep: read the commands it was started with from its sweep.json."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from citycam.config import Config
from citycam.errors import CitycamError
from citycam.files import to_dict
from citycam.sweep.command import Command
from citycam.sweep.ledger import Ledger
from citycam.sweep.names import quoted


def recorded(sweep_folder: Path, given: Sequence[str], config_dir: Path | None) -> list[Command]:
    """Return the commands of a sweep, with its folder where it lies now, and enter the folder they were given in.

    Args:
        given: overrides that replace those of the same name.
        config_dir: the folder of the user's own options where it lies now; None for where it was.

    Raises:
        CitycamError: the folder is none of a sweep.
    """
    ledger = Ledger(sweep_folder)
    if not ledger.commands:
        raise CitycamError(
            f"sweep.resume={sweep_folder} holds no sweep.json with a command to resume; "
            "give the folder of a sweep, which is multirun/NAME."
        )
    os.chdir(ledger.working_folder or ".")
    replaced = {_key(item) for item in given} | {"hydra.sweep.dir"}
    gone = "hydra.launcher." if "hydra/launcher" in replaced else None  # another launcher's settings
    commands = []
    for command in map(Command.read, ledger.commands):
        overrides = [word for word in command.overrides if _key(word) not in replaced]
        overrides = [word for word in overrides if gone is None or not word.startswith(gone)]
        run_folder = next((word.partition("=")[2] for word in overrides if _key(word) == "hydra.run.dir"), None)
        overrides = [word for word in overrides if _key(word) != "hydra.run.dir"]
        name = "${citycam.run_folder:}" if run_folder is None else quoted(Path(run_folder.strip("'\"")).name)
        if command.multirun:
            where = f"hydra.sweep.dir={quoted(str(sweep_folder))}"
        else:
            where = f"hydra.run.dir={quoted(str(sweep_folder))}/{name}"
        place = command.config_dir if config_dir is None else config_dir
        commands.append(Command((*overrides, *given, where), command.multirun, place))
    return commands


def refuse_others(sweep_folder: Path, jobs: Iterable[tuple[tuple[str, ...], Config, str]]) -> None:
    """Refuse a job that the sweep did not begin with, and say what it differs in.

    Args:
        jobs: overrides, settings and hash of each.

    Raises:
        CitycamError: there is one.
    """
    known = Ledger(sweep_folder).jobs
    hashes = {row["hash"] for row in known.values()}
    for overrides, config, digest in jobs:
        if digest in hashes:
            continue
        settings = set(_plain(overrides))
        twin = next((name for name, row in known.items() if set(_plain(row["overrides"])) == settings), None)
        changed = _changes(sweep_folder / twin, config) if twin is not None else ""
        what = f"{twin} was begun with {changed}" if changed else f"{' '.join(_plain(overrides))} is not of it"
        raise CitycamError(
            f"sweep.resume={sweep_folder} goes on with what that sweep began, and {what}; give the same settings or "
            "none, or train with these under another sweep.name."
        )


def _changes(folder: Path, config: Config) -> str:
    """``epochs=5 (now 10)``: what a run's config.yaml says otherwise."""
    try:
        before = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return ""
    then, now = _flat(before), _flat(to_dict(config))
    names = [name for name in now if not name.startswith("sweep.") and then.get(name) != now[name]]
    return ", ".join(f"{name}={then.get(name)} (now {now[name]})" for name in names[:4])


def _flat(settings: dict[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat


def _plain(overrides: Sequence[str]) -> list[str]:
    return [item for item in overrides if not item.startswith(("sweep.", "hydra"))]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
