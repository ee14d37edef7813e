"""Scores that read maps alone, against formulas written from their papers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from citycam.explain.scores.shape import contrast, correlation, rank_correlation, sparseness, stability
from tests.explain.scored import drawn, make_subject, random_maps

MAPS = arrays(np.float64, (3, 4, 3), elements=st.floats(-1e3, 1e3, allow_subnormal=False))


@given(maps=MAPS)
def test_sparseness_is_half_the_relative_mean_difference(maps: np.ndarray) -> None:
    values = sparseness(make_subject(3), drawn(maps))
    for value, one in zip(values, maps.astype(np.float32).astype(np.float64), strict=True):
        positive = np.maximum(one, 0).ravel()
        if positive.sum() == 0:
            assert np.isnan(value)
            continue
        gaps = np.abs(positive[:, None] - positive[None]).mean()
        assert value == pytest.approx(gaps / (2 * positive.mean()), abs=1e-9)


def test_sparseness_runs_from_even_to_a_single_cell() -> None:
    maps = np.zeros((2, 10, 10))
    maps[0], maps[1, 3, 4] = 1, 5
    np.testing.assert_allclose(sparseness(make_subject(2), drawn(maps)), [0, 0.99], atol=1e-9)


@pytest.mark.parametrize("factor", [2, 3])
def test_sparseness_does_not_depend_on_the_grid(factor: int) -> None:
    maps = random_maps()
    finer = maps.repeat(factor, axis=1).repeat(factor, axis=2)
    np.testing.assert_allclose(sparseness(make_subject(), drawn(maps)), sparseness(make_subject(), drawn(finer)))


@given(first=MAPS, second=MAPS)
def test_rank_correlation_is_that_of_scipy(first: np.ndarray, second: np.ndarray) -> None:
    for value, one, other in zip(rank_correlation(first, second), first, second, strict=True):
        if np.ptp(one) == 0 or np.ptp(other) == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(stats.spearmanr(one.ravel(), other.ravel()).statistic, abs=1e-9)


@given(values=arrays(np.float64, (4, 6), elements=st.integers(-9, 9)), scale=st.sampled_from([1e-30, 1.0, 1e30]))
def test_correlation_does_not_depend_on_scale(values: np.ndarray, scale: float) -> None:
    other = np.random.default_rng(0).standard_normal((4, 6))
    np.testing.assert_allclose(correlation(values * scale, other), correlation(values, other), atol=1e-6)
    constant = np.ptp(values, axis=1) == 0
    assert np.isnan(correlation(values, other)[constant]).all()


def test_a_map_that_is_not_finite_has_no_correlation() -> None:
    maps = random_maps(2)
    maps[1, 0, 0] = np.nan
    value = rank_correlation(maps, random_maps(2, seed=1))
    assert np.isfinite(value[0])
    assert np.isnan(value[1])


def test_contrast_compares_with_the_runner_up() -> None:
    maps, other = random_maps(), random_maps(seed=1)
    subject = make_subject()
    np.testing.assert_allclose(contrast(subject, drawn(maps, rivals=maps)), 1)
    np.testing.assert_allclose(contrast(subject, drawn(maps, rivals=-maps)), -1)
    np.testing.assert_allclose(contrast(subject, drawn(maps, rivals=other)), rank_correlation(maps, other))
    assert np.isnan(contrast(subject, drawn(maps))).all()


def test_stability_is_the_mean_over_copies() -> None:
    maps, copies = random_maps(), np.stack([random_maps(seed=seed) for seed in (1, 2, 3)])
    wanted = np.mean([rank_correlation(maps, copy) for copy in copies], axis=0)
    np.testing.assert_allclose(stability(make_subject(), drawn(maps, copies=copies)), wanted)
    np.testing.assert_allclose(stability(make_subject(), drawn(maps, copies=np.stack([maps] * 2))), 1)
    assert np.isnan(stability(make_subject(), drawn(maps))).all()
