"""Intervals around accuracies, paired tests between them, and the two marks that say when an accuracy shows nothing.

Every function is deterministic: no bootstrap, so equal answers have equal intervals on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from citycam.errors import CitycamError

LEVEL = 0.95
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that a reader of a number must know: ``code`` for programs, ``sentence`` for people."""

    code: str
    sentence: str

    def as_dict(self) -> dict[str, str]:
        """As it stands in run.json's ``warnings``."""
        return {"code": self.code, "sentence": self.sentence}


@dataclass(frozen=True, slots=True)
class Judgement:
    """An accuracy with all that has to stand beside it; ``chance`` is 1 / number of classes among the pictures."""

    n: int
    accuracy: float
    accuracy_interval: Interval
    balanced_accuracy: float
    balanced_accuracy_interval: Interval
    majority_accuracy: float
    chance: float
    clustered: bool

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The two marks, where they hold."""
        return marks(
            accuracy=self.accuracy,
            majority_accuracy=self.majority_accuracy,
            balanced_accuracy=self.balanced_accuracy,
            balanced_accuracy_interval=self.balanced_accuracy_interval,
            chance=self.chance,
        )

    def as_dict(self, part: str = "val") -> dict[str, Any]:
        """The keys that run.json's ``final`` and ``best`` take beside the metrics of a ``part``, val or test."""
        own = "" if part == "val" else f"{part}_"
        return {
            f"n_{part}": self.n,
            f"{own}majority_accuracy": self.majority_accuracy,
            f"{part}_accuracy_interval": list(self.accuracy_interval),
            f"{part}_balanced_accuracy_interval": list(self.balanced_accuracy_interval),
            f"{own}chance": self.chance,
            f"{own}interval_over": "groups" if self.clustered else "pictures",
        }


def judge(predicted: ArrayLike, labels: ArrayLike, groups: Sequence[Hashable] | None = None) -> Judgement:
    """All numbers beside an accuracy.

    Args:
        predicted: class numbers (N,).
        labels: true class numbers (N,).
        groups: the walk or video of each picture, names distinct over cities; None where groups are not known.
    """
    truth = np.asarray(labels, dtype=np.int64)
    correct = np.asarray(predicted, dtype=np.int64) == truth
    _check(correct, truth, groups)
    known = np.unique(truth)
    return Judgement(
        n=len(truth),
        accuracy=float(correct.mean()),
        accuracy_interval=wilson(int(correct.sum()), len(truth)) if groups is None else clustered(correct, groups),
        balanced_accuracy=float(np.mean([correct[truth == k].mean() for k in known])),
        balanced_accuracy_interval=balanced(correct, truth, groups),
        majority_accuracy=majority_accuracy(truth),
        chance=1 / len(known),
        clustered=groups is not None,
    )


def marks(
    *,
    accuracy: float,
    majority_accuracy: float,
    balanced_accuracy: float,
    balanced_accuracy_interval: Sequence[float],
    chance: float,
) -> tuple[Mark, ...]:
    """Marks for an accuracy not above the majority's, and for a balanced accuracy whose interval reaches chance."""
    found = []
    low, high = balanced_accuracy_interval
    if low <= chance:
        found.append(
            Mark(
                "balanced_accuracy_reaches_chance",
                f"Balanced accuracy {balanced_accuracy:.3f} cannot be told from guessing: its 95 % interval "
                f"[{low:.3f}, {high:.3f}] reaches chance, {chance:.3f}.",
            )
        )
    if accuracy <= majority_accuracy:
        found.append(
            Mark(
                "accuracy_not_above_majority",
                f"Accuracy {accuracy:.3f} is not above {majority_accuracy:.3f}, which is had by always answering the "
                "most frequent class.",
            )
        )
    return tuple(found)


def majority_accuracy(labels: ArrayLike) -> float:
    """Accuracy of always answering the most frequent of ``labels`` (N,)."""
    _, counts = np.unique(np.asarray(labels), return_counts=True)
    return float(counts.max() / counts.sum())


def wilson(successes: float, n: float, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927, J. Am. Stat. Assoc. 22:209-212).

    Args:
        successes: 0 to ``n``; fractions are allowed, for effective numbers.
        n: above 0.
        level: coverage, between 0 and 1.
    """
    return _wilson(successes / n, n, normal_quantile(level))


def clustered(correct: ArrayLike, groups: Sequence[Hashable], level: float = LEVEL) -> Interval:
    """Interval of a proportion over pictures that come in groups, as frames of a walk do.

    Wilson's interval with the effective number of pictures n / deff and Student's quantile with groups - 1 degrees of
    freedom (Dean & Pagano 2015, J. Surv. Stat. Methodol. 3:484-503; effective number after Korn & Graubard 1998, Survey
    Methodology 24:193-201). deff, the design effect, is the cluster-robust variance of the proportion over its variance
    had the pictures been independent; below 1 it is taken as 1. Where it cannot be estimated (one group, or all
    pictures alike) each group counts as one picture.

    Args:
        correct: 0 or 1 (N,).
        groups: name of the group of each picture (N,).
    """
    values = np.asarray(correct, dtype=np.float64)
    return balanced(values, np.zeros(len(values), dtype=np.int64), groups, level)


def balanced(
    correct: ArrayLike, labels: ArrayLike, groups: Sequence[Hashable] | None = None, level: float = LEVEL
) -> Interval:
    """Interval of balanced accuracy, the mean over classes of the share of right answers.

    On either side the wider of two: one Wilson interval per class, combined by the squares of their arms (MOVER: Zou &
    Donner 2008, Stat. Med. 27:1693-1702), which is too narrow where most recalls are near 1; and Wilson's interval with
    the effective number of pictures p(1-p)/variance (Dean & Pagano 2015), too narrow where recalls differ much. With
    ``groups``, variances are those of independent pictures times one design effect that is estimated over all classes
    that hold two groups or more (see `clustered`). In simulations of 16 and 40 groups coverage is 0.93 to 0.98.

    Args:
        correct: 0 or 1 (N,).
        labels: true classes (N,); classes that do not occur are left out of the mean.
        groups: name of the group of each picture (N,), or None for independent pictures.
    """
    values, classes = np.asarray(correct, dtype=np.float64), np.asarray(labels)
    _check(values, classes, groups)
    masks = [classes == k for k in np.unique(classes)]
    shares = np.array([values[mask].mean() for mask in masks])
    sizes = np.array([mask.sum() for mask in masks], dtype=np.float64)
    quantile = normal_quantile(level)
    if groups is not None:
        numbers = _number(groups)
        effect, freedom = _design_effect(values, masks, shares, numbers)
        if effect is None:
            sizes = np.array([len(np.unique(numbers[mask])) for mask in masks], dtype=np.float64)
        else:
            sizes, quantile = sizes / effect, student_quantile(level, freedom)
    arms = np.array([_wilson(p, n, quantile) for p, n in zip(shares, sizes, strict=True)])
    mean = float(shares.mean())
    low = mean - math.sqrt(float(((shares - arms[:, 0]) ** 2).sum())) / len(shares)
    high = mean + math.sqrt(float(((arms[:, 1] - shares) ** 2).sum())) / len(shares)
    variance = float((shares * (1 - shares) / sizes).sum()) / len(shares) ** 2
    if variance > 0:
        whole = _wilson(mean, mean * (1 - mean) / variance, quantile)
        low, high = min(low, whole[0]), max(high, whole[1])
    return max(0.0, low), min(1.0, high)


def seeds_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's interval of the mean of two or more accuracies, one of each seed, within 0 and 1.

    It tells how far chance in training moves the mean; other pictures could move it farther.
    """
    numbers = np.asarray(values, dtype=np.float64)
    arm = student_quantile(level, len(numbers) - 1) * float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
    mean = float(numbers.mean())
    return max(0.0, mean - arm), min(1.0, mean + arm)


def sign_flip(differences: ArrayLike, groups: Sequence[Hashable] | None = None) -> float:
    """Two-sided p-value of paired differences: had each group of pictures as well favoured the other side, how often
    would the sum be as far from 0 as it is? Exact: every flip of the groups' signs is counted.

    For right (1) less right (0) answers of two models without groups this is McNemar's exact test (McNemar 1947,
    Psychometrika 12:153-157); with groups, Fisher's randomisation test over their sums.

    Args:
        differences: whole numbers (N,), one per picture.
        groups: name of the group of each picture (N,), or None for independent pictures.
    """
    values = np.asarray(differences, dtype=np.int64)
    if groups is None:
        sizes, counts = np.unique(np.abs(values[values != 0]), return_counts=True)
        if len(sizes) == 1:
            return _binomial(int(counts[0]), int((values > 0).sum()))
        sums = values
    else:
        numbers = _number(groups)
        sums = np.bincount(numbers, weights=values).astype(np.int64)
    steps = np.abs(sums[sums != 0])
    if not len(steps):
        return 1.0
    steps, observed = steps // np.gcd.reduce(steps), abs(int(sums.sum())) // int(np.gcd.reduce(steps))
    reach = int(steps.sum())
    shares = np.zeros(2 * reach + 1)  # of all flips, by their sum
    shares[reach] = 1.0
    for step in steps.tolist():
        flipped = np.zeros_like(shares)
        flipped[step:] += shares[: len(shares) - step] / 2
        flipped[: len(shares) - step] += shares[step:] / 2
        shares = flipped
    far = np.abs(np.arange(-reach, reach + 1)) >= observed
    return min(1.0, float(shares[far].sum()))


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value that two means over seeds differ (Welch 1947, Biometrika 34:28-35), degrees of freedom rounded
    down; two or more values on both sides."""
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    parts = [float(side.var(ddof=1)) / len(side) for side in (one, other)]
    gap, variance = abs(float(one.mean() - other.mean())), sum(parts)
    if variance == 0:
        return 1.0 if gap == 0 else 0.0
    below = sum(part**2 / (len(side) - 1) for part, side in zip(parts, (one, other), strict=True))
    freedom = max(1, int(variance**2 / below))
    return 1 - _student_within(math.atan(gap / math.sqrt(variance * freedom)), freedom)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values made larger for having tested several times (Holm 1979, Scand. J. Stat. 6:65-70), in their order."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def normal_quantile(level: float) -> float:
    """z such that a standard normal lies within ±z with probability ``level``."""
    return NormalDist().inv_cdf((1 + level) / 2)


def student_quantile(level: float, freedom: int) -> float:
    """t such that Student's t with ``freedom`` >= 1 degrees of freedom lies within ±t with probability ``level``."""
    if freedom > 2000:
        return normal_quantile(level)
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_within(middle, freedom) < level else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _student_within(angle: float, freedom: int) -> float:
    # P(|T| <= t) with angle = atan(t / sqrt(freedom)): Abramowitz & Stegun 26.7.3 (odd) and 26.7.4 (even).
    cosine, odd = math.cos(angle), freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(1 + odd, freedom, 2):
        total += term
        term *= cosine * cosine * step / (step + 1)
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def _binomial(n: int, successes: int) -> float:
    """Two-sided p-value of ``successes`` out of ``n`` tosses of a fair coin."""
    tail = term = 1
    for count in range(min(successes, n - successes)):
        term = term * (n - count) // (count + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << n))


def _wilson(share: float, n: float, quantile: float) -> Interval:
    square = quantile * quantile
    centre = (share * n + square / 2) / (n + square)
    arm = quantile / (n + square) * math.sqrt(n * share * (1 - share) + square / 4)
    # Rounding must not push the bounds past the proportion itself, where one of them belongs at 0 and 1.
    return max(0.0, min(centre - arm, share)), min(1.0, max(centre + arm, share))


def _design_effect(
    values: NDArray[np.float64], masks: list[NDArray[np.bool_]], shares: NDArray[np.float64], groups: NDArray[np.int64]
) -> tuple[float | None, int]:
    clustered_variance = independent_variance = 0.0
    freedom = 0
    for mask, share in zip(masks, shares, strict=True):
        members, numbers = np.unique(groups[mask], return_inverse=True)
        if len(members) < 2:
            continue
        sums = np.bincount(numbers, weights=values[mask] - share)
        size = int(mask.sum())
        clustered_variance += len(members) / (len(members) - 1) * float((sums**2).sum()) / size**2
        independent_variance += float(share * (1 - share)) / size
        freedom += len(members) - 1
    if independent_variance == 0:
        return None, 0
    return max(1.0, clustered_variance / independent_variance), freedom


def _number(groups: Sequence[Hashable]) -> NDArray[np.int64]:
    order: dict[Hashable, int] = {}
    return np.array([order.setdefault(group, len(order)) for group in groups], dtype=np.int64)


def _check(correct: NDArray[Any], labels: NDArray[Any], groups: Sequence[Hashable] | None) -> None:
    if len(labels) == 0:
        raise CitycamError("There are no pictures to judge an accuracy by; give validation at least one picture.")
    if len(correct) != len(labels) or (groups is not None and len(groups) != len(labels)):
        raise ValueError(
            f"{len(correct)} answers, {len(labels)} labels, {groups and len(groups)} groups differ in number"
        )
