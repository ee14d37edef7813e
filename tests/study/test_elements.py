"""Peaks, clusters, detectors and nominations on data whose things are planted."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.cells import CellGrid
from citycam.study import cause, suspicious
from citycam.study.cell_maps import CELLS, to_cells
from citycam.study.clusters import cluster
from citycam.study.describe import Basis
from citycam.study.detectors import Detections, make_detectors
from citycam.study.nominate import nominate
from citycam.study.peaks import MOST, find_peaks
from citycam.study.repeats import repeats
from citycam.study.subject import Pictures


def stage(cells: int = 8) -> Any:
    return SimpleNamespace(cells=CellGrid.even(cells, cells))


@given(seed=st.integers(0, 10**6), count=st.integers(1, 5))
def test_peaks_are_the_highest_positive_cells_apart_from_each_other(seed: int, count: int) -> None:
    maps = np.random.default_rng(seed).normal(size=(count, CELLS, CELLS))
    peaks = find_peaks(maps)
    for number, one in enumerate(maps):
        own = [
            (row, column)
            for at, row, column in zip(peaks.picture, peaks.row, peaks.column, strict=True)
            if at == number
        ]
        assert 0 < len(own) <= MOST
        assert own[0] == np.unravel_index(one.argmax(), one.shape)
        values = [one[place] for place in own]
        assert values == sorted(values, reverse=True)
        assert all(value > 0 for value in values)
        assert all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) > 2 for a in own for b in own if a != b)


def test_maps_that_show_nothing_have_no_peaks() -> None:
    maps = np.stack([np.zeros((CELLS, CELLS)), np.full((CELLS, CELLS), -1.0), np.full((CELLS, CELLS), np.nan)])
    assert len(find_peaks(maps)) == 0


@pytest.mark.parametrize("side", [16, 64, 96, 224, 50])
def test_cells_are_means_of_their_pixels(side: int) -> None:
    maps = np.random.default_rng(0).random((2, side, side))
    cells = to_cells(maps)
    assert cells.shape == (2, CELLS, CELLS)
    np.testing.assert_allclose(cells.mean(axis=(1, 2)), maps.mean(axis=(1, 2)))
    if side % CELLS == 0:
        step = side // CELLS
        np.testing.assert_allclose(cells[0, 3, 5], maps[0, 3 * step : 4 * step, 5 * step : 6 * step].mean())


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descriptions of peaks of four things, one for each of four cities, in two shades each, and the thing of each."""
    random = np.random.default_rng(seed)
    things = random.normal(size=(4, 16)) * 3
    thing = np.repeat(np.arange(4), 60)
    shade = random.choice([-0.4, 0.4], (240, 1)) * random.normal(size=16)
    return things[thing] + shade + random.normal(size=(240, 16)) * 0.3, thing.copy(), thing


def test_what_looks_alike_is_one_cluster() -> None:
    descriptions, cities, thing = planted()
    clusters = cluster(descriptions, cities, seed=0)
    np.testing.assert_array_equal(clusters, cluster(descriptions, cities, seed=0))
    for one in range(4):
        values, counts = np.unique(clusters[thing == one], return_counts=True)
        assert counts.max() >= 40
        assert (thing[clusters == values[counts.argmax()]] == one).all()


def test_a_few_peaks_are_no_cluster() -> None:
    assert (cluster(np.eye(3), np.zeros(3, dtype=np.int64), seed=0) == -1).all()


def test_a_detector_finds_four_in_five_of_its_own_peaks_and_few_others() -> None:
    descriptions, cities, thing = planted()
    spread = descriptions.var(axis=0).astype(np.float32)
    basis = Basis(np.zeros(16, dtype=np.float32), np.eye(16, dtype=np.float32), spread)
    clusters = cluster(descriptions, cities, seed=0)
    detectors = make_detectors(descriptions, clusters, basis)
    above = descriptions @ detectors.weights.T > detectors.thresholds
    for element in range(len(detectors)):
        own = clusters == element
        assert above[own, element].mean() == pytest.approx(0.8, abs=0.05)
        others = thing != np.bincount(thing[own]).argmax()
        assert above[others, element].mean() < 0.05


def pictures(cities: int = 4, walks: int = 5, each: int = 4) -> Pictures:
    count = cities * walks * each
    city = np.repeat(np.arange(cities), walks * each)
    return Pictures(
        rows=np.arange(count),
        names=tuple(f"{place}.png" for place in range(count)),
        digests=tuple(f"{place:032x}" for place in range(count)),
        cities=city,
        walks=tuple(f"{its}/{place // each}" for place, its in enumerate(city.tolist())),
    )


def test_things_of_one_or_two_cities_are_nominated_and_things_of_all_are_not() -> None:
    some = pictures(cities=5)
    detected = np.zeros((len(some), 5), dtype=bool)
    detected[some.cities == 1, 0] = True
    detected[np.isin(some.cities, [2, 3]), 1] = True
    detected[:, 2] = True
    detected[np.flatnonzero(some.cities == 0)[:4], 3] = True  # of one walk
    detected[np.isin(some.cities, [0, 1, 2]), 4] = True  # of more than two in five
    nominations = nominate(detected, some, 5)
    assert [(its.element, its.city, its.sharers) for its in nominations] == [
        (0, 1, (1,)),
        (1, 2, (2, 3)),
        (1, 3, (2, 3)),
    ]
    assert all(its.finding.here == 1 and its.finding.elsewhere == 0 for its in nominations)
    # A key belongs to the pictures that have an element, in any order and beside any other elements.
    again = nominate(detected[::-1, 1:2], dataclasses.replace(some, **reversed_columns(some)), 5)
    assert {its.key for its in again} == {nominations[1].key} == {nominations[2].key} != {nominations[0].key}


def reversed_columns(some: Pictures) -> dict[str, Any]:
    return {field.name: getattr(some, field.name)[::-1] for field in dataclasses.fields(some)}


def test_a_shape_is_moved_whole() -> None:
    cells = np.zeros((1, 8, 8), dtype=bool)
    cells[0, 2, 3] = True
    (mask,) = cause.shapes(cells, stage(), 64)
    assert mask.max() == pytest.approx(1)
    assert mask[20, 28] == pytest.approx(1)
    assert mask[60, 60] == 0
    moved = cause.shift(mask, np.random.default_rng(0))
    assert moved.sum() == pytest.approx(mask.sum())
    assert (moved * mask).sum() < 0.2 * mask.sum()


def test_what_sits_at_one_place_or_in_one_walk_or_in_drawings_is_suspicious() -> None:
    walks = [f"walk {place % 5}" for place in range(40)]
    anywhere, none, its = np.random.default_rng(0).integers(0, 64, 20), np.zeros(40, dtype=bool), np.arange(20)
    assert suspicious.reasons(stage(), anywhere, walks, none, its) == []
    low = 56 + np.arange(20) % 8  # along the lower edge, as paving is
    assert suspicious.reasons(stage(), low, walks, none, its) == []
    (place,) = suspicious.reasons(stage(), np.full(20, 63), walks, none, its)
    assert "one place of the frame (0.94 from the left, 0.94 from the top)" in place
    of_one = np.arange(2, 40, 5)
    (walk,) = suspicious.reasons(stage(), anywhere[:8], walks, none, of_one)
    assert "100% of its pictures are of one walk or camera (walk 2), which has 20%" in walk
    (drawn,) = suspicious.reasons(stage(), anywhere, walks, np.arange(40) < 8, its[:10])
    assert drawn.startswith("8 of its 10 pictures are like maps, drawings or logos")
    # A city of drawings: the element has no more of them than the city.
    assert suspicious.reasons(stage(), anywhere, walks, np.ones(40, dtype=bool), its) == []


def test_a_detector_at_the_places_of_another_repeats_it() -> None:
    own = np.arange(10) < 8
    cells = np.zeros((10, 4, 8, 8), dtype=bool)
    cells[:, 0, 2:4, 2:4] = True
    cells[:, 1, 4:6, 2:4] = True  # beside it
    cells[:4, 2, 2:4, 2] = True  # a half of it, in half of the pictures
    cells[:4, 3, 0, 0] = True  # of the other two of the city there is nothing
    cells[8:, 3, 2:4, 2:4] = True  # elsewhere it would be the first again
    scores = np.where(cells.any(axis=(2, 3)), 1, -1).astype(np.float32)
    detections = Detections(scores, np.zeros((10, 4), dtype=np.int32), cells)
    assert repeats([0, 1, 2, 3], detections, own) == [None, None, 0, None]
    assert repeats([3, 2, 1, 0], detections, own) == [None, None, None, 2]
    # No picture of the city has it.
    assert repeats([0, 3], detections, np.arange(10) == 5) == [None, None]
