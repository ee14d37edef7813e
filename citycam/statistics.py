"""Confidence intervals of accuracies, and the marks of an accuracy that shows nothing.

Every function is deterministic: there is no bootstrap, so equal answers have equal intervals on every machine.
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
from citycam.words import Mark, decimal

LEVEL = 0.95
# With fewer groups, intervals rest on too little, and not even all groups in favour of one model are significant.
FEW_GROUPS = 6
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Judgement:
    """An accuracy and the numbers that are shown beside it.

    Attributes:
        chance: 1 / number of classes among the pictures.
        groups: number of walks or videos; None where they are not known.
        effective_groups: see the function `effective_groups`; None likewise.
    """

    n: int
    accuracy: float
    accuracy_interval: Interval
    balanced_accuracy: float
    balanced_accuracy_interval: Interval
    majority_accuracy: float
    chance: float
    groups: int | None
    effective_groups: float | None

    @property
    def clustered(self) -> bool:
        """Whether intervals are over groups."""
        return self.groups is not None

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks that hold: see the function `marks`."""
        return marks(
            accuracy=self.accuracy,
            majority_accuracy=self.majority_accuracy,
            balanced_accuracy=self.balanced_accuracy,
            balanced_accuracy_interval=self.balanced_accuracy_interval,
            chance=self.chance,
            effective_groups=self.effective_groups,
        )

    def as_dict(self, part: str = "val") -> dict[str, Any]:
        """Return what run.json's ``final`` and ``best`` hold beside the metrics of a ``part``, val or test."""
        own = "" if part == "val" else f"{part}_"
        groups = {f"{own}groups": self.groups, f"{own}effective_groups": self.effective_groups}
        return {
            f"n_{part}": self.n,
            f"{own}majority_accuracy": self.majority_accuracy,
            f"{part}_accuracy_interval": list(self.accuracy_interval),
            f"{part}_balanced_accuracy_interval": list(self.balanced_accuracy_interval),
            f"{own}chance": self.chance,
            f"{own}interval_over": "groups" if self.clustered else "pictures",
            **(groups if self.clustered else {}),
        }


def judge(predicted: ArrayLike, labels: ArrayLike, groups: Sequence[Hashable] | None = None) -> Judgement:
    """Return an accuracy and the numbers that are shown beside it.

    Args:
        predicted: class numbers (N,).
        labels: true class numbers (N,).
        groups: the walk or video of each picture (N,), names distinct over cities; None where groups are not known.

    Raises:
        CitycamError: N is 0.
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
        groups=None if groups is None else len(set(groups)),
        effective_groups=None if groups is None else effective_groups(truth, groups),
    )


def marks(
    *,
    accuracy: float,
    majority_accuracy: float,
    balanced_accuracy: float,
    balanced_accuracy_interval: Sequence[float],
    chance: float,
    effective_groups: float | None = None,
) -> tuple[Mark, ...]:
    """Return a mark for an interval that reaches chance, for an accuracy not above the majority's, for few groups."""
    held = []
    low, high = balanced_accuracy_interval
    if low <= chance:
        held.append(
            Mark(
                "balanced_accuracy_reaches_chance",
                f"Balanced accuracy {decimal(balanced_accuracy)} cannot be told from guessing: its 95 % interval "
                f"[{decimal(low)}, {decimal(high)}] reaches chance, {decimal(chance)}.",
            )
        )
    if accuracy <= majority_accuracy:
        held.append(
            Mark(
                "accuracy_not_above_majority",
                f"Accuracy {decimal(accuracy)} is not above {decimal(majority_accuracy)}, the accuracy of always "
                "answering the most frequent class.",
            )
        )
    return (*held, *few_groups(effective_groups))


def few_groups(effective: float | None, part: str = "") -> tuple[Mark, ...]:
    """Return a mark for fewer effective groups than an interval can rest on.

    Args:
        effective: see `effective_groups`; None where groups are not known.
        part: of the pictures, where it is not the one that validates.
    """
    if effective is None or effective >= FEW_GROUPS:
        return ()
    pictures, code = (f"{part} pictures", f"{part}_few_groups") if part else ("pictures", "few_groups")
    sentence = (
        f"The {pictures} are of walks or videos that vary as {decimal(effective, 1)} of equal size would; over fewer "
        f"than {FEW_GROUPS} no interval can be trusted, so judge on more of them."
    )
    return (Mark(code, sentence),)


def majority_accuracy(labels: ArrayLike) -> float:
    """Return the accuracy of always answering the most frequent of ``labels`` (N,)."""
    _, counts = np.unique(np.asarray(labels), return_counts=True)
    return float(counts.max() / counts.sum())


def wilson(successes: float, n: float, level: float = LEVEL) -> Interval:
    """Return Wilson's score interval of a proportion (Wilson 1927, J. Am. Stat. Assoc. 22:209-212).

    Args:
        successes: 0 to ``n``; fractions are allowed, for effective numbers.
        n: above 0.
        level: coverage, between 0 and 1.
    """
    return _wilson(successes / n, n, normal_quantile(level))


def effective_groups(labels: ArrayLike, groups: Sequence[Hashable]) -> float:
    """Return how many groups of equal size would vary as much as these: 1 / sum of squared shares (Kish 1965).

    Of the accuracy's and the balanced accuracy's number it is the smaller one.

    Args:
        labels: true classes (N,).
        groups: name of the group of each picture (N,).
    """
    numbers = _number(groups)
    shares = np.bincount(numbers) / len(numbers)
    _, classes = np.unique(np.asarray(labels), return_inverse=True)
    walks = _Walks.of(np.zeros(len(numbers)), classes, numbers)
    numbers_of = 1 / (shares**2).sum(), len(walks.concentration) ** 2 / walks.concentration.sum()
    return round(float(min(numbers_of)), 6)


def clustered(correct: ArrayLike, groups: Sequence[Hashable], level: float = LEVEL) -> Interval:
    """Return the interval of a proportion over pictures that come in groups, as frames of a walk do.

    It is Wilson's interval with the effective number of pictures and Student's quantile (Dean & Pagano 2015, J. Surv.
    Stat. Methodol. 3:484-503). That number follows from the variance between groups and within them (Paule & Mandel
    1982, J. Res. Natl. Bur. Stand. 87:377-385), which groups of unequal size share; the degrees of freedom say how well
    both are known (Satterthwaite 1946, Biometrics Bull. 2:110-114). Where they cannot be estimated (one group, or all
    answers equal), there are as many pictures as effective groups.

    Args:
        correct: 0 or 1 (N,).
        groups: name of the group of each picture (N,).
    """
    values = np.asarray(correct, dtype=np.float64)
    return balanced(values, np.zeros(len(values), dtype=np.int64), groups, level)


def balanced(
    correct: ArrayLike, labels: ArrayLike, groups: Sequence[Hashable] | None = None, level: float = LEVEL
) -> Interval:
    """Return the interval of balanced accuracy, the mean over classes of the share of right answers.

    Each side is the wider of two intervals. One combines a Wilson interval per class by the squares of their arms
    (MOVER: Zou & Donner 2008, Stat. Med. 27:1693-1702); it is too narrow where most recalls are near 1. The other is
    Wilson's with the effective number of pictures p(1-p)/variance (Dean & Pagano 2015); it is too narrow where recalls
    differ much. With ``groups`` the effective number of each class is as in `clustered`, from variances estimated over
    all classes with two groups or more.

    Args:
        correct: 0 or 1 (N,).
        labels: true classes (N,); classes that do not occur are left out of the mean.
        groups: name of the group of each picture (N,), or None for independent pictures.

    Raises:
        CitycamError: N is 0.
    """
    values, given = np.asarray(correct, dtype=np.float64), np.asarray(labels)
    _check(values, given, groups)
    _, classes = np.unique(given, return_inverse=True)
    sizes = np.bincount(classes).astype(np.float64)
    shares = np.bincount(classes, weights=values) / sizes
    quantile = normal_quantile(level)
    if groups is not None:
        sizes, freedom = _Walks.of(values, classes, _number(groups)).effective_sizes()
        quantile = quantile if freedom is None else student_quantile(level, freedom)
    arms = np.array([_wilson(p, n, quantile) for p, n in zip(shares, sizes, strict=True)])
    mean = float(shares.mean())
    low = mean - math.sqrt(float(((shares - arms[:, 0]) ** 2).sum())) / len(shares)
    high = mean + math.sqrt(float(((arms[:, 1] - shares) ** 2).sum())) / len(shares)
    variance = float((shares * (1 - shares) / sizes).sum()) / len(shares) ** 2
    if variance > 0:
        whole = _wilson(mean, mean * (1 - mean) / variance, quantile)
        low, high = min(low, whole[0]), max(high, whole[1])
    return max(0.0, low), min(1.0, high)


def seeds_interval(values: Sequence[float], own: Sequence[Interval], level: float = LEVEL) -> Interval:
    """Return the interval, within 0 and 1, of the mean of two or more accuracies, one of each seed.

    It covers other trainings and other pictures: the arms of Student's interval over seeds and of the mean of the runs'
    ``own`` intervals are combined by their squares. Seeds of equal accuracy leave the latter.
    """
    numbers, bounds = np.asarray(values, dtype=np.float64), np.asarray(own, dtype=np.float64).mean(axis=0)
    mean = float(numbers.mean())
    arm = student_quantile(level, len(numbers) - 1) * float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
    below, above = math.hypot(arm, mean - float(bounds[0])), math.hypot(arm, float(bounds[1]) - mean)
    return max(0.0, mean - below), min(1.0, mean + above)


def mean_interval(values: ArrayLike, groups: Sequence[Hashable] | None = None, level: float = LEVEL) -> Interval:
    """Return the interval of the mean of numbers that come in groups, of any range: Student's, over groups.

    The standard error is that of a mean over pictures whose groups were drawn (Cochran 1977, Sampling Techniques,
    chapter 9A; Liang & Zeger 1986, Biometrika 73:13-22): from the sums of each group's differences to the mean, which
    may be correlated within a group in any way. Of a single group nothing is known: NaN.

    Args:
        values: (N,).
        groups: name of the group of each number (N,), or None for independent numbers.
    """
    numbers = np.asarray(values, dtype=np.float64)
    own = np.arange(len(numbers)) if groups is None else _number(groups)
    if len(numbers) == 0 or len(numbers) != len(own):
        raise ValueError(f"a mean needs numbers with a group each, not {len(numbers)} and {len(own)}")
    mean = float(numbers.mean())
    sums = np.bincount(own, weights=numbers - mean)
    count = len(sums)
    if count < 2:
        return math.nan, math.nan
    error = math.sqrt(float((sums**2).sum()) * count / (count - 1)) / len(numbers)
    arm = student_quantile(level, count - 1) * error
    return mean - arm, mean + arm


def normal_quantile(level: float) -> float:
    """Return z such that a standard normal lies within ±z with probability ``level``."""
    return NormalDist().inv_cdf((1 + level) / 2)


def student_quantile(level: float, freedom: float) -> float:
    """Return t such that Student's t with ``freedom`` >= 1 degrees of freedom lies within ±t with probability
    ``level``; above 2000 degrees the normal quantile, which is smaller by less than a thousandth at 0.95."""
    from scipy import special

    return normal_quantile(level) if freedom > 2000 else float(special.stdtrit(freedom, (1 + level) / 2))


def _wilson(share: float, n: float, quantile: float) -> Interval:
    square = quantile * quantile
    centre = (share * n + square / 2) / (n + square)
    arm = quantile / (n + square) * math.sqrt(n * share * (1 - share) + square / 4)
    # Rounding must not push the bounds past the proportion itself, where one of them belongs at 0 and 1.
    return max(0.0, min(centre - arm, share)), min(1.0, max(centre + arm, share))


@dataclass(frozen=True, slots=True)
class _Walks:
    """Walks of all classes: a walk whose pictures are of two classes is one in each.

    Attributes:
        size: pictures of each walk (W,).
        mean: share of right answers in each walk (W,).
        of_class: class of each walk (W,), 0 .. K-1.
        pictures: of each class (K,).
        concentration: sum of the squared shares of a class's walks (K,), 1 / effective number of walks.
    """

    size: NDArray[np.float64]
    mean: NDArray[np.float64]
    of_class: NDArray[np.int64]
    pictures: NDArray[np.float64]
    concentration: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64], classes: NDArray[np.int64], numbers: NDArray[np.int64]) -> _Walks:
        """Gather answers (N,) by class (N,) and number of the group (N,)."""
        groups = int(numbers.max()) + 1
        keys, walks = np.unique(classes * groups + numbers, return_inverse=True)
        size, of_class = np.bincount(walks).astype(np.float64), keys // groups
        pictures = np.bincount(of_class, weights=size).astype(np.float64)
        concentration = np.bincount(of_class, weights=(size / pictures[of_class]) ** 2).astype(np.float64)
        return cls(size, np.bincount(walks, weights=values) / size, of_class, pictures, concentration)

    def effective_sizes(self) -> tuple[NDArray[np.float64], float | None]:
        """Return the effective number of pictures of each class, and degrees of freedom; None where no variance is
        known."""
        # The variance of a class is p(1-p), with p from weights that are near the best ones for usual walks.
        weights = self.size / (1 + 0.1 * (self.size - 1))
        share = self._sum(weights * self.mean) / self._sum(weights)
        scale = share * (1 - share)
        inside = ((np.bincount(self.of_class) > 1) & (scale > 1e-12))[self.of_class]
        if not inside.any():
            return 1 / self.concentration, None
        known = _Walks(self.size[inside], self.mean[inside], self.of_class[inside], self.pictures, self.concentration)
        between, within, error = known._variances(scale)
        ratio = np.clip(between * self.concentration + within / self.pictures, 1 / self.pictures, 1.0)
        slope, most = float((scale * self.concentration).sum()), float(known._freedom())
        freedom = most if error == 0 else 2 * (float((scale * ratio).sum()) / slope / error) ** 2
        return 1 / ratio, min(most, max(1.0, freedom))

    def _variances(self, scale: NDArray[np.float64]) -> tuple[float, float, float]:
        """Return the variance between walks and within them, relative to ``scale`` (K,), and the first one's standard
        error."""
        from scipy import optimize

        unit, freedom = scale[self.of_class], self._freedom()
        inner = float(((self.size - 1) * unit).sum())
        within = float((self.size * self.mean * (1 - self.mean)).sum()) / inner if inner else 0.0

        def excess(between: float) -> float:
            weights = 1 / (between + within / self.size)
            centre = self._sum(weights * self.mean) / np.maximum(self._sum(weights), 1e-300)
            return float((weights * (self.mean - centre[self.of_class]) ** 2 / unit).sum()) - freedom

        plain = self._sum(self.mean) / np.maximum(np.bincount(self.of_class, minlength=len(scale)), 1)
        most = float(((self.mean - plain[self.of_class]) ** 2 / unit).sum()) / freedom
        if within == 0:
            between = most
        elif excess(0.0) <= 0:
            between = 0.0
        else:
            between = float(optimize.brentq(excess, 0.0, most))
        weights = 1 / (between + within / self.size)
        sums = self._sum(weights)
        spread = float((sums - self._sum(weights**2) / np.maximum(sums, 1e-300)).sum())
        return between, within, math.sqrt(2 * freedom) / spread

    def _freedom(self) -> int:
        return len(self.of_class) - len(np.unique(self.of_class))

    def _sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum values of walks (W,) by class (K,)."""
        return np.bincount(self.of_class, weights=values, minlength=len(self.pictures)).astype(np.float64)


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
