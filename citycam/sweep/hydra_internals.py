"""What citycam uses of Hydra beyond its documented functions; a new version of Hydra may rename these. Imports Hydra
late."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

# How Hydra names the source of ``--config-dir``.
CONFIG_DIR = "command-line"


def parse_command_line(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return Hydra's flags and ``overrides`` of a command line, and words that Hydra does not know; in any order."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser().parse_known_intermixed_args(list(arguments))


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse ``key=value`` words, among them lists of values; call it while Hydra is initialised.

    Raises:
        HydraException: a word is none of Hydra's grammar.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(list(overrides))


def parse_override(word: str) -> Override | None:
    """Parse one ``key=value`` word; None if it is none of Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, ValueError, AssertionError, RecursionError):  # numbers too long for int, brackets too deep
        return None


def in_quotes(text: str) -> str:
    """Return ``text`` in single quotes, as Hydra's grammar escapes it; ``${`` stays the start of an interpolation."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()


def split_sweep(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of each job of a sweep, in the order in which Hydra runs them."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    return [list(job) for job in BasicSweeper.split_arguments(list(overrides), None)[0]]


def group_options(group: str) -> list[str]:
    """Return the options of a group, those of ``--config-dir`` among them; call it while Hydra is initialised."""
    from hydra.core.global_hydra import GlobalHydra

    return list(GlobalHydra.instance().config_loader().get_group_options(group))


@contextlib.contextmanager
def initialised(conf: Path, config_dir: Path | None) -> Iterator[None]:
    """Initialise Hydra on a folder of options and, before it, on ``config_dir``, as its own flag does."""
    from hydra import initialize_config_dir
    from hydra._internal.hydra import Hydra
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(conf), version_base="1.3", job_name="train"):
        if config_dir is not None:
            current = GlobalHydra.instance()
            search_path = current.config_loader().get_search_path()
            search_path.prepend(CONFIG_DIR, f"file://{config_dir}", SearchPathQuery(provider="schema"))
            current.clear()
            Hydra.create_main_hydra2("train", search_path)
        yield


def reset_hydra() -> None:
    """Forget that Hydra was initialised, so that it can be initialised again in this process."""
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
