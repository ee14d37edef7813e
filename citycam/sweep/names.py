"""What a run is called: a hash of what changes its trained numbers, and a folder's name made of it; no torch."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from citycam.config import Config
from citycam.files import to_dict

# Settings that leave the trained numbers as they are; `explain` draws maps afterwards, `bank` only keeps features.
_OUTSIDE = ("explain", "trainer", "bank", "sweep", "hydra")
# A path counts by its last part, so that another way of writing it names the same run.
_PATHS = (("data", "root"), ("data", "table"), ("backbone", "weights"))
_LONGEST = 100


def config_hash(config: Config) -> str:
    """Eight hex digits over every setting that changes the trained numbers (paths by their last part)."""
    settings = {key: value for key, value in to_dict(config).items() if key not in _OUTSIDE}
    for group, key in _PATHS:
        if settings[group].get(key) is not None:
            settings[group][key] = Path(settings[group][key]).name
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder_name(overrides: list[str], digest: str) -> str:
    """Short words for what the overrides say, ``-``, and the hash: at most 100 characters, no slash, and the same when
    asked again, in whatever order the overrides stand. Flat names come first, since what is too long is cut off.

    >>> folder_name(["partition=multi", "epochs=5", "optimizer.lr=0.01", "sweep.name=x"], "0123abcd")
    'epochs5-multi-lr0.01-0123abcd'
    """
    words = []
    for override in sorted(overrides, key=_flat_first):
        key, _, value = override.partition("=")
        key = key.lstrip("+~")
        top, _, rest = key.replace("/", ".").partition(".")
        if top in _OUTSIDE:
            continue
        last = rest.rpartition(".")[2]
        # A group's own name says enough (adam, multi); a number needs its setting's name (epochs5, lr0.01).
        plain = not rest and not value[:1].isdigit()
        word = Path(value).name if plain or "/" in value else f"{last or top}{value}"
        words.append(re.sub(r"[^\w.+]+", "_", word).strip("_."))
    text = "-".join(filter(None, words))[: _LONGEST - len(digest) - 1].rstrip("-_.")
    return f"{text}-{digest}" if text else f"run-{digest}"


def _flat_first(override: str) -> tuple[bool, str]:
    return "." in override.partition("=")[0], override


def quoted(value: str) -> str:
    """A value as Hydra's overrides take it, whatever characters it holds."""
    if re.fullmatch(r"[\w./-]+", value, flags=re.ASCII):
        return value
    escaped = value.replace("'", "\\'").replace("${", "\\${")
    return f"'{escaped}'"
