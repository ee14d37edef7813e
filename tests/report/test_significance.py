"""Tests against the best: all flips counted by hand, and how often equal models are called worse."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from citycam.report.ranking import _p_values
from citycam.report.significance import against_best, holm, welch


def counted(sums: NDArray[np.float64]) -> list[float]:
    """The same by counting: a share of all flips, with the best chosen anew in each, until no model leaves."""
    models, p_values, left, before = range(len(sums)), [1.0] * len(sums), list(range(len(sums))), 0.0
    best = int(np.argmax(sums.sum(axis=1)))

    def gap(values: NDArray[np.float64], first: int, other: int) -> float:
        error = math.sqrt(float(((sums[first] - sums[other]) ** 2).sum()))
        return float(values[first] - values[other]) / error if error else 0.0

    while True:
        mean = sums[left].mean(axis=0)
        largest = []
        for signs in itertools.product((1, -1), repeat=sums.shape[1]):
            values = ((sums - mean) * signs).sum(axis=1)
            top = max(left, key=lambda model: values[model])
            largest.append(max(gap(values, top, model) for model in left))
        p = {
            m: max(before, float(np.mean([v >= gap(sums.sum(axis=1), best, m) - 1e-9 for v in largest]))) for m in left
        }
        for model in left:
            p_values[model] = p[model]
        worse = [model for model in left if p[model] < 0.05]
        if not worse:
            p_values[best] = 1.0
            return [p_values[model] for model in models]
        before, left = max(p[model] for model in worse), [model for model in left if model not in worse]


def test_p_values_equal_all_flips_counted() -> None:
    rng = np.random.default_rng(2)
    for spread in (0.0, 1.0, 3.0):
        scores = rng.integers(0, 2, (4, 32)) * 1.0 - spread * np.array([0, 0, 0.1, 0.4])[:, None]
        sums = scores.reshape(4, 8, 4).sum(axis=2)
        groups = [f"w{place // 4}" for place in range(32)]
        assert against_best(scores, groups).tolist() == pytest.approx(counted(sums), abs=1e-12)


@given(st.integers(1, 10), st.data())
def test_of_two_models_without_groups_it_is_mcnemars_exact_test(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    scores = np.zeros((2, 40))
    scores[0, :right], scores[1, right:n] = 1, 1
    tail = Fraction(sum(math.comb(n, count) for count in range(min(right, n - right) + 1)), 2**n)
    assert against_best(scores).min() == pytest.approx(min(1.0, float(2 * tail)), abs=1e-10)
    assert against_best(scores, range(40)).tolist() == against_best(scores).tolist()


def test_equal_models_are_no_difference_and_random_flips_repeat() -> None:
    assert against_best(np.ones((3, 10))).tolist() == [1, 1, 1]
    scores = np.random.default_rng(0).integers(0, 2, (5, 900)).astype(float)
    assert against_best(scores).tolist() == against_best(scores).tolist()
    scores[0] = 1
    assert against_best(scores).tolist() == [1.0, *[pytest.approx(1 / 5000)] * 4]


def false_below(sizes: list[int], grouped: bool, times: int, seeds: int = 1) -> float:
    """The share of tables of eight equal models in which any is called worse than the best.

    Models agree on half of what makes a picture hard, and a fifth of it is shared by a walk.
    """
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    pictures, wrong = len(groups), 0
    for _ in range(times):
        shared = math.sqrt(0.2) * rng.standard_normal(len(sizes))[groups] + math.sqrt(0.8) * rng.standard_normal(
            pictures
        )
        own = math.sqrt(0.2) * rng.standard_normal((8, 1, len(sizes)))[:, :, groups]
        own = own + math.sqrt(0.8) * rng.standard_normal((8, seeds, pictures))
        trained = 0.2 * rng.standard_normal((8, seeds, 1)) * (seeds > 1)
        answers = math.sqrt(0.5) * (shared + own) + trained > -0.84
        answers = answers[np.argsort(-answers.mean(axis=(1, 2)), kind="stable")]
        names = [str(group) for group in groups] if grouped else None
        wrong += min(_p_values(list(answers), np.full(pictures, 1 / pictures), names)[1:]) < 0.05
    return wrong / times


TABLES = [([1] * 200, False, 1), ([10] * 20, True, 1), ([10] * 8, True, 1), ([5] * 40, True, 1), ([5] * 40, True, 3)]


def test_equal_models_are_seldom_called_worse() -> None:
    assert false_below([10] * 20, True, 150) <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "grouped", "seeds"), TABLES, ids=["pictures", "walks20", "walks8", "walks40", "seeds"]
)
def test_equal_models_are_called_worse_in_one_table_of_twenty(sizes: list[int], grouped: bool, seeds: int) -> None:
    # 5.5 %, and two standard errors of 2,000 tables.
    assert false_below(sizes, grouped, 2000, seeds) <= 0.055 + 0.01


def test_a_model_that_is_worse_is_found() -> None:
    rng = np.random.default_rng(1)
    scores = (rng.random((8, 400)) < np.array([0.9, 0.9, 0.9, 0.9, 0.6, 0.6, 0.6, 0.6])[:, None]).astype(float)
    p_values = against_best(scores, (np.arange(400) // 10).tolist())
    assert (p_values[4:] < 0.05).all()
    assert (p_values[:4] >= 0.05).all()


def test_welch_is_scipys_with_whole_degrees_of_freedom() -> None:
    one, other = [0.9, 0.92, 0.94, 0.91], [0.85, 0.89, 0.86, 0.88]  # 5.7 degrees of freedom
    assert welch(one, other) >= stats.ttest_ind(one, other, equal_var=False).pvalue
    t, freedom = stats.ttest_ind(one, other, equal_var=False).statistic, 5
    assert welch(one, other) == pytest.approx(2 * stats.t.sf(abs(t), freedom), abs=1e-12)
    assert welch([0.5, 0.5], [0.5, 0.5]) == 1.0
    assert welch([0.5, 0.5], [0.6, 0.6]) == 0.0


def test_holm_by_hand() -> None:
    assert holm([0.03, 0.01, 0.04, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert holm([]) == []
