"""Controls know no class and no other picture, and maps are dealt fairly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from citycam import seeds
from citycam.explain.controls import CONTROLS, activation_norm, control_maps, dealt
from citycam.explain.integrated import BASELINES, box_of
from tests.explain.test_integrated import slow_blur

SIDE = 16  # that of slow_blur
each_control = pytest.mark.parametrize("name", CONTROLS)


def views(seed: int, count: int = 3, side: int = SIDE) -> np.ndarray:
    return seeds.stream(seed, "views").integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def digests(count: int) -> list[str]:
    return [f"digest{number}" for number in range(count)]


def slow(name: str, view: np.ndarray) -> np.ndarray:
    """One view, pixel by pixel, before smoothing."""
    colours = view / 255
    made = np.zeros((SIDE, SIDE))
    grey = np.pad(0.299 * colours[..., 0] + 0.587 * colours[..., 1] + 0.114 * colours[..., 2], 1, mode="edge")
    blurred = slow_blur(colours.transpose(2, 0, 1), BASELINES["blur"])
    for row in range(SIDE):
        for column in range(SIDE):
            around = grey[row : row + 3, column : column + 3]
            down = around[2] @ [1, 2, 1] - around[0] @ [1, 2, 1]
            across = around[:, 2] @ [1, 2, 1] - around[:, 0] @ [1, 2, 1]
            y, x = (row + 0.5) / SIDE - 0.5, (column + 0.5) / SIDE - 0.5
            made[row, column] = {
                "edges": np.sqrt(down**2 + across**2),
                "saturation": max(colours[row, column]) - min(colours[row, column]),
                "blur_difference": sum(abs(colours[row, column] - blurred[:, row, column])),
                "centred": np.exp(-(y * y + x * x) / (2 * 0.25**2)),
            }[name]
    return made


@pytest.mark.parametrize("name", [name for name in CONTROLS if name != "random"])
def test_equals_a_slow_reference(name: str) -> None:
    pictures = views(0)
    formula = CONTROLS[name](pictures / 255, digests(3))
    np.testing.assert_allclose(formula, [slow(name, picture) for picture in pictures], atol=1e-9)


@each_control
@pytest.mark.parametrize("side", [16, 64, 96])
def test_maps_are_not_negative_and_smoothed_like_those_of_integrated(name: str, side: int) -> None:
    pictures = views(1, side=side)
    maps = control_maps(name, pictures, digests(3))
    assert (maps.shape, maps.dtype) == ((3, side, side), np.float32)
    assert (maps >= 0).all()
    assert maps.max() > 0
    raw, width = CONTROLS[name](pictures / 255, digests(3)), box_of(side)
    once = np.pad(raw, ((0, 0), *[(width // 2, width // 2)] * 2), "edge")
    once = sliding_window_view(once, (width, width), axis=(1, 2)).mean(axis=(3, 4))
    near = np.pad(once, ((0, 0), *[(width // 2, width // 2)] * 2), "edge")[:, 7 : 7 + width, 7 : 7 + width]
    np.testing.assert_allclose(maps[:, 7, 7], near.mean(axis=(1, 2)), rtol=1e-5)


@each_control
@given(seed=st.integers(0, 10**6))
def test_a_map_does_not_depend_on_the_other_pictures(name: str, seed: int) -> None:
    pictures, names = views(seed), digests(3)
    together = control_maps(name, pictures, names)
    for place in range(3):
        alone = control_maps(name, pictures[[place]], names[place : place + 1])
        np.testing.assert_allclose(together[place], alone[0], rtol=1e-5, atol=1e-7)


@each_control
def test_the_same_again_and_nothing_changes(name: str) -> None:
    pictures = views(2)
    kept = pictures.copy()
    np.testing.assert_array_equal(control_maps(name, pictures, digests(3)), control_maps(name, pictures, digests(3)))
    np.testing.assert_array_equal(pictures, kept)


@pytest.mark.parametrize("name", ["blur_difference", "edges", "saturation"])
def test_a_grey_picture_without_detail_has_an_empty_map(name: str) -> None:
    flat = np.full((2, SIDE, SIDE, 3), 90, dtype=np.uint8)
    np.testing.assert_allclose(control_maps(name, flat, digests(2)), 0, atol=1e-6)


@pytest.mark.parametrize("name", ["blur_difference", "edges", "saturation"])
@given(seed=st.integers(0, 10**6))
def test_a_mirrored_picture_has_the_mirrored_map(name: str, seed: int) -> None:
    pictures = views(seed)
    mirrored = control_maps(name, np.ascontiguousarray(pictures[:, :, ::-1]), digests(3))
    np.testing.assert_allclose(mirrored[:, :, ::-1], control_maps(name, pictures, digests(3)), rtol=1e-4, atol=1e-6)


def test_an_edge_lies_where_the_picture_changes() -> None:
    picture = np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8)
    picture[:, :, 8:] = 255
    its = control_maps("edges", picture, digests(1))[0]
    assert sorted(set(its.argmax(axis=1).tolist())) <= [7, 8]
    assert (its[:, :6] == 0).all()


@pytest.mark.parametrize("name", ["centred", "random"])
def test_some_controls_do_not_look_at_the_picture(name: str) -> None:
    first, second = (control_maps(name, views(seed), digests(3)) for seed in (3, 4))
    np.testing.assert_array_equal(first, second)


def test_random_maps_differ_between_pictures_and_copies_do_not() -> None:
    maps = control_maps("random", views(5), ["a", "b", "a"])
    assert np.abs(maps[0] - maps[1]).max() > 0.1
    np.testing.assert_array_equal(maps[0], maps[2])


def test_the_centred_bump_is_highest_in_the_middle_and_symmetric() -> None:
    its = control_maps("centred", views(6, side=64), digests(3))[0]
    assert abs(np.array(divmod(int(its.argmax()), 64)) - 31.5).max() < 2
    np.testing.assert_allclose(its, its[::-1], rtol=1e-6)
    np.testing.assert_allclose(its, its.T, rtol=1e-6)


@given(seed=st.integers(0, 10**6))
def test_the_norm_of_activations_is_that_of_their_channels(seed: int) -> None:
    activations = seeds.stream(seed, "activations").normal(size=(2, 5, 3, 4)).astype(np.float32)
    norms = activation_norm(activations)
    for place in np.ndindex(2, 3, 4):
        assert norms[place] == pytest.approx(sum(float(a) ** 2 for a in activations[place[0], :, *place[1:]]) ** 0.5)
    order = seeds.stream(seed, "order").permutation(5)
    np.testing.assert_allclose(activation_norm(activations[:, order]), norms)


def test_the_norm_of_large_activations_does_not_overflow() -> None:
    assert activation_norm(np.full((1, 4, 1, 1), 1e30, dtype=np.float32)).item() == pytest.approx(2e30)


groups = st.lists(st.sampled_from(["lisboa", "madrid", "paris", "rome"]), max_size=30)


@given(names=groups, seed=st.integers(0, 100))
def test_every_map_is_dealt_once_to_another_picture_of_its_group(names: list[str], seed: int) -> None:
    places = dealt(names, seed)
    assert sorted(places.tolist()) == list(range(len(names)))
    for place, other in enumerate(places.tolist()):
        assert names[other] == names[place]
        assert (other == place) == (names.count(names[place]) == 1)


@given(names=groups, seed=st.integers(0, 100))
def test_what_is_dealt_depends_on_the_seed_and_on_the_own_group_alone(names: list[str], seed: int) -> None:
    np.testing.assert_array_equal(dealt(names, seed), dealt(names, seed))
    extended = dealt([*names, "other", "other"], seed)
    np.testing.assert_array_equal(extended[: len(names)], dealt(names, seed))


def test_each_other_picture_is_dealt_equally_often() -> None:
    counts = np.bincount([int(dealt(["paris"] * 5, seed)[0]) for seed in range(600)], minlength=5)
    assert counts[0] == 0
    # 150 expected; five standard deviations are 53.
    assert (np.abs(counts[1:] - 150) < 53).all()
