"""Settings of maps change nothing that is trained, so they make no run of their own: how other maps are drawn."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from citycam.doors import called
from citycam.explain_config import ExplainConfig
from citycam.files import to_dict


def other_maps(before: Mapping[str, Any], wanted: ExplainConfig) -> list[str]:
    """Return the settings by which ``wanted`` differs from ``before``, as explain.py takes them; none where ``wanted``
    draws no maps.

    >>> other_maps({"methods": ["cam"], "target": "city"}, ExplainConfig(methods=["cam", "gradcam"]))[0]
    'explain.methods=[cam,gradcam]'
    """
    if not wanted.methods:
        return []
    defaults = to_dict(ExplainConfig())  # of settings that a run of an older version did not have
    changed = {name: value for name, value in to_dict(wanted).items() if value != before.get(name, defaults[name])}
    return [f"explain.{name}={_written(value)}" for name, value in changed.items()]


def explain_line(place: Path, settings: list[str]) -> str:
    """Return the line that draws maps by ``settings`` for the runs in ``place``."""
    here = Path.cwd()
    short = os.path.relpath(place, here) if place.is_relative_to(here) else str(place)
    return f"{called('explain')} {shlex.join([f'run={short}', *settings])}"


def _written(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)
