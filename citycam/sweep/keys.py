"""The names of settings on a command line: which there are, what another one meant, and which of Hydra's are taken."""

from __future__ import annotations

import dataclasses
import typing
from enum import Enum
from typing import Any, Union

from citycam.config import SCHEMAS, Config
from citycam.errors import CitycamError, near_matches

# What citycam takes of Hydra's own settings. The others would replace its sweeper, its settings or its log.
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
_HYDRA = (*FOLDERS, "hydra/launcher", "hydra.job.chdir")
_HYDRA_BELOW = ("hydra.launcher.", "hydra.callbacks.", "hydra.job.env_set.")
_INSTEAD = {
    "hydra.searchpath": "--config-dir FOLDER adds options of yours.",
    "hydra.mode": "write -m for a sweep.",
    "hydra.sweeper": "write the values of a sweep as NAME=A,B behind -m.",
}


def _settings() -> dict[str, dict[str, Any]]:
    """The type of each setting by the names of its group (the empty name: the root) and its own."""
    tree: dict[str, dict[str, Any]] = {"": {}}
    for name, kind in typing.get_type_hints(Config).items():
        if not dataclasses.is_dataclass(kind):
            tree[""][name] = kind
            continue
        tree[name] = {}
        for schema in (kind, *SCHEMAS.get(name, {}).values()):
            tree[name] |= typing.get_type_hints(schema)
    return tree


_TREE = _settings()
_TOPS = [*_TREE[""], *(name for name in _TREE if name), "experiment"]
# These hold settings, and have no options to choose from.
_WITHOUT_OPTIONS = ("bank", "sweep")


def is_text(key: str) -> bool:
    """Return whether a setting's value is text, so that a number or a truth value in it is a name like any other."""
    return is_group(key) or is_any_text(key) or _is_a(key, Enum)


def is_any_text(key: str) -> bool:
    """Return whether a setting takes any text, with commas too: the name of a city, a path, a regular expression."""
    return key in FOLDERS or _is_a(key, str)


def _is_a(key: str, wanted: type) -> bool:
    group, _, name = key.rpartition(".")
    kind = _TREE.get(group, {}).get(name)
    kinds = typing.get_args(kind) if typing.get_origin(kind) is Union else (kind,)
    return any(isinstance(one, type) and issubclass(one, wanted) for one in kinds)


def is_group(key: str) -> bool:
    """Return whether a key chooses an option of a group by its name."""
    return key in _TREE or key in ("experiment", "hydra/launcher")


def is_setting(key: str) -> bool:
    """Return whether citycam has such a setting or group."""
    group, _, name = key.rpartition(".")
    return key in _TOPS or name in _TREE.get(group, {})


def check_key(override: Any) -> None:
    """Refuse the key of a parsed override (Hydra's ``Override``) that names no setting, and name what was meant.

    Raises:
        CitycamError: there is no such setting, or it cannot be added, left out or put elsewhere.
    """
    key, line = str(override.key_or_group), str(override.input_line)
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        _check_hydra(key, override)
        return
    if override.is_delete():
        raise CitycamError(
            f"~{key} would leave out a setting that every run needs; give it another value: {key}=VALUE."
        )
    top, *rest = key.split(".")
    if override.package is not None or "/" in key or top not in _TOPS:
        raise unknown(override.get_key_element().lstrip("+"))
    if rest:
        _check_below(top, rest)
    elif top in _WITHOUT_OPTIONS:
        raise CitycamError(f"{line} is no setting of citycam; write {top}.NAME=VALUE, {near_matches('', _TREE[top])}")
    if override.is_add() or (override.is_force_add() and top in _TREE and not rest):
        raise CitycamError(f"{line} would add what every run has already; write {line.lstrip('+')}.")


def _check_below(top: str, rest: list[str]) -> None:
    """Check what stands behind the first dot of a key."""
    names = _TREE.get(top, {})
    key = ".".join([top, *rest])
    if rest[0] in names and len(rest) == 1:
        return
    if names and rest[0] not in names:
        raise CitycamError(f"{key} is no setting of citycam; {_meant(rest[0], list(names))}")
    raise CitycamError(f"{key} is no setting of citycam; did you mean {f'{top}.{rest[0]}' if names else top}?")


def unknown(key: str) -> CitycamError:
    """Return the refusal of a key that is no setting, with those that may be meant."""
    return CitycamError(f"{key or 'An empty name'} is no setting of citycam; {_meant(key, _TOPS)}")


def _meant(word: str, names: list[str]) -> str:
    """The settings of any group that have this very name, else the nearest of ``names``."""
    owners = [f"{group}.{word}" for group, its in _TREE.items() if group and word in its and word != "kind"]
    return f"did you mean {' or '.join(owners)}?" if owners else near_matches(word, names)


def _check_hydra(key: str, override: Any) -> None:
    taken = key in _HYDRA or key.startswith(_HYDRA_BELOW)
    if taken and not override.is_delete() and override.package is None:
        return
    instead = next((way for name, way in _INSTEAD.items() if key == name or key.startswith(f"{name}.")), None)
    if instead is not None:
        raise CitycamError(f"{key} is not taken; {instead}")
    raise CitycamError(
        f"{override.get_key_element()} is no setting that citycam takes; of Hydra's own it takes {', '.join(_HYDRA)} "
        "and those below hydra.launcher."
    )
