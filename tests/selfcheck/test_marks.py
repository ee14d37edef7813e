"""Marks: shapes, places and pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.errors import CitycamError
from citycam.selfcheck.marks import COLOURS, SHAPES, STRONG, WEAK, Mark, corners, mask_at, stamp
from citycam.selfcheck.planting import BOTH, FIRST, PLAIN, SECOND, masks, plant

DIGEST = "0f" * 16


@pytest.mark.parametrize("mark", [STRONG, *WEAK], ids=lambda mark: mark.words)
@pytest.mark.parametrize("picture", [32, 64, 96, 224])
def test_a_mark_changes_the_pixels_of_its_mask_and_no_other(mark: Mark, picture: int) -> None:
    view = np.random.default_rng(0).integers(90, 110, (picture, picture, 3), dtype=np.uint8)
    before = view.copy()
    for colour, corner in zip(COLOURS, corners(mark, picture, DIGEST, 0), strict=True):
        own = view.copy()
        stamp(own, mark, colour, corner)
        changed = (own != view).any(axis=2)
        assert np.array_equal(changed, mask_at(mark, picture, corner))
        assert changed.any()
    assert np.array_equal(view, before)


@given(st.integers(18, 100), st.floats(0.05, 1 / 3), st.text("0123456789abcdef", min_size=1), st.integers(0, 9))
def test_two_marks_lie_within_the_picture_and_apart(picture: int, size: float, digest: str, seed: int) -> None:
    mark = Mark("square", size)
    try:
        side = mark.side(picture)
    except CitycamError:
        assert 3 * max(5, round(size * picture)) > picture
        return
    first, second = masks(mark, picture, digest, seed)
    assert first.sum() == second.sum() == side * side
    assert not (first & second).any()


def test_places_are_spread_over_the_whole_picture() -> None:
    places = np.array([corners(STRONG, 64, f"{number:032x}", 0) for number in range(2000)])
    side = STRONG.side(64)
    assert places.min() == 0
    assert places.max() == 64 - side
    # Both marks are everywhere alike: no place tells which of them is red.
    means = places.mean(axis=0)
    assert np.abs(means[0] - means[1]).max() < 2


def test_each_number_has_its_marks() -> None:
    view = np.full((64, 64, 3), 128, dtype=np.uint8)
    red, blue = masks(STRONG, 64, DIGEST, 3)
    for number, expected in ((PLAIN, red & blue), (FIRST, red), (SECOND, blue), (BOTH, red | blue)):
        planted = plant(view, STRONG, DIGEST, 3, number)
        assert np.array_equal((planted != view).any(axis=2), expected)
    both = plant(view, STRONG, DIGEST, 3, BOTH)
    # Pasting the original pixels back over one mark leaves the picture that has the other alone.
    pasted = both.copy()
    pasted[red] = view[red]
    assert np.array_equal(pasted, plant(view, STRONG, DIGEST, 3, SECOND))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [0.5, 1.0, 3.0])
def test_a_mark_larger_than_its_room_is_refused(shape: str, size: float) -> None:
    with pytest.raises(CitycamError, match=f"A {shape} of .* pixels is planted twice .* at most a third"):
        Mark(shape, size).side(96)


def test_an_unknown_shape_is_refused_with_near_matches() -> None:
    with pytest.raises(CitycamError, match="mark=dics is not known; did you mean disc"):
        Mark("dics", 0.16)


def test_areas_are_what_their_shapes_say() -> None:
    shares = {name: SHAPES[name](36)[0].mean() for name in SHAPES}
    assert shares["square"] == 1
    assert shares["disc"] == pytest.approx(np.pi / 4, abs=0.01)
    assert shares["ring"] == pytest.approx(np.pi / 4 * (1 - 0.7**2), abs=0.02)
