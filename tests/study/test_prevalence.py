"""The permutation test over walks against enumeration, and under the null."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from citycam.study import prevalence as its
from citycam.study.prevalence import Prevalence, discoveries, occurs_more, prevalence, smallest_p


def slow(counts: np.ndarray, sizes: np.ndarray, own: np.ndarray) -> float:
    """Every labeling, one after the other."""
    shares, chosen = counts / sizes, np.flatnonzero(own)

    def difference(labels: tuple[int, ...]) -> float:
        is_own = np.isin(np.arange(len(shares)), labels)
        return float(shares[is_own].mean() - shares[~is_own].mean())

    observed = difference(tuple(chosen.tolist()))
    every = [difference(labels) for labels in itertools.combinations(range(len(shares)), len(chosen))]
    return float(np.mean([one >= observed - 1e-12 for one in every]))


@st.composite
def walks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = draw(st.integers(2, 8))
    sizes = np.array(draw(st.lists(st.integers(1, 6), min_size=count, max_size=count)))
    counts = np.array([draw(st.integers(0, int(size))) for size in sizes])
    own = np.arange(count) < draw(st.integers(1, count - 1))
    return counts, sizes, own


@given(given_walks=walks())
def test_the_exact_test_counts_every_labeling(given_walks: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    counts, sizes, own = given_walks
    p = occurs_more(counts, sizes, own, seed=0)
    assert p == pytest.approx(slow(counts, sizes, own))
    assert p >= smallest_p(int(own.sum()), len(own)) - 1e-12


def test_drawn_labels_are_close_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    sizes = np.full(14, 5)
    counts, own = random.integers(0, 6, 14), np.arange(14) < 5
    exact = occurs_more(counts, sizes, own, seed=0)
    monkeypatch.setattr(its, "_MOST", 0)
    drawn = [occurs_more(counts, sizes, own, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn == pytest.approx([exact] * 3, abs=4 * math.sqrt(exact * (1 - exact) / its._DRAWS) + 1e-4)


@pytest.mark.parametrize("most", [its._MOST, 0], ids=["exact", "drawn"])
def test_without_a_difference_it_is_called_in_no_more_than_its_level(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(its, "_MOST", most)
    monkeypatch.setattr(its, "_DRAWS", 2000)
    random = np.random.default_rng(1)
    own = np.arange(30) < 6
    ps = []
    for _ in range(400):
        rates = np.clip(random.normal(0.3, 0.2, 30), 0, 1)  # walks differ from each other
        sizes = random.integers(2, 8, 30)
        ps.append(occurs_more(random.binomial(sizes, rates), sizes, own, seed=0))
    assert np.mean(np.array(ps) <= 0.05) <= 0.06
    assert np.mean(np.array(ps) <= 0.5) == pytest.approx(0.5, abs=0.1)


def test_a_planted_difference_is_called() -> None:
    sizes = np.full(20, 5)
    counts = np.where(np.arange(20) < 5, 4, np.arange(20) % 2)
    assert occurs_more(counts, sizes, np.arange(20) < 5, seed=0) == pytest.approx(1 / math.comb(20, 5))


@pytest.mark.parametrize(("counts", "p"), [([3, 1, 0, 2], 1 / 4), ([2, 2, 0, 1], 2 / 4), ([0, 2, 1, 3], 1)])
def test_of_one_own_walk_p_is_its_rank(counts: list[int], p: float) -> None:
    own = np.arange(4) < 1
    assert occurs_more(np.array(counts), np.full(4, 3), own, seed=0) == p
    assert smallest_p(1, 4) == 1 / 4


def test_drawn_labels_never_give_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(its, "_MOST", 0)
    own = np.arange(60) < 20
    assert occurs_more(own * 5, np.full(60, 5), own, seed=0) == 1 / its._DRAWS


def test_the_interval_of_a_single_walk_tells_nothing() -> None:
    own = np.array([True, True, False, False])
    found = prevalence(np.array([True, False, True, False]), ["a", "a", "b", "c"], own, ~own, seed=0)
    assert found.here_interval == (0, 1)


def test_equal_walks_tell_nothing() -> None:
    assert occurs_more(np.full(6, 2), np.full(6, 4), np.arange(6) < 3, seed=0) == 1
    with pytest.raises(ValueError, match="both kinds"):
        occurs_more(np.ones(3, dtype=int), np.ones(3, dtype=int), np.ones(3, dtype=bool), seed=0)


def test_shares_are_means_over_walks_and_sharers_are_left_out() -> None:
    detected = np.array([True, True, True, False, False, True, False, False])
    names = ["a", "a", "a", "b", "c", "d", "e", "e"]
    own = np.array([True] * 4 + [False] * 4)
    others = np.array([False] * 4 + [True, False, True, True])  # d is a sharer
    found = prevalence(detected, names, own, others, seed=0)
    assert (found.here, found.elsewhere) == (0.5, 0)
    assert found.lift == math.inf
    assert found.difference == 0.5
    assert 0 <= found.here_interval[0] <= found.here <= found.here_interval[1] <= 1


@pytest.mark.parametrize(("here", "elsewhere", "lift"), [(0.6, 0.3, 2), (0, 0, 1), (0.2, 0, math.inf), (0, 0.5, 0)])
def test_lift(here: float, elsewhere: float, lift: float) -> None:
    assert Prevalence(here, elsewhere, (0, 1), (0, 1), 0.5).lift == pytest.approx(lift)


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    ps = [0.01, 0.04, 0.03, 0.5]
    np.testing.assert_allclose(discoveries(ps), [0.04, 0.04 * 4 / 3, 0.04 * 4 / 3, 0.5])
    assert len(discoveries([])) == 0


@pytest.mark.parametrize("sizes", ["equal", pytest.param("unequal", marks=pytest.mark.slow)])
def test_labels_shuffled_by_walk_at_the_test_rarely_leave_any_discovery(sizes: str) -> None:
    """Eight cities of five walks and twenty elements, as a study of toytown has; walks differ, cities do not.

    Where nothing is true, Benjamini and Hochberg's procedure leaves any discovery in 5 % of trials; so many trials may
    have one as a binomial of 5 % has once in 200 times. (Tests over pictures instead of walks leave one in 63 of 150.)
    """
    random, trials, found = np.random.default_rng(0), 150, 0
    cities, walks, elements = 8, 40, 20
    for _ in range(trials):
        each = np.full(walks, 5) if sizes == "equal" else random.integers(2, 9, walks)
        names = np.repeat(np.arange(walks), each)
        city = np.repeat(random.permutation(np.repeat(np.arange(cities), walks // cities)), each)
        its = []
        for element in range(elements):
            rates = random.beta(0.6, 1.5, walks)
            detected = random.random(len(names)) < np.repeat(rates, each)
            own = city == element % cities
            its.append(prevalence(detected, names.tolist(), own, ~own, 0))
        q_values = discoveries([one.p for one in its])
        found += any(q <= 0.05 and one.lift >= 1.5 for q, one in zip(q_values, its, strict=True))
    assert found <= stats.binom.ppf(0.995, trials, 0.05)
