"""Maps of a sample: made in batches, and checked for blank, incomplete and small ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from citycam.explain.maps import COMPLETE, Maps, completeness_gap, find_blank, make_maps, summary, warnings_about
from citycam.explain.methods import METHODS
from citycam.explain.tail import Tail
from citycam.explain.targets import LogitTarget

N, C = 40, 5


def make_tail() -> Tail:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(C, 8), nn.ReLU(), nn.Linear(8, 2))
    return Tail(lambda a: a.mean(dim=(2, 3)), head, pool_kind="mean")


def make_activations(side: int = 7) -> torch.Tensor:
    return torch.relu(torch.randn(N, C, side, side, generator=torch.Generator().manual_seed(1)))


TARGETS = [LogitTarget(0, "paris")] * N


def test_a_map_is_blank_if_it_is_negligible_in_the_sample_or_not_finite() -> None:
    raw = np.zeros((7, 2, 2), dtype=np.float32)
    raw[:, 0, 0] = [1.0, 2.0, 1e-9, -3.0, 1e-7, 1.0, 1.0]
    raw[6, 1, 1] = np.nan
    expected = [False, False, True, True, False, False, True]
    assert find_blank(raw).tolist() == expected
    assert find_blank(raw * np.float32(1e-12)).tolist() == expected
    assert find_blank(np.zeros((3, 2, 2))).all()
    assert find_blank(np.full((3, 2, 2), np.inf)).all()


def test_a_nan_in_one_picture_affects_no_other() -> None:
    activations = make_activations()
    activations[3, 0, 0, 0] = torch.nan
    noisy = make_activations().expand(2, -1, -1, -1, -1)
    with np.errstate(invalid="ignore"):
        maps = make_maps(make_tail(), activations, TARGETS, list(METHODS), noisy=noisy)
    for made in maps.values():
        assert made.nan == 1
        assert np.flatnonzero(made.blank).tolist() == [3]
    facts = summary(maps)
    json.dumps(facts, allow_nan=False)
    assert facts["methods"]["cam"] == {"maps": N, "blank": 1, "nan": 1, "completeness_gap": None}
    sentences = [warning["sentence"] for warning in warnings_about(maps) if warning["code"] == "blank_maps"]
    assert len(sentences) == 1
    assert sentences[0].startswith(f"Blank among {N} maps each: 1 of cam, 1 of gradcam, ")
    assert sentences[0].endswith(f"({len(maps)} with NaN); they are marked, and show no evidence.")


def test_small_maps_give_a_warning() -> None:
    small = make_maps(make_tail(), make_activations(2), TARGETS, ["gradcam"])
    (warning,) = [warning for warning in warnings_about(small) if warning["code"] == "small_map"]
    assert warning["sentence"].startswith("The maps are 2 × 2: 4 numbers for a whole picture")
    large = make_maps(make_tail(), make_activations(7), TARGETS, ["gradcam"])
    assert "small_map" not in {warning["code"] for warning in warnings_about(large)}


def test_methods_are_made_in_batches_and_progress_ends() -> None:
    tail, activations = make_tail(), make_activations()
    seen: list[int] = []
    maps = make_maps(tail, activations, TARGETS, ["cam", "gradcam"], progress=seen.append)
    assert seen == [32, 32, 8, 8]
    assert list(maps) == ["cam", "gradcam"]
    assert maps["cam"].gap is not None
    assert maps["cam"].gap.max() <= 1e-4
    np.testing.assert_allclose(maps["cam"].raw, maps["gradcam"].raw * 49, atol=1e-5)
    assert summary(maps)["map_size"] == [7, 7]


def test_a_large_gap_gives_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_: nn.Module, features: Tensor) -> Tensor:
        return torch.full((len(features), 2), 7.0)

    complete = make_maps(make_tail(), make_activations(), TARGETS, ["cam", "gradcam"])
    assert "incomplete_cam" not in {warning["code"] for warning in warnings_about(complete)}
    monkeypatch.setattr("citycam.explain.methods.head_bias", wrong)
    maps = make_maps(make_tail(), make_activations(), TARGETS, ["cam", "gradcam"])
    (warning,) = [warning for warning in warnings_about(maps) if warning["code"] == "incomplete_cam"]
    assert warning["sentence"].startswith("cam misses its logit by a share of up to ")
    assert summary(maps)["methods"]["cam"]["completeness_gap"] > COMPLETE
    assert "completeness_gap" not in summary(maps)["methods"]["gradcam"]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_rounding_is_no_gap_and_a_wrong_bias_is_one_at_any_scale(scale: float) -> None:
    tail = make_tail()
    with torch.no_grad():
        for parameter in tail.head[2].parameters():
            parameter.mul_(scale)
    maps = make_maps(tail, make_activations(), TARGETS, ["cam"])
    assert "incomplete_cam" not in {warning["code"] for warning in warnings_about(maps)}
    its = maps["cam"]
    assert its.bias is not None
    wrong = completeness_gap(its.raw, its.bias + np.float32(0.01 * scale), its.explained, tail)
    assert wrong.min() > COMPLETE


def test_the_advice_for_small_maps_is_no_stride_where_a_denser_grid_is_a_lattice() -> None:
    small = make_maps(make_tail(), make_activations(2), TARGETS, ["gradcam"])
    (warning,) = [its for its in warnings_about(small, finer=False) if its["code"] == "small_map"]
    assert "stride" not in warning["sentence"]
    assert warning["sentence"].endswith("object; a larger image_size makes them finer.")


def test_peaks_are_the_maxima_of_the_raw_maps() -> None:
    raw = np.array([[[-3.0, -1.0]], [[2.0, 5.0]], [[np.nan, 1.0]]], dtype=np.float32)
    maps = Maps("gradcam", raw, np.zeros(3, dtype=np.float32), None, None)
    np.testing.assert_array_equal(maps.peaks, np.array([-1, 5, np.nan], dtype=np.float32))
    assert maps.blank.tolist() == [True, False, True]
    assert maps.nan == 1
