"""What citycam uses of Hydra beyond its documented functions; a new version of Hydra may rename these. Imports Hydra
late."""

from __future__ import annotations

import argparse
import contextlib
import copy
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from citycam.doors import called
from citycam.errors import CitycamError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

# How Hydra names the source of ``--config-dir``.
CONFIG_DIR = "command-line"


def parse_command_line(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return Hydra's flags and ``overrides`` of a command line, and words that Hydra does not know; in any order.

    Raises:
        CitycamError: a flag lacks its value, or has one that it does not take.
    """
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise CitycamError(f"{message.removeprefix('argument ')}; see {called('train')} --help.")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_known_intermixed_args(list(arguments))


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


def count_jobs(overrides: Sequence[Override]) -> int:
    """Return how many jobs a sweep has, without a list of them.

    Raises:
        HydraException: values cannot be counted.
    """
    from hydra.core.override_parser.types import RangeSweep
    from hydra.errors import HydraException

    jobs = 1
    for item in overrides:
        values = item.value()
        try:
            if isinstance(values, RangeSweep):
                start, stop, step = (float(str(one)) for one in (values.start, values.stop, values.step))
                jobs *= max(0, math.ceil((stop - start) / step))
            elif item.is_sweep_override():
                jobs *= sum(1 for _ in item.sweep_string_iterator())
        except (ArithmeticError, ValueError) as error:
            raise HydraException(f"{item.input_line} cannot be counted: {error}") from error
    return jobs


class Composition:
    """Jobs composed by Hydra's own rules; those that choose the same options differ in values only, which are set in a
    copy. Composing each job on its own reads a dozen files and takes twenty times as long. Use it while Hydra is
    initialised."""

    def __init__(self, groups: Sequence[str]) -> None:
        self._groups = frozenset(groups)
        self._chosen: dict[tuple[str, ...], DictConfig] = {}
        self._parsed: dict[str, Override] = {}

    def job(self, overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of a job, with its node ``hydra``.

        Raises:
            HydraException: an override does not fit.
        """
        from hydra import compose
        from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
        from omegaconf import OmegaConf, open_dict

        new = [word for word in overrides if word not in self._parsed]
        self._parsed |= dict(zip(new, parse_overrides(new), strict=True))
        parsed = [self._parsed[word] for word in overrides]
        values = [item for item in parsed if not ("/" in item.key_or_group or item.key_or_group in self._groups)]
        options = tuple(str(item.input_line) for item in parsed if item not in values)
        if options not in self._chosen:
            self._chosen[options] = compose("config", overrides=list(options), return_hydra_config=True)
        composed = copy.deepcopy(self._chosen[options])
        ConfigLoaderImpl._apply_overrides_to_config(values, composed)
        task = [item for item in parsed if not item.is_hydra_override()]
        how = composed.hydra.job.config.override_dirname
        with open_dict(composed):
            OmegaConf.update(composed, "hydra.overrides.task", [item.input_line for item in task])
            composed.hydra.job.override_dirname = get_overrides_dirname(
                task, how.exclude_keys, how.item_sep, how.kv_sep
            )
        return composed


@contextlib.contextmanager
def jobs_are_checked() -> Iterator[None]:
    """Keep Hydra's sweeper from composing every job before the first one starts: the gate has done so."""
    from hydra.plugins.sweeper import Sweeper

    def checked(self: Sweeper, batch: Sequence[Sequence[str]]) -> None:
        """Take the jobs as they are."""

    check = Sweeper.validate_batch_is_legal
    Sweeper.validate_batch_is_legal = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        Sweeper.validate_batch_is_legal = check  # type: ignore[method-assign]


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
