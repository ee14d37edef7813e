"""Methods that pass whole pictures: their formulas, their cost, and that nothing stays behind."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from citycam.cells import CellGrid
from citycam.errors import CitycamError
from citycam.explain.integrated import BASELINES, blurred, integrated_gradients
from citycam.explain.maps import COMPLETE_PATH, path_gap, summary, warnings_about
from citycam.explain.targets import Contrast, LogitTarget, Target, target_values
from citycam.explain.whole import WHOLE_METHODS, Whole, chunk, make_whole_maps, passes_of, seconds_of, whole_cells
from citycam.explain_config import ExplainConfig

SIDE, COUNT = 24, 5
METHODS = sorted(WHOLE_METHODS)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(6 * (SIDE // 4) ** 2, 3)
    ).eval()


def whole(net: nn.Module, count: int = COUNT, **settings: object) -> Whole:
    pictures = torch.randn((count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))
    targets: list[Target] = [Contrast(place % 3) for place in range(count)]
    with torch.no_grad():
        explained = target_values(net(pictures), targets).numpy()
    return Whole(net, lambda some: pictures[some], SIDE, targets, explained, ExplainConfig(**settings))  # type: ignore[arg-type]


def test_integrated_keeps_raw_signed_maps_of_pixels() -> None:
    net = network()
    its = whole(net, baselines=["blur", "mean"], steps=3)
    maps = make_whole_maps("integrated", its)
    wanted = integrated_gradients(net, its.pictures(slice(None)), its.targets, baselines=["blur", "mean"], steps=3)
    np.testing.assert_allclose(maps.raw, wanted.raw, atol=1e-6)
    assert maps.raw.shape == (COUNT, SIDE, SIDE)
    assert maps.raw.min() < 0 < maps.raw.max()
    assert maps.bias is not None
    np.testing.assert_allclose(maps.bias, wanted.start, atol=1e-6)
    np.testing.assert_array_equal(maps.explained, its.explained)
    assert whole_cells(maps) == CellGrid.even(SIDE, SIDE)


def test_occlusion_is_what_the_number_loses_by_a_blurred_patch() -> None:
    net = network()
    its = whole(net)
    maps = make_whole_maps("occlusion", its)
    assert maps.raw.shape == (COUNT, 8, 8)
    assert maps.bias is maps.gap is None
    for place in range(COUNT):
        picture = its.pictures(slice(place, place + 1)).double()
        filling = blurred(picture, BASELINES["blur"])
        for row, column in np.ndindex(8, 8):
            covered = picture.clone()
            for y, x in np.ndindex(SIDE, SIDE):
                # A cell is three pixels wide here, and the patch six: from 1.5 pixels before the cell to 1.5 after it.
                if abs(y + 0.5 - 3 * (row + 0.5)) <= 3 and abs(x + 0.5 - 3 * (column + 0.5)) <= 3:
                    covered[..., y, x] = filling[..., y, x]
            with torch.no_grad():
                left = float(its.targets[place](network().double()(covered)[0]))
            assert maps.raw[place, row, column] == pytest.approx(its.explained[place] - left, abs=0.2)


@pytest.mark.parametrize("method", METHODS)
def test_maps_do_not_depend_on_the_batch(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    its, seen = whole(network()), []
    together = make_whole_maps(method, its, progress=seen.append)
    assert sum(seen) == COUNT
    monkeypatch.setattr("citycam.explain.whole.chunk", lambda _size: 1)
    alone = make_whole_maps(method, its)
    np.testing.assert_allclose(together.raw, alone.raw, atol=1e-6)
    assert (make_whole_maps(method, its).raw == alone.raw).all()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_stays_on_the_network(method: str) -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    make_whole_maps(method, whole(net))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(part._forward_hooks or part._backward_hooks for part in net.modules())


def test_a_network_that_cannot_be_differentiated_is_one_sentence() -> None:
    net = network()

    def rounded(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            return net(pictures)

    its = dataclasses.replace(whole(net), network=rounded)
    with pytest.raises(CitycamError, match=r"cannot be differentiated, and only .*occlusion"):
        make_whole_maps("integrated", its)
    assert np.isfinite(make_whole_maps("occlusion", its).raw).all()


def test_passes_are_those_of_the_settings() -> None:
    calls: list[bool] = []
    net = network()

    def counting(pictures: Tensor) -> Tensor:
        calls.append(pictures.requires_grad)
        return net(pictures)

    for method in METHODS:
        calls.clear()
        its = dataclasses.replace(whole(net, baselines=["blur", "blur_coarse", "mean"], steps=3), network=counting)
        make_whole_maps(method, its)
        assert (len(calls), sum(calls)) == WHOLE_METHODS[method].passes(its.settings)
    assert WHOLE_METHODS["integrated"].passes(ExplainConfig()) == (6, 4), "the default: four gradients a picture"


def test_the_passes_of_all_methods_are_counted_in_forward_passes() -> None:
    assert passes_of(ExplainConfig(methods=["cam", "gradcam"])) == 0
    assert passes_of(ExplainConfig(methods=["cam", "integrated"])) == 6 + 2 * 4
    assert passes_of(ExplainConfig(methods=["integrated", "occlusion"])) == 6 + 2 * 4 + 64


def test_the_time_grows_with_the_passes() -> None:
    its = whole(network())
    assert 0 < seconds_of(["integrated"], its) < seconds_of(["integrated", "occlusion"], its) < 60


@pytest.mark.parametrize(("size", "pictures"), [(32, 32), (64, 32), (224, 16), (448, 4), (4096, 1)])
def test_a_pass_takes_fewer_pictures_the_larger_they_are(size: int, pictures: int) -> None:
    assert chunk(size) == pictures


def test_a_path_that_misses_half_gives_a_warning_and_stands_in_the_facts() -> None:
    complete = make_whole_maps("integrated", whole(network(), steps=32))
    assert warnings_about({"integrated": complete}) == []
    assert complete.gap is not None
    assert complete.gap.max() < 0.01
    facts = summary({"integrated": complete})["methods"]["integrated"]
    assert facts["completeness_gap"] >= facts["median_gap"]
    coarse = dataclasses.replace(complete, gap=np.full(COUNT, COMPLETE_PATH + 0.1))
    (warning,) = warnings_about({"integrated": coarse})
    assert warning["code"] == "incomplete_path"
    assert "miss 60% of the number explained" in warning["sentence"]
    broken = dataclasses.replace(complete, gap=np.full(COUNT, np.nan))
    assert [its["code"] for its in warnings_about({"integrated": broken})] == ["incomplete_path"]


def test_the_gap_is_a_share_of_the_largest_of_what_is_compared() -> None:
    raw = np.array([[[1.0, 2.0]], [[0.0, 0.0]], [[-1.0, 0.0]]])
    gap = path_gap(raw, np.array([1.0, 0.0, 0.0]), np.array([5.0, 0.0, 1.0]))
    np.testing.assert_allclose(gap, [1 / 5, 0.0, 2.0])


def test_a_linear_network_and_one_logit_sum_to_what_they_promise() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 3))
    its = whole(net, steps=1, baselines=["blur_fine"])
    its = dataclasses.replace(its, targets=[LogitTarget(1)] * COUNT)
    with torch.no_grad():
        its = dataclasses.replace(its, explained=net(its.pictures(slice(None)))[:, 1].numpy())
    maps = make_whole_maps("integrated", its)
    assert maps.gap is not None
    assert maps.gap.max() < 1e-4
