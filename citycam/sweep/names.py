"""Names of runs: a hash of the settings that change trained numbers, and the name of the folder; no torch."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from citycam.config import Config
from citycam.files import to_dict

# Settings that do not change trained numbers: `explain` draws maps afterwards, `bank` only keeps features.
OUTSIDE = ("explain", "trainer", "bank", "sweep", "hydra")
# A path counts by its last part, so that another spelling of it names the same run.
_PATHS = (("data", "root"), ("data", "table"), ("backbone", "weights"))
# Characters of a name, and bytes: file systems take 255, and letters of most scripts take two to four.
_LONGEST, _LONGEST_BYTES = 100, 200


def config_hash(config: Config) -> str:
    """Return eight hex digits over every setting that changes trained numbers (paths by their last part)."""
    settings = {key: value for key, value in to_dict(config).items() if key not in OUTSIDE}
    for group, key in _PATHS:
        if settings[group].get(key) is not None:
            settings[group][key] = Path(settings[group][key]).name
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder_name(overrides: list[str], digest: str) -> str:
    """Return short words for the overrides, ``-``, and the hash: at most 100 characters without a slash.

    The order of the overrides does not matter. Flat names come first, since the end is cut off where it is too long.

    >>> folder_name(["partition=multi", "epochs=5", "optimizer.lr=0.01", "sweep.name=x"], "0123abcd")
    'epochs5-multi-lr0.01-0123abcd'
    """
    words = []
    for override in sorted(overrides, key=_flat_first):
        key, _, value = override.partition("=")
        key = key.lstrip("+~")
        top, _, rest = key.replace("/", ".").partition(".")
        if top in OUTSIDE:
            continue
        last = rest.rpartition(".")[2]
        # A group's own name says enough (adam, multi); a number needs its setting's name (epochs5, lr0.01).
        plain = not rest and not value[:1].isdigit()
        word = Path(value).name if plain or "/" in value else f"{last or top}{value}"
        words.append(re.sub(r"[^\w.+]+", "_", word).strip("_."))
    text = "-".join(filter(None, words))[: _LONGEST - len(digest) - 1]
    text = text.encode()[:_LONGEST_BYTES].decode(errors="ignore").rstrip("-_.")
    return f"{text}-{digest}" if text else f"run-{digest}"


def _flat_first(override: str) -> tuple[bool, str]:
    return "." in override.partition("=")[0], override
