"""What a map explains: a logit, its negative, or the difference of two logits.

A probability is never explained: its gradient vanishes where the network is sure, and its map is blank or shows
rounding errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citycam.config import Partition
from citycam.explain_config import ExplainTarget


class Target(Protocol):
    """The number explained, a linear function of the logits (K,) of one picture."""

    @property
    def words(self) -> str:
        """What a caption calls it."""

    @property
    def named(self) -> tuple[int, ...]:
        """The classes whose logits it reads, the explained one first."""

    def __call__(self, logits: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class LogitTarget:
    """The logit of one class."""

    index: int
    words: str = field(default="", compare=False)

    @property
    def named(self) -> tuple[int, ...]:
        """The class."""
        return (self.index,)

    def __call__(self, logits: Tensor) -> Tensor:
        return logits[self.index]


@dataclass(frozen=True, slots=True)
class Negative:
    """The negative of one logit: with a single logit, the evidence for the rest."""

    index: int = 0
    words: str = field(default="", compare=False)

    @property
    def named(self) -> tuple[int, ...]:
        """The class."""
        return (self.index,)

    def __call__(self, logits: Tensor) -> Tensor:
        return -logits[self.index]


@dataclass(frozen=True, slots=True)
class Difference:
    """One logit minus another: the evidence for ``index`` rather than for ``other``."""

    index: int
    other: int
    words: str = field(default="", compare=False)

    @property
    def named(self) -> tuple[int, ...]:
        """``index`` and ``other``."""
        return self.index, self.other

    def __call__(self, logits: Tensor) -> Tensor:
        return logits[self.index] - logits[self.other]


@dataclass(frozen=True, slots=True)
class Contrast:
    """One logit minus the mean of all others: the evidence for one class rather than for any."""

    index: int
    words: str = field(default="", compare=False)

    @property
    def named(self) -> tuple[int, ...]:
        """The class that is explained."""
        return (self.index,)

    def __call__(self, logits: Tensor) -> Tensor:
        others = len(logits) - 1
        return logits[self.index] - (logits.sum() - logits[self.index]) / others


def target_values(logits: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return the number (B,) that each target reads from the logits (B, K) of its picture."""
    return torch.stack([target(row) for target, row in zip(targets, logits, strict=True)])


def settle_target(kind: ExplainTarget, *, whole: bool) -> ExplainTarget:
    """Return what ``auto`` means to a method: what speaks for the city rather than for any other, if it passes
    ``whole`` pictures; the city's logit, as the published systems have it, if it reads the cells of a layer."""
    if kind is not ExplainTarget.auto:
        return kind
    return ExplainTarget.contrast if whole else ExplainTarget.city


def choose_targets(
    kind: ExplainTarget,
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    city: int,
    partition: Partition,
    classes: Sequence[str],
) -> list[Target]:
    """Return the target of every picture.

    In ``multi``, the logit of the city, of the predicted class, of the true class, of the runner-up (the second highest
    logit), or the city's logit minus the highest other (difference) or the mean of all others (contrast). In ``binary``
    the only logit is the city's; its negative explains the rest, and the difference of the two classes is the logit
    itself.

    Args:
        kind: any but auto, see `settle_target`.
        logits: (N, K), or (N, 1) in ``binary``.
        labels: (N,) positions in ``classes``.
        city: position of the target city in ``classes``.
        classes: K names; in ``binary`` the rest and the target city.
    """
    if partition is Partition.binary:
        return [
            _binary_target(kind, float(row[0]), int(label), classes) for row, label in zip(logits, labels, strict=True)
        ]
    return [_multi_target(kind, row, int(label), city, classes) for row, label in zip(logits, labels, strict=True)]


def _binary_target(kind: ExplainTarget, logit: float, label: int, classes: Sequence[str]) -> Target:
    predicted = int(logit > 0)
    chosen = {ExplainTarget.predicted: predicted, ExplainTarget.true: label, ExplainTarget.runner_up: 1 - predicted}
    if chosen.get(kind, 1) == 1:
        return LogitTarget(0, classes[1])
    return Negative(0, f"{classes[0]} (not {classes[1]})")


def _multi_target(
    kind: ExplainTarget, logits: NDArray[np.floating], label: int, city: int, classes: Sequence[str]
) -> Target:
    ranked = [int(index) for index in np.argsort(-logits, kind="stable")]
    if kind is ExplainTarget.difference:
        other = next(index for index in ranked if index != city)
        return Difference(city, other, f"{classes[city]} minus {classes[other]}")
    if kind is ExplainTarget.contrast:
        return Contrast(city, f"{classes[city]}, not others")
    chosen = {ExplainTarget.predicted: ranked[0], ExplainTarget.true: label, ExplainTarget.runner_up: ranked[1]}
    index = chosen.get(kind, city)
    return LogitTarget(index, classes[index])
