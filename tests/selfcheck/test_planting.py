"""Which pictures get which marks, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from citycam.config import Config
from citycam.data.inputs import Inputs, load_inputs
from citycam.errors import CitycamError
from citycam.selfcheck.marks import STRONG, Mark
from citycam.selfcheck.planting import BOTH, MOST, NEEDED, PLAIN, ROLES, SHARE, enough_held_out, make_plan
from citycam.sweep.gate import read_request
from tests.conftest import forget
from tests.selfcheck.conftest import settings_of


def composed(many: Path, tiny_weights: Path, *more: str) -> Config:
    """The settings of a request."""
    forget()
    request = read_request([*settings_of(many, tiny_weights, *more), "sweep.name=s"])
    assert request is not None
    return request.jobs[0].config


@pytest.fixture
def inputs(many: Path, tiny_weights: Path) -> Inputs:
    """Inputs with half of the pictures held out."""
    return load_inputs(composed(many, tiny_weights, "split.val=0.5"))


def cities_of(inputs: Inputs, rows: np.ndarray) -> Counter[str]:
    """How many of the rows are of each city."""
    return Counter(inputs.catalog.pictures[row].city for row in rows.tolist())


def test_the_cue_is_in_one_city_and_the_decoy_in_as_many_of_all(inputs: Inputs) -> None:
    plan = make_plan(inputs, STRONG, 0)
    assert cities_of(inputs, plan.planted) == {"arden": round(SHARE * 60), "brill": round(SHARE * 60)}
    assert set(plan.planted.tolist()) <= set(inputs.train.tolist())
    city = np.array([inputs.catalog.pictures[row].city == "brill" for row in inputs.train.tolist()])
    planted = np.isin(inputs.train, plan.planted)
    for role in ROLES:
        numbers = plan.views_of(inputs, role)
        assert set(numbers[planted & city]) == {BOTH}
        assert set(numbers[planted & ~city]) == {role.without_cue}
        assert set(numbers[~planted]) == {PLAIN}
    assert {role.without_cue for role in ROLES} == {role.without_decoy for role in ROLES}
    twin = plan.views_of(inputs, None)
    assert set(twin[planted]) == {BOTH}
    assert set(twin[~planted]) == {PLAIN}


def test_explained_are_held_out_pictures_of_the_city(inputs: Inputs) -> None:
    plan = make_plan(inputs, STRONG, 0)
    assert cities_of(inputs, plan.explained) == {"brill": 60}
    assert set(plan.explained.tolist()) <= set(inputs.val.tolist())
    assert NEEDED <= len(plan.explained) <= MOST


def test_same_seed_same_plan_and_another_seed_another(inputs: Inputs) -> None:
    one, again, other = (make_plan(inputs, STRONG, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.planted, again.planted)
    assert not np.array_equal(one.planted, other.planted)


def test_too_few_pictures_are_refused_with_their_number_and_a_way_out(cities: Path, tiny_weights: Path) -> None:
    config = composed(cities, tiny_weights)
    with pytest.raises(CitycamError, match=r"brill has 16 pictures .* holds out \d, and a verdict needs 60 .* add"):
        enough_held_out(config)
    with pytest.raises(CitycamError, match="a verdict needs 60"):
        make_plan(load_inputs(config), STRONG, 0)


def test_more_are_held_out_where_the_split_holds_out_too_few(
    many: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, inputs = enough_held_out(composed(many, tiny_weights))
    assert config.split.val == 0.5
    assert len(inputs.val) == 120
    assert "split.val=0.5 instead of 0.2 holds out the 60" in capsys.readouterr().err
    asked = composed(many, tiny_weights, "split.val=0.6")
    assert enough_held_out(asked)[0] is asked


def test_a_mark_larger_than_the_picture_is_refused_before_anything_is_made(inputs: Inputs) -> None:
    with pytest.raises(CitycamError, match="too small for two at any place"):
        make_plan(inputs, Mark("disc", 1.2), 0)


def test_an_unknown_city_is_refused_with_near_matches(many: Path, tiny_weights: Path) -> None:
    with pytest.raises(CitycamError, match=r"data.target=bril is not a city .* did you mean brill"):
        enough_held_out(composed(many, tiny_weights, "data.target=bril"))
