"""What citycam uses of Hydra beyond its documented functions; a new version of Hydra may rename these. Imports Hydra
late."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def parse_command_line(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return Hydra's flags and ``overrides`` of a command line, and the words that Hydra does not know."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser().parse_known_args(list(arguments))


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse ``key=value`` words, among them lists of values; call it while Hydra is initialised.

    Raises:
        HydraException: a word is none of Hydra's grammar.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(list(overrides))


def split_sweep(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of each job of a sweep, in the order in which Hydra runs them."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    return [list(job) for job in BasicSweeper.split_arguments(list(overrides), None)[0]]


def reset_hydra() -> None:
    """Forget that Hydra was initialised, so that it can be initialised again in this process."""
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
