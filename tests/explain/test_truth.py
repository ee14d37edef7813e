"""Pointing, energy and the AUC of pixels against slow references, and what must leave them as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam import seeds
from citycam.cells import CellGrid
from citycam.explain.truth import energy, highest, pixel_auc, pointing, to_pixels

SIDE = 12
MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "pointing": lambda maps, masks: pointing(maps, CellGrid.even(*maps.shape[1:]), masks),
    "energy": lambda maps, masks: energy(to_pixels(maps, CellGrid.even(*maps.shape[1:]), masks.shape[1]), masks),
    "auc": lambda maps, masks: pixel_auc(to_pixels(maps, CellGrid.even(*maps.shape[1:]), masks.shape[1]), masks),
}
each_measure = pytest.mark.parametrize("name", MEASURES)


def made(seed: int, count: int = 3, cells: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Signed maps with ties, and masks of their side that are neither empty nor everything."""
    draw = seeds.stream(seed, "maps")
    maps = draw.integers(-3, 8, (count, cells, cells)).astype(np.float64)
    maps[:, 0, 0] = 8
    masks = draw.random((count, SIDE, SIDE)) < 0.3
    masks[:, 0, 0], masks[:, 0, 1] = True, False
    return maps, masks


def slow(name: str, its: np.ndarray, mask: np.ndarray) -> float:
    """One map with one mask, pixel by pixel; the cells divide the picture evenly."""
    step = SIDE // len(its)
    pixels = {(row, column): float(its[row // step, column // step]) for row in range(SIDE) for column in range(SIDE)}
    inside = [value for place, value in pixels.items() if mask[place]]
    outside = [value for place, value in pixels.items() if not mask[place]]
    if name == "energy":
        return sum(max(0, value) for value in inside) / sum(max(0, value) for value in pixels.values())
    if name == "auc":
        pairs = [(a > b) + (a == b) / 2 for a in inside for b in outside]
        return sum(pairs) / len(pairs)
    tops = [(row, column) for row in range(len(its)) for column in range(len(its)) if its[row, column] == its.max()]
    return float(np.mean([mask[row * step + step // 2, column * step + step // 2] for row, column in tops]))


@each_measure
@given(seed=st.integers(0, 10**6))
def test_equals_a_slow_reference(name: str, seed: int) -> None:
    maps, masks = made(seed)
    wanted = [slow(name, its, mask) for its, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(MEASURES[name](maps, masks), wanted, atol=1e-12)


@each_measure
@given(seed=st.integers(0, 10**6), factor=st.floats(1e-3, 1e3))
def test_the_scale_of_a_map_does_not_matter(name: str, seed: int, factor: float) -> None:
    maps, masks = made(seed)
    np.testing.assert_allclose(MEASURES[name](maps * factor, masks), MEASURES[name](maps, masks), atol=1e-12)


@each_measure
@given(seed=st.integers(0, 10**6))
def test_a_picture_does_not_depend_on_the_others_and_lies_within_0_and_1(name: str, seed: int) -> None:
    maps, masks = made(seed)
    together = MEASURES[name](maps, masks)
    assert ((together >= 0) & (together <= 1)).all()
    alone = [MEASURES[name](maps[[place]], masks[[place]])[0] for place in range(len(maps))]
    np.testing.assert_array_equal(together, alone)


@given(seed=st.integers(0, 10**6))
def test_a_mirror_changes_nothing(seed: int) -> None:
    # Three odd pixels a cell: the middle of a cell is the middle of a pixel. Ties must not prefer a side.
    maps, masks = made(seed, cells=4)
    for name, measure in MEASURES.items():
        mirrored = measure(maps[:, ::-1, ::-1], masks[:, ::-1, ::-1])
        np.testing.assert_allclose(mirrored, measure(maps, masks), atol=1e-12, err_msg=name)


def test_a_perfect_map_and_its_opposite() -> None:
    _, masks = made(0, count=4)
    perfect = masks.astype(np.float32)
    for measure in MEASURES.values():
        np.testing.assert_array_equal(measure(perfect, masks), 1)
        np.testing.assert_array_equal(measure(1 - perfect, masks), 0)


def test_a_map_without_places_is_chance() -> None:
    _, masks = made(1)
    flat, areas = np.ones((3, SIDE, SIDE)), masks.mean(axis=(1, 2))
    np.testing.assert_allclose(MEASURES["energy"](flat, masks), areas)
    np.testing.assert_allclose(MEASURES["pointing"](flat, masks), areas)
    np.testing.assert_allclose(MEASURES["auc"](flat, masks), 0.5)


@given(seed=st.integers(0, 10**6))
def test_the_auc_of_a_map_and_of_its_negative_add_to_one(seed: int) -> None:
    maps, masks = made(seed)
    np.testing.assert_allclose(MEASURES["auc"](maps, masks) + MEASURES["auc"](-maps, masks), 1)


@given(seed=st.integers(0, 10**6))
def test_only_the_order_of_pixels_counts_for_the_auc(seed: int) -> None:
    maps, masks = made(seed)
    np.testing.assert_allclose(MEASURES["auc"](np.exp(maps / 3) - 40, masks), MEASURES["auc"](maps, masks))


@each_measure
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_has_no_score(name: str, value: float) -> None:
    maps, masks = made(2)
    whole = MEASURES[name](maps, masks)
    maps[1, 3, 3] = value
    np.testing.assert_array_equal(MEASURES[name](maps, masks), [whole[0], np.nan, whole[2]])


@each_measure
def test_a_picture_without_a_truth_has_no_score(name: str) -> None:
    maps, masks = made(3)
    masks[1] = False
    assert np.isnan(MEASURES[name](maps, masks)).tolist() == [False, True, False]


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_without_evidence_points_nowhere(value: float) -> None:
    _, masks = made(4)
    blank = np.full((3, 6, 6), value)
    assert np.isnan(MEASURES["pointing"](blank, masks)).all()
    assert np.isnan(MEASURES["energy"](blank, masks)).all()
    np.testing.assert_allclose(MEASURES["auc"](blank, masks), 0.5)


def test_where_everything_matters_there_is_no_order() -> None:
    maps, masks = made(5)
    masks[:] = True
    np.testing.assert_array_equal(MEASURES["pointing"](maps, masks), 1)
    np.testing.assert_array_equal(MEASURES["energy"](maps, masks), 1)
    assert np.isnan(MEASURES["auc"](maps, masks)).all()


def test_a_cell_looks_where_its_grid_says() -> None:
    cells = CellGrid.regular(2, 2, stride=8, centre=0.5, side=16)
    maps = np.array([[[0.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]])
    masks = np.zeros((2, 16, 16), dtype=bool)
    masks[0, 8, 8] = masks[1, 0, 0] = True
    assert pointing(maps, cells, masks).tolist() == [1, 1]
    assert [place.tolist() for place in highest(maps, cells, 16)] == [[8, 0], [8, 0]]
    # The border between two cells lies in the middle of their centres, 4.5.
    pixels = to_pixels(maps, cells, 16)
    assert pixels[0, :, 15].tolist() == [0] * 5 + [1] * 11 or pixels[0, :, 15].tolist() == [0] * 4 + [1] * 12
    assert (pixels[0, :, 0] == 0).all()


def test_a_cell_that_looks_beyond_the_picture_points_at_its_border() -> None:
    cells = CellGrid((-0.2, 1.3), (-0.2, 1.3))
    masks = np.zeros((1, 8, 8), dtype=bool)
    masks[0, 7, 0] = True
    assert pointing(np.array([[[0.0, 0.0], [2.0, 1.0]]]), cells, masks).tolist() == [1]


@given(seed=st.integers(0, 10**6))
def test_pixels_have_the_value_of_the_nearest_cell(seed: int) -> None:
    draw = seeds.stream(seed, "centres")
    rows, columns = (tuple(np.sort(draw.random(count)).tolist()) for count in (3, 5))
    maps = draw.random((2, 3, 5))
    pixels = to_pixels(maps, CellGrid(rows, columns), SIDE)
    for row in range(SIDE):
        for column in range(SIDE):
            nearest = [
                int(np.abs(np.array(centres) - (place + 0.5) / SIDE).argmin())
                for centres, place in ((rows, row), (columns, column))
            ]
            assert (pixels[:, row, column] == maps[:, nearest[0], nearest[1]]).all()
