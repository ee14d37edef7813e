"""How often an element occurs here and elsewhere, and whether that could be chance. Walks are the units."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citycam import seeds
from citycam.statistics import mean_interval

Array = NDArray[np.floating]
# Additions of the exact test at most, in its table of sums; beyond that labels are drawn.
_MOST = 4_000_000
_DRAWS = 20_000


@dataclass(frozen=True)
class Shares:
    """Shares of pictures that have an element, 0 to 1, as means over walks: in the city, and elsewhere."""

    here: float
    elsewhere: float

    @property
    def lift(self) -> float:
        """How many times as often it occurs here; infinite where it never occurs elsewhere."""
        if self.elsewhere > 0:
            return self.here / self.elsewhere
        return math.inf if self.here > 0 else 1.0

    @property
    def difference(self) -> float:
        """By how much more it occurs here, -1 to 1."""
        return self.here - self.elsewhere


@dataclass(frozen=True)
class Prevalence(Shares):
    """The same with what is known of chance.

    Attributes:
        here_interval, elsewhere_interval: 95 %, by t over walks, within 0 and 1; (0, 1) for a single walk.
        p: of a permutation test over walks that it occurs no more here than elsewhere.
    """

    here_interval: tuple[float, float]
    elsewhere_interval: tuple[float, float]
    p: float


def shares(
    detected: NDArray[np.bool_], walks: Sequence[Hashable], own: NDArray[np.bool_], others: NDArray[np.bool_]
) -> Shares:
    """Return how often an element occurs in the pictures ``own`` and ``others``, without a test: see `prevalence`."""
    return Shares(*(mean_share(detected, walks, some) for some in (own, others)))


def mean_share(detected: NDArray[np.bool_], walks: Sequence[Hashable], some: NDArray[np.bool_]) -> float:
    """Return how often an element occurs in the pictures ``some``, as the mean over walks; 0 without a picture."""
    counts = _counts(detected[some], _chosen(walks, some))
    return float(np.mean([count / size for count, size in counts])) if counts else 0.0


def prevalence(
    detected: NDArray[np.bool_], walks: Sequence[Hashable], own: NDArray[np.bool_], others: NDArray[np.bool_], seed: int
) -> Prevalence:
    """Return how often an element occurs in the pictures ``own`` and ``others``.

    Args:
        detected: whether each picture has it (N,).
        walks: of the pictures (N,).
        own, others: bool (N,); no walk is in both.
        seed: of drawn labels, where there are too many to count.
    """
    here, elsewhere = (_counts(detected[some], _chosen(walks, some)) for some in (own, others))
    counts = np.array([count for count, _ in (*here, *elsewhere)], dtype=np.int64)
    sizes = np.array([size for _, size in (*here, *elsewhere)], dtype=np.int64)
    is_own = np.arange(len(sizes)) < len(here)
    rates = counts / sizes
    return Prevalence(
        here=float(rates[is_own].mean()),
        elsewhere=float(rates[~is_own].mean()),
        here_interval=_interval(rates[is_own]),
        elsewhere_interval=_interval(rates[~is_own]),
        p=occurs_more(counts, sizes, is_own, seed),
    )


def occurs_more(counts: NDArray[np.int64], sizes: NDArray[np.int64], own: NDArray[np.bool_], seed: int) -> float:
    """Return the p-value that walks ``own`` have no larger mean share than the others, by permuting labels of walks.

    The mean of the own walks alone orders the labelings, so that their sums are counted. Of all labelings, exactly: by
    the hypergeometric distribution where every walk is one picture, by dynamic programming over walks where all shares
    are multiples of a common part that is large enough; else of 20,000 drawn ones, the observed one among them (Phipson
    and Smyth 2010, "Permutation p-values should never be zero").

    Args:
        counts: pictures of each walk that have the element (W,).
        sizes: pictures of each walk (W,), at least 1.
        own: bool (W,).
    """
    chosen = int(own.sum())
    if not 0 < chosen < len(own):
        raise ValueError("a test needs walks of both kinds")
    if (sizes == 1).all():
        from scipy import stats

        return float(stats.hypergeom.sf(counts[own].sum() - 1, len(own), counts.sum(), chosen))
    common = math.lcm(*(int(size) for size in sizes))
    if common * len(own) * chosen * len(own) <= _MOST:
        return _exact((counts * (common // sizes)).astype(np.int64), own)
    rates = counts / sizes
    as_large = int((rates[_labels(seed, len(own), chosen, _DRAWS)].sum(axis=1) >= rates[own].sum() - 1e-9).sum())
    return (as_large + 1) / _DRAWS


def _labels(seed: int, walks: int, chosen: int, draws: int) -> NDArray[np.int32]:
    """Return drawn labelings, int (draws - 1, chosen)."""
    random = seeds.stream(seed, "study labels", walks, chosen)
    order = np.argsort(random.random((draws - 1, walks), dtype=np.float32), axis=1, kind="stable")
    return order[:, :chosen].astype(np.int32)


def smallest_p(own: int, walks: int) -> float:
    """Return the smallest p-value that ``own`` of ``walks`` walks allow."""
    return 1 / math.comb(walks, own)


def discoveries(p_values: Sequence[float]) -> Array:
    """Return the q-values of tests (Benjamini and Hochberg 1995), which control the share of false discoveries."""
    from scipy import stats

    if not len(p_values):
        return np.zeros(0)
    return np.asarray(stats.false_discovery_control(list(p_values)), dtype=np.float64)


def _exact(values: NDArray[np.int64], own: NDArray[np.bool_]) -> float:
    """Return the share of labelings whose sum of whole numbers (W,) is at least the observed one."""
    chosen, total = int(own.sum()), int(values.sum())
    # ways[k, s]: how many choices of k walks have the sum s.
    ways = np.zeros((chosen + 1, total + 1))
    ways[0, 0] = 1
    for value in values.tolist():
        ways[1:, value:] += ways[:-1, : total + 1 - value].copy()
    as_large = ways[chosen, int(values[own].sum()) :].sum()
    return min(1.0, float(as_large / ways[chosen].sum()))


def _chosen(walks: Sequence[Hashable], some: NDArray[np.bool_]) -> list[Hashable]:
    return [walks[place] for place in np.flatnonzero(some).tolist()]


def _counts(detected: NDArray[np.bool_], walks: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the pictures of each walk that have the element, and all of them."""
    counts: dict[Hashable, list[int]] = {}
    for is_there, walk in zip(detected.tolist(), walks, strict=True):
        its = counts.setdefault(walk, [0, 0])
        its[0] += is_there
        its[1] += 1
    return [(its[0], its[1]) for its in counts.values()]


def _interval(rates: Array) -> tuple[float, float]:
    low, high = mean_interval(rates)
    return max(0.0, low), min(1.0, high)
