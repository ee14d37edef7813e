"""Resume a sweep: read the commands it was started with from sweep.json, and refuse other settings."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from citycam.config import Config
from citycam.errors import CitycamError, DamagedFile
from citycam.files import to_dict
from citycam.sweep.command import Command, override_key
from citycam.sweep.ledger import Ledger
from citycam.sweep.names import OUTSIDE
from citycam.sweep.quoting import quoted, value_of
from citycam.sweep.stored import read_settings

# What of Hydra a resumed sweep takes from its sweep.json: folders, and citycam's launchers with plain values.
_TAKEN = re.compile(
    r"hydra\.(run\.dir|sweep\.dir|sweep\.subdir)=.*|hydra/launcher=(basic|joblib)|hydra\.job\.chdir=\w+"
    r"|hydra\.launcher\.(n_jobs|backend|prefer|verbose|timeout|batch_size)=[\w.-]+",
    flags=re.DOTALL,
)


def recorded_commands(sweep_folder: Path, replacing: Sequence[str], config_dir: Path | None) -> list[Command]:
    """Return the commands of a sweep, with its folder where it lies now.

    The working folder becomes the one in which the commands were given, since their relative paths start there.

    Args:
        replacing: overrides that replace those of the same name.
        config_dir: the folder of the user's own options where it lies now; None for where it was.

    Raises:
        CitycamError: the folder holds no sweep, or a command holds more than settings of citycam and of its launchers.
    """
    ledger = Ledger(sweep_folder)
    if not ledger.commands:
        raise CitycamError(
            f"sweep.resume={sweep_folder} holds no sweep.json with a command to resume; give the folder of a sweep, "
            "which is multirun/NAME."
        )
    os.chdir(ledger.working_folder or ".")
    commands = []
    for line in ledger.commands:
        try:
            command = Command.read(line)
        except ValueError as error:
            raise CitycamError(
                f"sweep.resume={sweep_folder}: its sweep.json holds a command that citycam does not write ({error}); "
                "give the sweep's command again, with its sweep.name, instead of sweep.resume."
            ) from error
        _check_words(sweep_folder, command, {override_key(item) for item in replacing})
        commands.append(_moved(command, sweep_folder, replacing, config_dir))
    return commands


def _check_words(sweep_folder: Path, command: Command, replaced: Collection[str]) -> None:
    """Refuse words of Hydra in a command that a file holds, but for folders and known launchers: others may run code.

    Those that are ``replaced`` by the person's own do not count.
    """
    for word in command.overrides:
        key = override_key(word)
        if key.partition(".")[0].partition("/")[0] != "hydra" and "@" not in key:
            continue
        if key not in replaced and not _TAKEN.fullmatch(word.lstrip("+")):
            raise CitycamError(
                f"sweep.resume={sweep_folder}: its sweep.json holds {word}, and settings of Hydra, which may run code, "
                f"are not taken from a file; if you trust it, give it yourself beside sweep.resume."
            )


def _moved(command: Command, sweep_folder: Path, replacing: Sequence[str], config_dir: Path | None) -> Command:
    """The command with the sweep's folder, and the user's own options, where they lie now."""
    replaced = {override_key(item) for item in replacing} | {"hydra.sweep.dir"}
    overrides = [word for word in command.overrides if override_key(word) not in replaced]
    if "hydra/launcher" in replaced:  # settings of the launcher that is replaced
        overrides = [word for word in overrides if not word.startswith("hydra.launcher.")]
    run_folder = value_of(overrides, "hydra.run.dir")
    overrides = [word for word in overrides if override_key(word) != "hydra.run.dir"]
    place = f"hydra.sweep.dir={quoted(str(sweep_folder))}"
    if not command.multirun and run_folder is not None:
        place = f"hydra.run.dir={quoted(str(sweep_folder / Path(run_folder).name))}"
    return Command((*overrides, *replacing, place), command.multirun, config_dir or command.config_dir)


def refuse_other_settings(sweep_folder: Path, jobs: Iterable[tuple[tuple[str, ...], Config, str]]) -> None:
    """Refuse a job that the sweep did not start with, and name what differs.

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
        settings = set(_without_place(overrides))
        twin = next((name for name, row in known.items() if set(_without_place(row["overrides"])) == settings), None)
        changed = changed_settings(sweep_folder / twin, config) if twin is not None else ""
        what = (
            f"{twin} started with {changed}" if changed else f"{' '.join(_without_place(overrides))} is not part of it"
        )
        raise CitycamError(
            f"sweep.resume={sweep_folder} resumes the jobs of that sweep, and {what}; give the same settings or none, "
            "or train with these under another sweep.name."
        )


def changed_settings(folder: Path, config: Config) -> str:
    """Return what a run's config.yaml says otherwise: ``epochs=5 (now 10)``; empty where it cannot be read."""
    try:
        before = read_settings(folder)
    except (FileNotFoundError, DamagedFile):
        return ""
    then, now = _flat(before), _flat(to_dict(config))
    names = [name for name in now if name.partition(".")[0] not in OUTSIDE and then.get(name) != now[name]]
    return ", ".join(f"{name}={then.get(name)} (now {now[name]})" for name in names[:4])


def _flat(settings: Any, above: str = "") -> dict[str, Any]:
    if not isinstance(settings, dict):
        return {}
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat


def _without_place(overrides: Sequence[str]) -> list[str]:
    return [item for item in overrides if not item.startswith(("sweep.", "hydra"))]
