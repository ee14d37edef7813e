"""Scores against what is known to matter: on maps whose answer is plain."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from citycam.explain.scores.cause import effect_order, energy, pixel_auc, pointing
from citycam.explain.scores.registry import Formula
from tests.explain.scored import SIDE, drawn, make_causes, make_subject
from tests.explain.tails import B


def maps(first: float, second: float, elsewhere: float = 0.0) -> np.ndarray:
    """Of pixels: the values on the first feature of `make_causes`, on the second, and elsewhere."""
    made = np.full((B, SIDE, SIDE), elsewhere, dtype=np.float32)
    made[:, :5, :3], made[:, :5, 3:7] = first, second
    return made


@pytest.mark.parametrize(
    ("formula", "made", "value"),
    [
        (pointing, maps(2, 1), 1),
        (pointing, maps(2, 1, 3), 0),
        (energy, maps(1, 1), 1),
        (energy, maps(-1, -1, 1), 0),
        (energy, maps(1, 1, 1), 35 / SIDE**2),
        (pixel_auc, maps(2, 1), 1),
        (pixel_auc, maps(1, 1, 1), 0.5),
        (effect_order, maps(1, 1), 1),
        (effect_order, maps(1, 0.8), 1),
        (effect_order, maps(1, 0.1), 0),
        (effect_order, maps(4, 3), 0.5),
    ],
)
def test_maps_whose_answer_is_plain(formula: Formula, made: np.ndarray, value: float) -> None:
    subject = make_subject(causes=make_causes())
    np.testing.assert_allclose(formula(subject, drawn(made)), value, atol=1e-6)


def test_features_of_equal_effect_have_no_order() -> None:
    causes = make_causes()
    equal = dataclasses.replace(causes, effects=np.full(2 * B, 3.0))
    values = effect_order(make_subject(causes=equal), drawn(maps(1, 2)))
    assert np.isnan(values).all()
