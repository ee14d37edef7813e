"""Intervals against slow references and by simulation; verdicts at their limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from citycam.report.verdicts import BLIND, FINDS, NOT_USED, TOO_FEW, WEAK
from citycam.selfcheck import judge
from citycam.selfcheck.judge import Pointed

N = 120
GROUPS = [str(place // 2) for place in range(N)]


def pointed(share: float, *, decoy: float = 0.0, energy: float = 0.3, n: int = N) -> Pointed:
    """A method that points at the cue in a share of the pictures, at the decoy in another."""
    hits, wrong = np.zeros(n), np.zeros(n)
    hits[: round(share * n)] = 1
    wrong[n - round(decoy * n) :] = 1
    spread = np.random.default_rng(round(1000 * energy)).normal(0, 0.01, n)
    return Pointed(hits, wrong, energy + spread, np.zeros(n), np.zeros(n), 0)


CONTROLS = {"saturation": pointed(0.4, decoy=0.4, energy=0.08), "random": pointed(0.02, decoy=0.02, energy=0.02)}


def verdict(method: Pointed, **changes: object) -> tuple[str, str]:
    """The verdict on a method, under usual circumstances but for the changes."""
    usual: dict[str, object] = {"pictures": 60, "used": True, "unchanged": 0.0}
    return judge.verdict(method, CONTROLS, GROUPS, **(usual | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "changes", "word", "reason"),
    [
        (pointed(0.7), {}, FINDS, "0.70"),
        (pointed(0.7), {"used": False}, NOT_USED, "half of the contrast"),
        (pointed(0.7), {"pictures": 59}, TOO_FEW, "59 pictures, and 60"),
        (pointed(0.7), {"unchanged": None}, FINDS, "0.70"),
        (pointed(0.7), {"unchanged": 0.5}, WEAK, "hardly change with the weights"),
        (pointed(0.55), {}, WEAK, "0.55"),  # its interval reaches below a half
        (pointed(0.7, energy=0.08), {}, WEAK, "energy is not above that of saturation"),
        (pointed(0.7, decoy=0.69), {}, WEAK, "cue over decoy is not above"),
        (pointed(0.3), {}, WEAK, "0.30"),
        (pointed(0.15), {}, WEAK, "0.15"),  # its interval reaches above a fifth
        (pointed(0.05), {}, BLIND, "0.05"),
        (pointed(0.0), {}, BLIND, "0.00"),
    ],
)
def test_verdicts(method: Pointed, changes: dict[str, object], word: str, reason: str) -> None:
    given = verdict(method, **changes)
    assert given[0] == word
    assert reason in given[1]


def test_a_control_never_finds() -> None:
    best = pointed(0.9, decoy=0.0, energy=0.5)
    word, reason = judge.verdict(best, {"edges": best}, GROUPS, pictures=60, used=True, unchanged=None)
    assert (word, "edges" in reason) == (WEAK, True)


def test_the_t_interval_of_single_pictures_is_students() -> None:
    values = np.random.default_rng(1).normal(2, 3, 25)
    estimate = judge.mean(values, [str(place) for place in range(25)])
    low, high = stats.t.interval(0.95, 24, values.mean(), stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high))


def test_the_t_interval_of_equal_groups_is_students_of_their_means() -> None:
    values = np.random.default_rng(2).normal(0, 1, (12, 5)) + np.random.default_rng(3).normal(0, 2, (12, 1))
    estimate = judge.mean(values.ravel(), [f"walk{place // 5}" for place in range(60)])
    means = values.mean(axis=1)
    assert (estimate.low, estimate.high) == pytest.approx(stats.t.interval(0.95, 11, means.mean(), stats.sem(means)))


def test_intervals_cover_what_walks_of_unequal_size_vary_around() -> None:
    rng = np.random.default_rng(4)
    covered = {"mean": 0, "share": 0}
    rounds = 400
    for _ in range(rounds):
        sizes = rng.integers(2, 12, 14)
        groups = np.repeat(np.arange(14), sizes).astype(str).tolist()
        values = np.repeat(rng.normal(0, 1, 14), sizes) + rng.normal(0, 1, int(sizes.sum()))
        hits = (rng.random(int(sizes.sum())) < np.repeat(rng.beta(4, 4, 14), sizes)).astype(float)
        estimates = {"mean": (judge.mean(values, groups), 0.0), "share": (judge.share(hits, groups), 0.5)}
        for name, (its, truth) in estimates.items():
            covered[name] += its.low <= truth <= its.high
    assert all(0.91 <= count / rounds <= 0.985 for count in covered.values()), covered


def test_a_method_as_good_as_a_control_is_hardly_ever_called_better() -> None:
    rng = np.random.default_rng(5)
    better = 0
    for _ in range(300):
        method, control = (
            Pointed((rng.random(N) < 0.75).astype(float), np.zeros(N), rng.normal(0.2, 0.1, N), *[np.zeros(N)] * 2, 0)
            for _ in range(2)
        )
        word, _reason = judge.verdict(method, {"c": control}, GROUPS, pictures=60, used=True, unchanged=None)
        better += word == FINDS
    assert better <= 6  # both of two comparisons, each one-sided at 2.5 %


def test_what_is_used() -> None:
    contrast = np.full(10, 4.0)
    assert judge.is_used(np.full(10, 2.0), contrast)
    assert not judge.is_used(np.full(10, 1.99), contrast)
    assert not judge.is_used(np.full(10, 2.0), -contrast)
    assert judge.strongly_used(np.array([2.1, 2.0, -1.0]), np.array([4.0, 4.0, -4.0])).tolist() == [True, False, False]


def test_one_group_has_no_variance() -> None:
    with pytest.raises(ValueError, match="one group"):
        judge.mean(np.arange(5.0), ["walk"] * 5)
