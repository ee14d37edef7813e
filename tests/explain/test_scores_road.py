"""ROAD: the imputation against pytorch-grad-cam's sparse solver, the score against a loop written from the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pytorch_grad_cam.metrics.road import NoisyLinearImputer, ROADCombined
from scipy import ndimage
from torch import Tensor

from citycam.explain.scores import road as module
from citycam.explain.scores.imputation import TOLERANCE, impute
from citycam.explain.scores.ranks import highest, lowest, ranks
from citycam.explain.scores.road import LEVELS, road
from citycam.explain.targets import Contrast
from tests.explain.scored import SIDE, drawn, make_pictures, make_subject, random_maps
from tests.explain.tails import B, K

Masks = NDArray[np.bool_]
# The library transposes tensors through numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")


def library(pictures: Tensor, masks: Masks) -> Tensor:
    """Each picture filled by the sparse direct solver of pytorch-grad-cam, without noise."""
    imputer = NoisyLinearImputer(noise=0.0)
    kept = torch.from_numpy((~masks).astype(np.float32))
    return torch.stack([imputer(picture, mask) for picture, mask in zip(pictures, kept, strict=True)])


def make_masks(kind: str, count: int, height: int, width: int, share: float, seed: int = 0) -> Masks:
    """Exactly that share of the pixels, of random maps that are rough, smooth, made of cells, or a bump."""
    random = np.random.default_rng(seed)
    noise = random.random((count, height, width))
    if kind == "smooth":
        noise = ndimage.gaussian_filter(noise, (0, height / 12, width / 12))
    elif kind == "cells":
        noise = noise[:, ::8, ::8].repeat(8, axis=1)[:, :height].repeat(8, axis=2)[:, :, :width] + noise * 1e-9
    elif kind == "bump":
        rows, columns = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        noise = np.exp(-(rows**2) - columns**2) + noise * 1e-9
    order = noise.reshape(count, -1).argsort(axis=1)
    masks = np.zeros((count, height * width), dtype=bool)
    np.put_along_axis(masks, order[:, ::-1][:, : round(share * height * width)], True, axis=1)
    return masks.reshape(noise.shape)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("kind", ["rough", "smooth", "cells", "bump"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47)])
def test_fills_as_the_sparse_solver_does(kind: str, share: float, height: int, width: int) -> None:
    masks = make_masks(kind, 3, height, width, share)
    pictures = torch.randn(3, 3, height, width, generator=torch.Generator().manual_seed(1))
    filled = impute(pictures, torch.from_numpy(masks))
    wanted = library(pictures, masks)
    spread = float(pictures.max() - pictures.min())
    assert float((filled - wanted).abs().max()) <= 2 * TOLERANCE * spread
    assert (filled[~torch.from_numpy(masks)[:, None].expand_as(filled)] == pictures[~masks[:, None].repeat(3, 1)]).all()


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(5, 20), width=st.integers(5, 20), share=st.floats(0, 0.99))
def test_any_picture_and_any_mask(seed: int, height: int, width: int, share: float) -> None:
    random = np.random.default_rng(seed)
    masks = random.random((2, height, width)) < share
    masks[:, random.integers(height), random.integers(width)] = False
    pictures = torch.from_numpy(random.standard_normal((2, 3, height, width)).astype(np.float32))
    filled = impute(pictures, torch.from_numpy(masks)).double().numpy()
    wanted = dense(pictures.double().numpy(), masks)
    assert np.abs(filled - wanted).max() <= 2 * TOLERANCE * max(1.0, float(np.ptp(pictures.numpy())))


def dense(pictures: np.ndarray, masks: Masks) -> np.ndarray:
    """Rong et al. 2022, section 4.2, as a dense system: a missing pixel is the mean of its neighbours, those at its
    sides with twice the weight of those at its corners; neighbours outside the picture are left out."""
    result = pictures.copy()
    height, width = masks.shape[1:]
    for picture, mask in zip(result, masks, strict=True):
        missing = {place: number for number, place in enumerate(zip(*np.nonzero(mask), strict=True))}
        system, right = np.zeros((len(missing), len(missing))), np.zeros((len(missing), 3))
        for (row, column), number in missing.items():
            for down, right_of in ((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)):
                place, weight = (row + down, column + right_of), 1 / 12 if down and right_of else 1 / 6
                if not (0 <= place[0] < height and 0 <= place[1] < width):
                    continue
                system[number, number] += weight
                if place in missing:
                    system[number, missing[place]] -= weight
                else:
                    right[number] += weight * picture[:, place[0], place[1]]
        if missing:
            picture[:, mask] = np.linalg.solve(system, right).T
    return result


def test_nothing_missing_changes_nothing_and_everything_missing_is_refused() -> None:
    pictures = make_pictures(2)
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    assert (impute(pictures, masks) == pictures).all()
    masks[1] = True
    with pytest.raises(ValueError, match="no pixel is left"):
        impute(pictures, masks)


def test_a_batch_of_one_equals_a_batch_of_many() -> None:
    masks = torch.from_numpy(np.concatenate([make_masks(kind, 2, 32, 32, 0.7) for kind in ("rough", "bump", "cells")]))
    pictures = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    whole = impute(pictures, masks)
    assert (impute(pictures, masks) == whole).all()
    for place in range(6):
        alone = impute(pictures[place : place + 1], masks[place : place + 1])
        np.testing.assert_allclose(alone[0], whole[place], atol=4 * TOLERANCE)


def test_the_score_is_half_of_lerf_less_morf() -> None:
    targets = [Contrast(place % K) for place in range(B)]
    subject, maps = make_subject(targets=targets), random_maps()
    pictures, gains = subject.pictures(slice(None)), np.zeros(B)
    order = ranks(drawn(maps).pixels(slice(None), SIDE), subject.digests, subject.seed)
    noise = module.NOISE * module._noise(pictures, list(subject.digests), subject.seed)
    for level in LEVELS:
        for sign, masks in ((-1, highest(order, level)), (1, lowest(order, level))):
            filled = library(pictures, masks.numpy()) + noise * masks[:, None]
            gains += sign * subject.answers(filled, slice(None)) / 2 / len(LEVELS)
    np.testing.assert_allclose(road(subject, drawn(maps)), gains, atol=1e-3)


def test_agrees_with_the_library_where_no_pixels_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thresholds may remove one pixel more or less."""
    side = 32
    pictures = make_pictures(8, side)
    targets = [Contrast(place % K) for place in range(8)]
    subject, maps = make_subject(8, pictures=pictures, targets=targets), random_maps(8, side, side)
    monkeypatch.setattr(module, "NOISE", 0.0)
    monkeypatch.setattr(NoisyLinearImputer.__init__, "__defaults__", (0.0, None))
    theirs = ROADCombined()(pictures, maps, targets, subject.network)
    ours = road(subject, drawn(maps))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    np.testing.assert_allclose(ours, theirs, atol=0.05 * np.abs(theirs).max())


def test_maps_with_many_zeros_lose_only_their_share() -> None:
    """The library's threshold takes all pixels of a blank map at once, whatever share was asked for."""
    maps = np.maximum(random_maps(height=SIDE, width=SIDE), 0)
    maps[0] = 0
    order = ranks(maps, list("abcde"), 0)
    for level in LEVELS:
        for masks in (highest(order, level), lowest(order, level)):
            assert (masks.flatten(1).sum(dim=1) == round(level * SIDE * SIDE)).all()
