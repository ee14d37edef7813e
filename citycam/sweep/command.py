"""Command lines of train.py: read in whatever order people write them, and written into sweep.json and run.json."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from citycam.doors import called
from citycam.errors import CitycamError
from citycam.files import at_home
from citycam.sweep.hydra_internals import parse_command_line
from citycam.sweep.quoting import quoted, readable, value_of


@dataclass(frozen=True)
class Command:
    """One command: its overrides, whether it has ``-m``, and the folder of a user's own options (absolute)."""

    overrides: tuple[str, ...]
    multirun: bool = False
    config_dir: Path | None = None

    @classmethod
    def read(cls, line: str) -> Command:
        """Return the command that `line` wrote.

        Raises:
            ValueError: it is none that `line` writes.
        """
        words = shlex.split(line)
        if words[:2] != ["python", "train.py"]:
            raise ValueError("it does not start with python train.py")
        del words[:2]
        config_dir = None
        if "--config-dir" in words[:-1]:
            place = words.index("--config-dir")
            config_dir = Path(words[place + 1])
            del words[place : place + 2]
        flags = [word for word in words if word.startswith("-") and word != "-m"]
        if flags:
            raise ValueError(f"{flags[0]} is not taken from a file")
        return cls(tuple(word for word in words if word != "-m"), "-m" in words, config_dir)

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments for Hydra, flags first: its own parser refuses overrides on both sides of a flag."""
        folder = ("--config-dir", str(self.config_dir)) if self.config_dir is not None else ()
        return (*folder, *(("-m",) if self.multirun else ()), *self.overrides)

    @property
    def line(self) -> str:
        """The command as sweep.json and run.json hold it, however the door was called."""
        return shlex.join(["python", "train.py", *self.words])


def override_key(override: str) -> str:
    """Return the key of an override, without what Hydra allows before it.

    >>> override_key("++optimizer.lr=0.1"), override_key("~data")
    ('optimizer.lr', 'data')
    """
    return override.partition("=")[0].lstrip("+~")


def run_command(overrides: Sequence[str], folder: Path, config_dir: Path | None) -> str:
    """Return the line that trains one run again, into the same folder."""
    name = value_of(overrides, "sweep.name") or ""
    where = [] if folder == Path.cwd() / "multirun" / name / folder.name else [f"hydra.run.dir={quoted(str(folder))}"]
    return Command((*overrides, *where), config_dir=config_dir).line


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return Hydra's flags and, as ``overrides``, all other words, in any order.

    The overrides are readable to Hydra; ``config_dir`` is an absolute path.

    Raises:
        CitycamError: a flag that Hydra does not have, or a word that is no override.
    """
    parsed = _divide(arguments)
    parsed.overrides = [readable(word) for word in parsed.overrides]
    if parsed.config_dir is not None:
        parsed.config_dir = at_home(parsed.config_dir).absolute()
    return parsed


def hydra_order(arguments: Sequence[str]) -> list[str]:
    """Return the same arguments, overrides first and flags last, as Hydra's own parser takes them."""
    overrides: list[str] = _divide(arguments).overrides
    flags = list(arguments)
    for word in overrides:
        flags.remove(word)
    return [*map(readable, overrides), *flags]


def _divide(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's flags, and all other words as they were typed."""
    parsed, unknown = parse_command_line(arguments)
    if unknown:
        raise CitycamError(f"{unknown[0]} is no option; see {called('train')} --help.")
    return parsed
