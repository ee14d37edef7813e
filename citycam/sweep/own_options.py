"""A folder of the user's own options (``--config-dir``): groups like those of conf/, which only set values.

Hydra would take anything from such a folder: it passes over what it does not know, prefers conf/ where names are equal,
and runs code that settings below ``hydra`` name. A folder may come from somebody else, so nothing of that passes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from citycam.errors import CitycamError, near_matches
from citycam.sweep.compose import CONF, groups

_HEADER = re.compile(r"^\s*#\s*@package\s+(.*?)\s*$", flags=re.MULTILINE)
_GLOBAL = "_global_"


def check_own_options(folder: Path) -> None:
    """Refuse a folder of options that is not there, or holds anything but options of groups of conf/.

    Raises:
        CitycamError: one sentence on the first file that cannot be.
    """
    try:
        places = sorted(folder.iterdir())
    except OSError as error:
        raise CitycamError(
            f"--config-dir {folder} cannot be read ({str(error.strerror).lower()}); give a folder with your options as "
            "GROUP/NAME.yaml."
        ) from error
    for place in places:
        if place.is_dir() and not place.name.startswith(".") and place.name not in groups():
            raise CitycamError(
                f"--config-dir {folder} holds {place.name}/, which is no group of settings; "
                f"{near_matches(place.name, groups())}"
            )
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() == ".yaml":
            _check_place(folder, path)
            _check_content(path, path.relative_to(folder).parts[0])


def _check_place(folder: Path, path: Path) -> None:
    """An option lies in a group's folder, and has a name of its own."""
    place = path.relative_to(folder)
    if len(place.parts) == 1 or place.parts[0] not in groups():
        raise CitycamError(f"{path} lies in no group's folder; move it to {folder}/GROUP/, for example experiment/.")
    if (CONF / place).exists():
        option = place.relative_to(place.parts[0]).with_suffix("")
        raise CitycamError(f"{path} has the name of citycam's own {place.parts[0]}={option}; rename it.")


def _check_content(path: Path, group: str) -> None:
    """An option is a mapping that sets values of its group; one of ``experiment`` sets those of the root."""
    from omegaconf import OmegaConf
    from yaml import YAMLError

    try:
        headers = _HEADER.findall(path.read_text(encoding="utf-8"))
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, ValueError, YAMLError) as error:
        reason = " ".join(str(error).split())[:150].rstrip(".")
        raise CitycamError(f"{path} is no YAML that can be read ({reason}); correct it.") from error
    if not isinstance(content, dict):
        raise CitycamError(f"{path} is a list; an option is lines of NAME: VALUE.")
    wanted = [_GLOBAL] if group == "experiment" else []
    if headers != wanted:
        line = f"have the line '# @package {_GLOBAL}' at its top" if wanted else "have no @package line"
        raise CitycamError(f"{path} must {line}, as those of conf/{group} do.")
    if "hydra" in content or re.search(r"\bhydra\b", str(content.get("defaults"))):
        raise CitycamError(f"{path} sets what lies below hydra, which may run code; give that on the command line.")
    if "_target_" in _keys(content):
        raise CitycamError(f"{path} names a _target_, which is code to run; an option only sets values.")


def _keys(content: Any) -> set[str]:
    """The keys of a mapping, at every depth."""
    if isinstance(content, dict):
        return set(map(str, content)).union(*map(_keys, content.values()))
    return set().union(*map(_keys, content)) if isinstance(content, list) else set()
