"""The effects of features on networks whose answers are known, and the order that maps give them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam import seeds
from citycam.config import FolderConfig, ToytownConfig
from citycam.data.toytown import counterfactuals, store
from citycam.data.views import plain_spec, working_picture
from citycam.errors import CitycamError
from citycam.explain.effects import APART, Stripped, find_effects, order, strip_features

SMALL = ToytownConfig(pictures=20, size=64, towns=2)
SIDE = 8


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [f"pictures/{walk.town}/{walk.name}/{frame:02d}.png" for walk in store.walks(SMALL)[3:6] for frame in (0, 1)]


def strip(names: list[str], side: int) -> Stripped:
    made = strip_features(SMALL, names, plain_spec(side))
    assert made is not None
    return made


def test_photographs_cannot_be_drawn_again() -> None:
    assert strip_features(FolderConfig(root="photographs"), ["paris/1.jpg"], plain_spec(32)) is None


@pytest.fixture(scope="module")
def stripped(names: list[str]) -> Stripped:
    return strip(names, 32)


def test_views_without_a_feature_are_those_of_its_counterfactual(names: list[str], stripped: Stripped) -> None:
    known = list(counterfactuals(SMALL, names))
    assert [(names[place], feature) for place, feature in zip(stripped.place, stripped.features, strict=True)] == [
        (one.name, one.feature) for one in known
    ]
    for place, one in enumerate(known):
        np.testing.assert_array_equal(stripped.views[place], working_picture(one.picture, plain_spec(32)))
        blocks = one.changed.reshape(32, 2, 32, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(stripped.changed[place], blocks, atol=1e-6)


def test_a_mask_is_what_any_feature_changes(names: list[str], stripped: Stripped) -> None:
    for share, block in ((0, lambda its: its > 0), (0.5, lambda its: its >= 0.5), (1, lambda its: its == 1)):
        masks = stripped.masks(share)
        assert masks.shape == (len(names), 32, 32)
        for place in range(len(names)):
            own = stripped.changed[stripped.place == place]
            np.testing.assert_array_equal(masks[place], block(own).any(axis=0))


def test_a_finer_view_has_the_same_area(names: list[str], stripped: Stripped) -> None:
    same = strip(names, 64)
    assert set(np.unique(same.changed)) == {0, 1}
    np.testing.assert_allclose(same.changed.mean(axis=(1, 2)), stripped.changed.mean(axis=(1, 2)), atol=1e-6)


def test_no_pictures_have_no_effects() -> None:
    empty = strip([], 32)
    assert (empty.views.shape, empty.changed.shape, empty.masks(0).shape) == ((0, 32, 32, 3), (0, 32, 32), (0, 32, 32))
    effects = find_effects(np.zeros((0, 2)), np.zeros((0, 2)), empty.place, np.zeros(0, dtype=np.int64))
    assert len(effects.contrast) == 0
    assert len(order(np.zeros((0, 32, 32)), empty, effects.contrast)[0]) == 0


def test_a_picture_of_elsewhere_is_refused() -> None:
    with pytest.raises(CitycamError, match="no picture of these towns"):
        strip_features(SMALL, ["pictures/paris/walk00/00.png"], plain_spec(32))


def test_effects_by_hand() -> None:
    before = np.array([[4.0, 1.0, 1.0], [0.0, 3.0, 0.0]], dtype=np.float32)
    after = np.array([[2.0, 1.0, 2.0], [0.0, 4.0, 1.0], [5.0, 1.0, 0.0]], dtype=np.float32)
    effects = find_effects(before, after, np.array([0, 1, 1]), np.array([0, 1]))
    assert effects.logit.tolist() == [2, -1, 2]
    # The contrasts: 3 and 0.5, 3 and 3.5, 3 and -1.5.
    assert effects.contrast.tolist() == [2.5, -0.5, 4.5]
    assert effects.answer.tolist() == [False, False, True]


def test_the_effects_on_a_single_logit_are_those_on_the_own_class() -> None:
    before, after = np.array([[3.0], [-2.0]]), np.array([[1.0], [0.5]])
    effects = find_effects(before, after, np.array([0, 1]), np.array([1, 0]))
    assert effects.logit.tolist() == effects.contrast.tolist() == [2, 2.5]
    assert effects.answer.tolist() == [False, True]


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 8))
def test_effects_equal_a_slow_reference(seed: int, classes: int) -> None:
    draw = seeds.stream(seed, "logits")
    before, after = draw.normal(size=(4, classes)), draw.normal(size=(6, classes))
    place, labels = draw.integers(0, 4, 6), draw.integers(0, classes, 4)
    effects = find_effects(before, after, place, labels)
    for number, picture in enumerate(place.tolist()):
        own = int(labels[picture])
        others = [other for other in range(classes) if other != own]
        contrasts = [float(row[own] - row[others].mean()) for row in (before[picture], after[number])]
        assert effects.contrast[number] == pytest.approx(contrasts[0] - contrasts[1])
        assert effects.logit[number] == pytest.approx(before[picture][own] - after[number][own])
        assert effects.answer[number] == (before[picture].argmax() != after[number].argmax())


@given(seed=st.integers(0, 10**6), shift=st.floats(-9, 9))
def test_what_all_logits_share_is_no_contrast(seed: int, shift: float) -> None:
    draw = seeds.stream(seed, "logits")
    before, after, place = draw.normal(size=(3, 5)), draw.normal(size=(4, 5)), np.array([0, 1, 2, 2])
    labels = np.array([4, 0, 1])
    plain, moved = (find_effects(before, after + more, place, labels) for more in (0, shift))
    np.testing.assert_allclose(moved.contrast, plain.contrast, atol=1e-9)
    np.testing.assert_array_equal(moved.answer, plain.answer)


def squares(effects: list[float]) -> tuple[Stripped, np.ndarray]:
    """A picture with three features, each a row of the picture, and what they do."""
    changed = np.zeros((3, SIDE, SIDE), dtype=np.float32)
    for row in range(3):
        changed[row, 2 * row] = 1
    views = np.zeros((3, SIDE, SIDE, 3), dtype=np.uint8)
    return Stripped(("a.png", "b.png"), np.array([1, 1, 1]), ("x", "y", "z"), views, changed), np.array(effects)


def test_order_by_hand() -> None:
    stripped, effects = squares([5.0, 3.0, 2.5])  # the last two are not apart
    maps = np.zeros((2, SIDE, SIDE))
    maps[1, 0], maps[1, 2], maps[1, 4] = 3.0, 4.0, 1.0
    right, places = order(maps, stripped, effects)
    assert right.tolist() == [0, 1]
    assert places.tolist() == [1, 1]
    maps[1, 0, 0], maps[1, 2] = -100.0, 21 / 8  # negative evidence is not mass; now both are 21
    assert order(maps, stripped, effects)[0].tolist() == [0.5, 1]


def test_effects_that_are_not_apart_have_no_order() -> None:
    stripped, effects = squares([0.0, APART, 2 * APART])
    assert len(order(np.ones((2, SIDE, SIDE)), stripped, effects)[0]) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_a_blank_map_has_no_order(value: float) -> None:
    stripped, effects = squares([5.0, 3.0, 1.0])
    right, _ = order(np.full((2, SIDE, SIDE), value), stripped, effects)
    assert len(right) == 3
    assert np.isnan(right).all()


@given(seed=st.integers(0, 10**6))
def test_order_of_the_reversed_effects_is_the_reverse(seed: int) -> None:
    draw = seeds.stream(seed, "order")
    stripped, effects = squares(draw.normal(scale=3, size=3).tolist())
    maps = draw.normal(size=(2, SIDE, SIDE))
    right, _ = order(maps, stripped, effects)
    reverse, _ = order(maps, stripped, -effects)
    assert sorted(right.tolist()) == sorted((1 - reverse).tolist())


def test_a_feature_that_the_network_does_not_read_has_no_effect(names: list[str], stripped: Stripped) -> None:
    """A network that looks at the upper half only."""
    pictures = {name: walk for name in names for walk in store.walks(SMALL) if f"/{walk.town}/{walk.name}/" in name}
    originals = [store.render_walk(SMALL, walk)[int(name[-6:-4])][0] for name, walk in pictures.items()]
    whole = np.stack([working_picture(picture, plain_spec(32)) for picture in originals])
    weights = seeds.stream(0, "weights").normal(size=(16 * 32 * 3, 3)) / 500

    def network(views: np.ndarray) -> np.ndarray:
        return views[:, :16].reshape(len(views), -1) @ weights

    labels = np.array([0, 1, 2, 0, 1, 2])
    effects = find_effects(network(whole), network(stripped.views), stripped.place, labels)
    # The antialiased views read a pixel more on each side.
    below = stripped.changed[:, :18].max(axis=(1, 2)) == 0
    assert below.any()
    assert (~below).any()
    # The two products have different numbers of rows, which may round differently.
    np.testing.assert_allclose(effects.contrast[below], 0, atol=1e-12)
    assert (np.abs(effects.contrast[~below]) > 1e-6).any()
