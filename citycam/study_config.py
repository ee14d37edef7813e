"""The settings of a study, checked before any work starts. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, Optional

from citycam.errors import CitycamError, check_positive, near_matches

_GROUP = "study."
_OF_SWEEPS, _PATH = "runs", "labels"


class StudyRuns(Enum):
    """Which runs of a sweep with partition=multi are studied when all have ended: ``best`` by balanced accuracy."""

    none = "none"
    best = "best"
    each = "each"


@dataclass(kw_only=True, slots=True)
class StudyConfig:
    """``runs``: of a sweep. ``pictures``: at most so many of each city in each part of the split. ``seed``: of the
    choice of pictures, of clusters and of places that are blurred for comparison. ``labels``: a folder of label maps,
    where the data source knows none."""

    runs: StudyRuns = StudyRuns.none
    pictures: int = 200
    seed: int = 0
    labels: Optional[str] = None

    def __post_init__(self) -> None:
        check_positive("study.pictures", self.pictures)
        if not 0 <= self.seed < 2**63:
            raise CitycamError(f"study.seed={self.seed} must be zero or a positive whole number below 2**63.")


def read_settings(words: Sequence[str]) -> StudyConfig:
    """Return the settings of ``study.NAME=VALUE`` words of ``citycam study``, which is told its run.

    Raises:
        CitycamError: a name is not known, is given twice, or has a value that cannot be.
    """
    known = [f"{_GROUP}{field.name}" for field in fields(StudyConfig) if field.name != _OF_SWEEPS]
    values: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        short = name.removeprefix(_GROUP)
        if name not in known:
            raise CitycamError(f"{name} is not known; {near_matches(name, known)}")
        if short in values:
            raise CitycamError(f"{name} was given twice; give it once.")
        values[short] = value.strip("'\"") if short == _PATH else _number(name, value)
    return replace(StudyConfig(), **values)


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise CitycamError(f"{name}={value} is no whole number; write {name}=200, for example.")
    return int(value)
