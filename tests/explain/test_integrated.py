"""Integrated gradients against a slow float64 reference, and the properties that their paper proves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from citycam.cells import blur_matrix, odd, smoothed
from citycam.explain.integrated import BASELINES, blurred, box_of, integrated_gradients
from citycam.explain.targets import Contrast, Difference, LogitTarget, Negative, Target, target_values

SIDE = 16
TARGETS: tuple[Target, ...] = (LogitTarget(1), Negative(0), Difference(2, 0), Contrast(1))


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.SiLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()


def pictures(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def explained(logits: np.ndarray, target: Target) -> float:
    """What a target reads, written out."""
    if isinstance(target, LogitTarget):
        return float(logits[target.index])
    if isinstance(target, Negative):
        return -float(logits[target.index])
    if isinstance(target, Difference):
        return float(logits[target.index] - logits[target.other])
    assert isinstance(target, Contrast)
    return float(logits[target.index] - np.mean([one for k, one in enumerate(logits) if k != target.index]))


def slow_blur(picture: np.ndarray, share: float | None) -> np.ndarray:
    """Pixel by pixel: the mean over a box, twice."""
    if share is None:
        return np.broadcast_to(picture.mean(axis=(1, 2), keepdims=True), picture.shape).copy()
    half = odd(share * SIDE) // 2
    for _ in range(2):
        padded = np.pad(picture, ((0, 0), (half, half), (half, half)), mode="edge")
        blurred_picture = np.empty_like(picture)
        for row in range(SIDE):
            for column in range(SIDE):
                box = padded[:, row : row + 2 * half + 1, column : column + 2 * half + 1]
                blurred_picture[:, row, column] = box.mean(axis=(1, 2))
        picture = blurred_picture
    return picture


def slow_map(net: nn.Module, picture: np.ndarray, target: Target, names: list[str], steps: int) -> np.ndarray:
    """Sundararajan et al. 2017, eq. 3, in float64: gradients by automatic differentiation of one picture at a time."""
    double = net.double()
    total = np.zeros((SIDE, SIDE))
    for name in names:
        baseline = slow_blur(picture, BASELINES[name])
        for step in range(steps):
            point = torch.tensor(baseline + (step + 0.5) / steps * (picture - baseline), requires_grad=True)
            target(double(point[None])[0]).backward()
            assert point.grad is not None
            total += (point.grad.numpy() * (picture - baseline)).sum(axis=0) / (len(names) * steps)
    return total


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: type(target).__name__)
@pytest.mark.parametrize("names", [["blur_fine"], ["blur_fine", "blur_coarse"], list(BASELINES)], ids=len)
def test_equals_the_paper_in_double_precision(target: Target, names: list[str]) -> None:
    batch = pictures(2)
    its = integrated_gradients(network(), batch, [target] * 2, baselines=names, steps=3)
    for place, picture in enumerate(batch.double().numpy()):
        wanted = slow_map(network(), picture, target, names, 3)
        np.testing.assert_allclose(its.raw[place], wanted, atol=2e-6 * np.abs(wanted).max() + 1e-7)
        double = network().double()
        starts = [double(torch.from_numpy(slow_blur(picture, BASELINES[name]))[None])[0].detach() for name in names]
        wanted_start = np.mean([explained(start.numpy(), target) for start in starts])
        assert its.start[place] == pytest.approx(wanted_start, abs=1e-5)


@given(seed=st.integers(0, 100), steps=st.integers(1, 4), names=st.sets(st.sampled_from(list(BASELINES)), min_size=1))
def test_a_linear_network_gives_gradient_times_difference(seed: int, steps: int, names: set[str]) -> None:
    torch.manual_seed(seed)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 3))
    batch = pictures(2, seed)
    its = integrated_gradients(linear, batch, [LogitTarget(2)] * 2, baselines=sorted(names), steps=steps)
    weights = linear[1].weight[2].reshape(3, SIDE, SIDE)
    differences = [batch - blurred(batch, BASELINES[name]) for name in names]
    wanted = torch.stack([(weights * one).sum(dim=1) for one in differences]).mean(dim=0).detach().numpy()
    np.testing.assert_allclose(its.raw, wanted, atol=1e-4)
    np.testing.assert_allclose(its.raw.sum(axis=(1, 2)), linear(batch)[:, 2].detach().numpy() - its.start, atol=1e-3)


def test_complete_in_the_limit() -> None:
    gaps = []
    for steps in (1, 4, 64):
        its = integrated_gradients(network(), pictures(4), [Contrast(0)] * 4, baselines=["blur"], steps=steps)
        reached = target_values(network()(pictures(4)), [Contrast(0)] * 4).detach().numpy()
        gaps.append(float(np.abs(its.raw.sum(axis=(1, 2)) - (reached - its.start)).max()))
    assert all(finer < coarser for coarser, finer in pairwise(gaps))
    assert gaps[-1] < 1e-3


def test_the_map_of_several_baselines_is_the_mean_of_theirs() -> None:
    batch, names = pictures(3), list(BASELINES)
    alone = [integrated_gradients(network(), batch, [LogitTarget(0)] * 3, baselines=[name], steps=2) for name in names]
    together = integrated_gradients(network(), batch, [LogitTarget(0)] * 3, baselines=names, steps=2)
    np.testing.assert_allclose(together.raw, np.mean([one.raw for one in alone], axis=0), atol=1e-6)
    np.testing.assert_allclose(together.start, np.mean([one.start for one in alone], axis=0), atol=1e-6)


def test_a_pixel_that_does_not_matter_gets_nothing() -> None:
    net = network()

    def blind(batch: Tensor) -> Tensor:
        return net(batch * (torch.arange(SIDE) < 10).float())  # the columns on the right are not seen

    raw = integrated_gradients(blind, pictures(2), [LogitTarget(0)] * 2, baselines=list(BASELINES), steps=2).raw
    assert (raw[:, :, 10:] == 0).all()
    assert (raw[:, :, :10] != 0).any()


def test_a_picture_without_detail_gets_an_empty_map() -> None:
    flat = torch.full((1, 3, SIDE, SIDE), 0.7)
    raw = integrated_gradients(network(), flat, [LogitTarget(0)], baselines=list(BASELINES), steps=2).raw
    np.testing.assert_allclose(raw, 0, atol=1e-6)


def test_the_map_does_not_depend_on_the_batch_and_leaves_nothing_behind() -> None:
    net, batch = network(), pictures(5)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    targets = [LogitTarget(k % 3) for k in range(5)]
    whole = integrated_gradients(net, batch, targets, baselines=["blur"], steps=2).raw
    again = integrated_gradients(net, batch, targets, baselines=["blur"], steps=2).raw
    assert (whole == again).all()
    for place in range(5):
        some = slice(place, place + 1)
        alone = integrated_gradients(net, batch[some], targets[some], baselines=["blur"], steps=2).raw
        np.testing.assert_allclose(whole[some], alone, atol=1e-6)
    assert all((value == state[name]).all() for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert batch.grad is None
    assert not batch.requires_grad


@given(width=st.integers(1, 15), side=st.integers(15, 40))
def test_a_blur_averages_twice_over_a_box_with_edges_repeated(width: int, side: int) -> None:
    matrix = blur_matrix(side, odd(width))
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1])
    values, half = np.random.default_rng(width).random(side), odd(width) // 2
    expected = values
    for _ in range(2):
        expected = np.convolve(np.pad(expected, half, "edge"), np.full(odd(width), 1 / odd(width)), "valid")
    np.testing.assert_allclose(matrix @ values, expected)
    np.testing.assert_allclose(smoothed(np.ones((1, side, side)), odd(width)), 1)


@pytest.mark.parametrize(("side", "width"), [(64, 5), (96, 7), (224, 17)])
def test_maps_are_smoothed_twice_by_a_thirteenth_of_the_side(side: int, width: int) -> None:
    point = np.zeros((1, side, side))
    point[0, side // 2, side // 2] = 1
    assert (smoothed(point, box_of(side)) > 0).sum() == (2 * width - 1) ** 2
