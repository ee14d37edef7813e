"""Whether a network uses an element: what is blurred, and how often chance is called use."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.study.cause import Costs, clearest, costs_more, summarise

PLACES = 8
RUNS = 3000


def costs_by_chance(random: np.random.Generator, walks: int, pictures: int, alike: float) -> Costs:
    """Costs of an element that matters no more than any other place; pictures of a walk are ``alike``, 0 to 1."""
    shared = np.repeat(random.standard_normal(walks), pictures)
    own = np.sqrt(alike) * shared + np.sqrt(1 - alike) * random.standard_normal(walks * pictures)
    others = random.standard_normal((PLACES, walks * pictures))
    return Costs(own - others.mean(axis=0), (own > others).mean(axis=0))


@pytest.mark.parametrize("walks", [2, 3, 5, 8])
@pytest.mark.parametrize("pictures", [1, 2])
@pytest.mark.parametrize("alike", [0.0, 0.7, 1.0])
def test_what_does_not_matter_is_rarely_called_used(walks: int, pictures: int, alike: float) -> None:
    random = np.random.default_rng(0)
    names = [str(walk) for walk in range(walks) for _ in range(pictures)]
    p_values = [costs_more(costs_by_chance(random, walks, pictures, alike).superiority, names) for _ in range(RUNS)]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / RUNS)


@given(ranks=st.lists(st.integers(0, PLACES), min_size=1, max_size=4))
def test_the_p_value_is_the_share_of_even_ranks_that_are_as_high(ranks: list[int]) -> None:
    every = itertools.product(range(PLACES + 1), repeat=len(ranks))
    share = np.mean([sum(one) >= sum(ranks) for one in every])
    superiority = np.array(ranks) / PLACES
    assert costs_more(superiority, [str(walk) for walk in range(len(ranks))]) == pytest.approx(share)
    # Each picture twice says no more.
    assert costs_more(np.repeat(superiority, 2), [str(walk) for walk in range(len(ranks)) for _ in "ab"]) == (
        pytest.approx(share)
    )


def test_what_always_costs_most_is_used_from_two_walks_on() -> None:
    for walks in range(1, 6):
        its = summarise(Costs(np.array([0.5, 30.0, 2.0, 1.0, 9.0])[:walks], np.ones(walks)), list("abcde")[:walks])
        assert (its.p <= 0.05) == (walks >= 2)
        assert its.weak


def test_nothing_blurred_is_not_known() -> None:
    its = summarise(Costs(np.zeros(0), np.zeros(0)), [])
    assert np.isnan(its.contrast.value)
    assert its.p == 1


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
