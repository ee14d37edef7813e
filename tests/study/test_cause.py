"""Whether a network uses an element: what is blurred, and how often chance is called use."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.study.cause import Costs, clearest, summarise

PLACES = 8
RUNS = 3000


def costs_by_chance(random: np.random.Generator, walks: int, pictures: int, alike: float) -> Costs:
    """Costs of an element that matters no more than any other place; pictures of a walk are ``alike``, 0 to 1."""
    shared = np.repeat(random.standard_normal(walks), pictures)
    own = np.sqrt(alike) * shared + np.sqrt(1 - alike) * random.standard_normal(walks * pictures)
    others = random.standard_normal((PLACES, walks * pictures))
    return Costs(own - others.mean(axis=0), (own > others).mean(axis=0))


@pytest.mark.parametrize("walks", [3, 5, 8])
@pytest.mark.parametrize("pictures", [1, 2])
@pytest.mark.parametrize("alike", [0.0, 0.7])
def test_what_does_not_matter_is_rarely_called_used(walks: int, pictures: int, alike: float) -> None:
    random = np.random.default_rng(0)
    names = [str(walk) for walk in range(walks) for _ in range(pictures)]
    used = [summarise(costs_by_chance(random, walks, pictures, alike), names).is_used for _ in range(RUNS)]
    assert np.mean(used) <= 0.05


def test_what_always_costs_most_is_used_from_three_walks_on() -> None:
    for walks in range(1, 6):
        costs = Costs(np.array([0.5, 30.0, 2.0, 1.0, 9.0])[:walks], np.ones(walks))
        its = summarise(costs, [str(walk) for walk in range(walks)])
        assert its.is_used == (walks >= 3)
        assert its.weak
    assert not summarise(Costs(-np.ones(5), np.ones(5)), list("abcde")).is_used


def test_nothing_blurred_is_not_known() -> None:
    its = summarise(Costs(np.zeros(0), np.zeros(0)), [])
    assert np.isnan(its.contrast.value)
    assert not its.is_used


@given(data=st.data(), count=st.integers(0, 30))
def test_the_clearest_two_of_each_walk_are_blurred(data: st.DataObject, count: int) -> None:
    walks = data.draw(st.lists(st.sampled_from("abcd"), min_size=count, max_size=count))
    scores = np.array(data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)), dtype=np.float32)
    chosen = clearest(scores, walks)
    assert chosen == sorted(set(chosen))
    for walk in set(walks):
        own = [place for place in range(count) if walks[place] == walk]
        taken = [place for place in own if place in chosen]
        assert len(taken) == min(2, len(own))
        assert min(scores[taken]) >= max((scores[place] for place in own if place not in taken), default=0)
