"""Intervals and tests against scipy, closed forms and simulation; the marks against their definitions."""

from __future__ import annotations

import math

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


def test_seeds_interval_combines_trainings_and_pictures() -> None:
    values = [0.8, 0.85, 0.9, 0.86]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    mean, own = float(np.mean(values)), (0.81, 0.88)
    expected = mean - math.hypot(mean - low, mean - own[0]), mean + math.hypot(high - mean, own[1] - mean)
    assert s.seeds_interval(values, [own] * 4) == pytest.approx(expected, abs=1e-9)
    assert s.seeds_interval([0.2, 1.0], [(0.1, 0.3), (0.9, 1.0)]) == (0.0, 1.0)
    assert s.seeds_interval([0.7, 0.7], [(0.6, 0.8), (0.62, 0.78)]) == pytest.approx((0.61, 0.79)), "not of width 0"


def test_the_interval_of_a_mean_over_equal_groups_is_students_over_their_means() -> None:
    means = np.array([0.2, 1.5, -3.0, 0.7])
    values = (means[:, None] + np.array([-1.0, 0.0, 1.0])).ravel()
    groups = np.repeat(["a", "b", "c", "d"], 3).tolist()
    expected = stats.t.interval(0.95, 3, means.mean(), means.std(ddof=1) / 2)
    assert s.mean_interval(values, groups) == pytest.approx(expected)
    # Without a second number in a group it is the usual interval of a mean.
    expected = stats.t.interval(0.9, 11, values.mean(), values.std(ddof=1) / np.sqrt(12))
    assert s.mean_interval(values, list(range(12)), 0.9) == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 4)), min_size=1, max_size=30), st.floats(-10, 10))
def test_the_interval_of_a_mean_moves_and_turns_with_the_numbers(rows: list[tuple[float, int]], shift: float) -> None:
    values, groups = np.array([value for value, _ in rows]), [group for _, group in rows]
    low, high = s.mean_interval(values, groups)
    if len(set(groups)) == 1:
        assert math.isnan(low)
        assert math.isnan(high)
        return
    assert low - 1e-9 <= values.mean() <= high + 1e-9
    assert s.mean_interval(values + shift, groups) == pytest.approx((low + shift, high + shift), abs=1e-9)
    assert s.mean_interval(-values, groups) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize("groups", [[], ["a"], ["a", "b", "c"]])
def test_a_mean_needs_numbers_with_a_group_each(groups: list[str]) -> None:
    with pytest.raises(ValueError, match="with a group each"):
        s.mean_interval([0.5] * (len(groups) % 3 and len(groups) + 1), groups)


@pytest.mark.parametrize("groups", [8, 40])
def test_intervals_of_means_over_walks_cover(groups: int) -> None:
    rng, covered = np.random.default_rng(5), 0
    for _ in range(200):
        sizes = rng.integers(2, 8, groups)
        numbers = np.repeat(np.arange(groups), sizes)
        values = rng.normal(0.3, 1, groups)[numbers] + rng.normal(0, 1, len(numbers))
        low, high = s.mean_interval(values, numbers.tolist())
        covered += low <= 0.3 <= high
    assert covered >= 180


def test_effective_groups_are_those_of_equal_size() -> None:
    assert s.effective_groups([0] * 60, [place // 10 for place in range(60)]) == 6
    half = np.repeat(np.arange(8), [7, 1, 1, 1, 1, 1, 1, 1])
    assert s.effective_groups([0] * 14, half.tolist()) == pytest.approx(1 / (0.25 + 7 / 14**2), abs=1e-6)
    # One walk of the target carries half of the balanced accuracy, so there are at most four.
    labels, groups = [1] * 4 + [0] * 40, ["target"] * 4 + [f"w{place // 4}" for place in range(40)]
    assert s.effective_groups(labels, groups) == pytest.approx(4 / (1 + 0.1), abs=1e-6)


def test_few_groups_are_marked_and_recorded() -> None:
    labels = np.arange(80) % 2
    for groups, few in ((np.arange(80) // 2 % 5, True), (np.arange(80) // 2 % 20, False)):
        judgement = s.judge(labels, labels, groups.tolist())
        assert [mark.code for mark in judgement.marks] == ["few_groups"] * few
        assert judgement.as_dict()["groups"] == len(np.unique(groups))
    (mark,) = s.few_groups(3.42, "test")
    assert (mark.code, mark.sentence.startswith("The test pictures are of")) == ("test_few_groups", True)
    assert "vary as 3.4 of equal size" in mark.sentence
    assert "effective_groups" not in s.judge(labels, labels).as_dict()
    assert s.judge(labels, labels, groups.tolist()).as_dict("test")["test_effective_groups"] == 20


def _walks(kind: str, groups: int) -> np.ndarray:
    """Sizes of walks that hold 20 pictures in the mean."""
    ratio = {8: 0.6, 40: 0.85}[groups]
    shares = {"equal": np.ones(groups), "geometric": ratio ** np.arange(groups)}
    shares["half"] = np.concatenate([[groups - 1.0], np.ones(groups - 1)])
    return np.maximum(1, np.round(shares[kind] / shares[kind].sum() * 20 * groups)).astype(int)


def _coverage(sizes: np.ndarray, share: float, correlation: float, times: int) -> float:
    """How often the interval holds the share, if accuracies of walks are drawn from a beta distribution."""
    rng = np.random.default_rng(11)
    scale, numbers = (1 - correlation) / correlation, np.repeat(np.arange(len(sizes)), sizes)
    covered = 0
    for _ in range(times):
        chances = rng.beta(share * scale, (1 - share) * scale, len(sizes))
        low, high = s.clustered(rng.random(len(numbers)) < chances[numbers], numbers.tolist())
        covered += low <= share <= high
    return covered / times


SHARES = [(0.5, 0.1), (0.7, 0.02), (0.8, 0.3), (0.9, 0.05), (0.9, 0.1), (0.95, 0.1)]


@pytest.mark.parametrize("kind", ["geometric", "half"])
@pytest.mark.parametrize("groups", [8, 40])
def test_intervals_over_unequal_walks_cover(kind: str, groups: int) -> None:
    assert _coverage(_walks(kind, groups), 0.8, 0.2, 150) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("share", "correlation"), SHARES)
@pytest.mark.parametrize("kind", ["equal", "geometric", "half"])
@pytest.mark.parametrize("groups", [8, 40])
def test_intervals_over_walks_cover(kind: str, groups: int, share: float, correlation: float) -> None:
    assert _coverage(_walks(kind, groups), share, correlation, 4000) >= 0.93
