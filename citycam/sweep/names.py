"""Names of runs: a hash of the settings that change trained numbers, and the name of the folder; no torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from citycam.config import Config
from citycam.files import file_mode, to_dict

# Settings that do not change trained numbers: `explain` and `study` come afterwards, `bank` only keeps features.
OUTSIDE = ("explain", "study", "trainer", "bank", "sweep", "hydra")
# A path counts by its last part, so that another spelling of it names the same run.
_PATHS = (("data", "root"), ("data", "table"), ("backbone", "weights"))
# Characters of a name: as many as fit into a line beside other columns. In bytes that is less than the 255 which file
# systems take, since a letter has at most four.
_LONGEST = 48


def config_hash(config: Config) -> str:
    """Return eight hex digits over every setting that changes trained numbers (paths by their last part)."""
    settings = {key: value for key, value in to_dict(config).items() if key not in OUTSIDE}
    for group, key in _PATHS:
        if settings[group].get(key) is not None:
            settings[group][key] = Path(settings[group][key]).name
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder_name(overrides: list[str], digest: str) -> str:
    """Return short words for the overrides, ``-``, and the hash: at most 48 characters without a slash.

    The order of the overrides does not matter. Flat names come first, since words that do not fit are left out from the
    end. Only a first word that is too long by itself is cut.

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
    return f"{first_words(words, _LONGEST - len(digest) - 1) or 'run'}-{digest}"


def first_words(words: Iterable[str], most: int) -> str:
    """Return the first words, joined by ``-``, that have at most ``most`` characters together; a first word that is
    longer by itself is cut."""
    kept: list[str] = []
    for word in filter(None, words):
        if kept and len("-".join([*kept, word])) > most:
            break
        kept.append(word[:most].rstrip("_.-"))
    return "-".join(kept)


def name_before(place: Path, digest: str, *marks: str) -> str | None:
    """Return the name of a folder in ``place`` that an older version made, which chose other words for it.

    It ends in ``-`` and the hash, and holds one of the files ``marks``. None where there is no such folder, and where
    there are several.
    """
    try:
        with os.scandir(place) as entries:
            alike = [entry.name for entry in entries if entry.name.endswith(f"-{digest}")]
    except OSError:  # most often it does not exist yet
        return None
    made = [name for name in alike if any(file_mode(place / name / mark) for mark in marks)]
    return made[0] if len(made) == 1 else None


def _flat_first(override: str) -> tuple[bool, str]:
    return "." in override.partition("=")[0], override
