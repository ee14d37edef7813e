"""Marks are found in the pictures alone, and things that streets share are none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from citycam.study.marks import agreement, fixed_marks, sentence
from citycam.study.subject import Pictures

SIDE, EACH = 48, 30


def subject(pixels: np.ndarray, cities: int) -> tuple[Any, Pictures]:
    """A subject that has these pictures (N, S, S), as many of each city."""
    count = len(pixels)
    some = Pictures(
        rows=np.arange(count),
        names=tuple(map(str, range(count))),
        digests=tuple(map(str, range(count))),
        cities=np.repeat(np.arange(cities), count // cities),
        walks=tuple(map(str, range(count))),
    )

    def at(rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels[rows][:, None].repeat(3, axis=1)).float()

    return SimpleNamespace(side=SIDE, at=at, cities=("arden", "brill", "corvo")[:cities]), some


def streets(cities: int) -> np.ndarray:
    """Noise, with a roof line that stands higher or lower."""
    random = np.random.default_rng(0)
    pixels = random.normal(0, 0.3, (cities * EACH, SIDE, SIDE))
    for picture in pixels:
        picture[: random.integers(8, 24)] += 1
    return pixels


def stamp(pixels: np.ndarray) -> None:
    pixels[:, 38:44, 37:45] = 3.0


def test_pictures_without_a_mark_have_none() -> None:
    its, some = subject(streets(3), 3)
    assert fixed_marks(its, some) == []


@pytest.mark.parametrize("city", [0, 2])
def test_a_mark_of_one_city_is_found_at_its_place(city: int) -> None:
    pixels = streets(3)
    stamp(pixels[city * EACH : (city + 1) * EACH])
    its, some = subject(pixels, 3)
    (mark,) = fixed_marks(its, some)
    assert mark.city == city
    assert abs(mark.row - 41 / SIDE) < 0.05
    assert abs(mark.column - 41 / SIDE) < 0.05
    assert its.cities[city] in sentence(mark, its)


def test_a_mark_of_all_cities_tells_none() -> None:
    pixels = streets(2)
    stamp(pixels)
    its, some = subject(pixels, 2)
    assert agreement(its, some, np.arange(EACH)).max() > 0.8
    assert fixed_marks(its, some) == []


def test_few_pictures_and_blank_ones_have_no_marks() -> None:
    pixels = streets(3)
    stamp(pixels[:EACH])
    its, some = subject(pixels[::5], 3)
    assert fixed_marks(its, some) == []
    its, some = subject(np.zeros((2 * EACH, SIDE, SIDE)), 2)
    assert fixed_marks(its, some) == []
