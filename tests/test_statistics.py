"""Intervals and tests against scipy, closed forms and simulation; the marks against their definitions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from citycam import statistics as s
from citycam.errors import CitycamError


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 20), (1, 20), (68, 100), (49, 100), (99, 100), (100, 100)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_equals_scipy(successes: int, n: int, level: float) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert s.wilson(successes, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_in_numbers() -> None:
    assert s.wilson(68, 100) == pytest.approx((0.5834, 0.7633), abs=1e-4)
    assert s.wilson(0, 10) == pytest.approx((0, 3.8415 / 13.8415), abs=1e-4)


def share_within(t: float, freedom: int) -> float:
    """P(|T| <= t) by the finite sums of Abramowitz & Stegun, 26.7.3 (odd ``freedom``) and 26.7.4 (even)."""
    angle, odd = math.atan(t / math.sqrt(freedom)), freedom % 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for step in range(1 + odd, freedom, 2):
        total += term
        term *= math.cos(angle) ** 2 * step / (step + 1)
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


@settings(deadline=None)
@given(st.integers(1, 2000), st.floats(0.01, 0.999))
def test_student_quantile_holds_its_level(freedom: int, level: float) -> None:
    assert share_within(s.student_quantile(level, freedom), freedom) == pytest.approx(level, abs=1e-10)


def test_student_quantile_in_closed_form_and_beyond_2000_degrees() -> None:
    assert s.student_quantile(0.95, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-10)
    assert s.student_quantile(0.95, 2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-10)
    assert s.student_quantile(0.95, 2001) == s.normal_quantile(0.95)


def test_groups_of_one_picture_give_wilson_up_to_students_quantile() -> None:
    correct = np.arange(4000) % 10 < 7
    assert s.clustered(correct, list(range(4000))) == pytest.approx(s.wilson(2800, 4000), abs=1e-4)


def test_groups_of_equal_pictures_count_once() -> None:
    # 40 groups of 25 identical answers hold as much as 40 pictures: deff = 25 * 40 / 39.
    correct, groups = np.repeat(np.arange(40) % 4 > 0, 25), np.repeat(np.arange(40), 25).tolist()
    t, n = stats.t.ppf(0.975, 39), 39
    centre, arm = (0.75 * n + t**2 / 2) / (n + t**2), t / (n + t**2) * np.sqrt(n * 0.75 * 0.25 + t**2 / 4)
    assert s.clustered(correct, groups) == pytest.approx((centre - arm, centre + arm), abs=1e-9)


@pytest.mark.parametrize("right", [0, 1])
def test_where_all_pictures_are_alike_each_group_counts_as_one(right: int) -> None:
    groups = np.repeat(np.arange(12), 20).tolist()
    assert s.clustered(np.full(240, right), groups) == pytest.approx(s.wilson(12 * right, 12))


def test_one_group_says_as_much_as_one_picture() -> None:
    assert s.clustered([1, 1, 1, 0], ["a"] * 4) == pytest.approx(s.wilson(0.75, 1))


def test_balanced_of_one_class_is_clustered_or_wilson() -> None:
    correct, groups = np.arange(60) % 3 > 0, (np.arange(60) // 7).tolist()
    labels = np.zeros(60, dtype=int)
    assert s.balanced(correct, labels) == pytest.approx(s.wilson(40, 60))
    assert s.balanced(correct, labels, groups) == pytest.approx(s.clustered(correct, groups))


def test_balanced_of_always_the_same_answer_in_numbers() -> None:
    # Recalls 1 (of 400) and 0 (of 100): half the arms 3.8415/403.8415 and 3.8415/103.8415, upwards only the second.
    labels = np.repeat([0, 1], [400, 100])
    low, high = s.balanced(labels == 0, labels)
    assert (low, high) == pytest.approx((0.5 - 3.8415 / 403.8415 / 2, 0.5 + 3.8415 / 103.8415 / 2), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_intervals_hold_the_estimate_and_stay_in_0_1(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40))
    correct = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    groups = data.draw(st.none() | st.lists(st.sampled_from("abcdef"), min_size=n, max_size=n))
    low, high = s.balanced(correct, labels, groups)
    mean = np.mean([correct[labels == k].mean() for k in np.unique(labels)])
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    order = np.random.default_rng(0).permutation(n)
    moved = None if groups is None else [groups[i] for i in order]
    assert s.balanced(correct[order], labels[order], moved) == pytest.approx((low, high), abs=1e-12)


def _simulated(
    rng: np.random.Generator, groups: int, share: float, correlation: float
) -> tuple[np.ndarray, np.ndarray]:
    scale = (1 - correlation) / correlation
    chances = rng.beta(share * scale, (1 - share) * scale, groups)
    numbers = np.repeat(np.arange(groups), rng.integers(6, 19, groups))
    return (rng.random(len(numbers)) < chances[numbers]).astype(float), numbers


@pytest.mark.parametrize(("share", "correlation"), [(0.5, 0.3), (0.9, 0.05), (0.9, 0.3), (0.97, 0.3)])
def test_clustered_intervals_cover_where_wilsons_does_not(share: float, correlation: float) -> None:
    rng = np.random.default_rng(7)
    clustered = balanced = plain = 0
    for _ in range(400):
        correct, groups = _simulated(rng, 16, share, correlation)
        low, high = s.clustered(correct, groups.tolist())
        clustered += low <= share <= high
        low, high = s.balanced(correct, groups % 8, groups.tolist())
        balanced += low <= share <= high
        low, high = s.wilson(correct.sum(), len(correct))
        plain += low <= share <= high
    assert clustered >= 0.90 * 400
    assert balanced >= 0.91 * 400
    if correlation > 0.1:
        assert plain <= 0.75 * 400


def test_majority_accuracy() -> None:
    assert s.majority_accuracy([0, 0, 0, 1]) == 0.75
    assert s.majority_accuracy([5]) == 1.0


def test_judge_marks_an_answer_that_is_always_the_majority() -> None:
    judgement = s.judge(np.zeros(100, dtype=int), np.repeat([0, 1], [90, 10]))
    assert judgement.accuracy == judgement.majority_accuracy == 0.9
    assert judgement.balanced_accuracy == judgement.chance == 0.5
    assert [mark.code for mark in judgement.marks] == [
        "balanced_accuracy_reaches_chance",
        "accuracy_not_above_majority",
    ]
    assert judgement.as_dict()["n_val"] == 100


def test_the_two_marks_are_apart() -> None:
    labels = np.repeat([0, 1], [900, 100])
    # Both classes at 0.8: accuracy lies below the majority's 0.9, yet balanced accuracy is well above chance.
    predicted = np.where(np.arange(1000) % 5 == 0, 1 - labels, labels)
    assert [mark.code for mark in s.judge(predicted, labels).marks] == ["accuracy_not_above_majority"]
    few = s.judge([0, 0, 1, 1], [0, 0, 1, 0])
    assert [mark.code for mark in few.marks] == ["balanced_accuracy_reaches_chance", "accuracy_not_above_majority"]
    assert s.judge(labels, labels).marks == ()


def test_groups_widen_the_judgement() -> None:
    labels, groups = np.arange(200) % 4, (np.arange(200) // 20).tolist()
    predicted = np.where(np.arange(200) // 20 % 5 == 0, 9, labels)
    alone, grouped = s.judge(predicted, labels), s.judge(predicted, labels, groups)
    assert alone.accuracy == grouped.accuracy == 0.8
    assert grouped.accuracy_interval[0] < alone.accuracy_interval[0] - 0.1
    assert grouped.as_dict()["interval_over"] == "groups"


def test_no_pictures_is_a_sentence() -> None:
    with pytest.raises(CitycamError, match="no pictures to judge"):
        s.judge([], [])


def test_paired_differences_equal_all_flips_counted() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        differences = rng.integers(-2, 3, 20)
        groups = [f"g{place // 2}" for place in range(20)]
        sums = differences.reshape(10, 2).sum(axis=1)
        flips = np.array(list(itertools.product((-1, 1), repeat=10)))
        expected = float((np.abs(flips @ sums) >= abs(sums.sum())).mean())
        assert s.sign_flip(differences, groups) == pytest.approx(expected, abs=1e-12)


def test_without_groups_it_is_mcnemars_exact_test() -> None:
    differences = [1] * 9 + [-1] * 2 + [0] * 30
    expected = stats.binomtest(2, 11).pvalue
    assert s.sign_flip(differences) == pytest.approx(expected, abs=1e-12)
    assert s.sign_flip(differences, range(41)) == pytest.approx(expected, abs=1e-12)
    assert s.sign_flip([0, 0]) == s.sign_flip([0, 0], ["a", "b"]) == 1.0


@settings(deadline=None)
@given(st.integers(1, 400), st.data())
def test_mcnemars_p_is_that_of_a_fair_coin(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    tail = Fraction(sum(math.comb(n, count) for count in range(min(right, n - right) + 1)), 2**n)
    assert s.sign_flip([1] * right + [-1] * (n - right)) == pytest.approx(min(1.0, float(2 * tail)), abs=1e-10)


def test_welch_is_scipys_with_whole_degrees_of_freedom() -> None:
    one, other = [0.9, 0.92, 0.94, 0.91], [0.85, 0.89, 0.86, 0.88]  # 5.7 degrees of freedom
    assert s.welch(one, other) >= stats.ttest_ind(one, other, equal_var=False).pvalue
    t, freedom = stats.ttest_ind(one, other, equal_var=False).statistic, 5
    assert s.welch(one, other) == pytest.approx(2 * stats.t.sf(abs(t), freedom), abs=1e-12)
    assert s.welch(one, other) == pytest.approx(1 - share_within(abs(t), freedom), abs=1e-10)
    assert s.welch([0.5, 0.5], [0.5, 0.5]) == 1.0
    assert s.welch([0.5, 0.5], [0.6, 0.6]) == 0.0


def test_seeds_interval_is_students() -> None:
    values = [0.8, 0.85, 0.9, 0.86]
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert s.seeds_interval(values) == pytest.approx(expected, abs=1e-9)
    assert s.seeds_interval([0.2, 1.0]) == (0.0, 1.0)


def test_holm_by_hand() -> None:
    assert s.holm([0.03, 0.01, 0.04, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert s.holm([]) == []
