"""Every method equals a slow reference in float64, written from its paper with loops."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from citycam.errors import CitycamError
from citycam.explain.maps import completeness_gap, explain
from citycam.explain.methods import METHODS, check_method, identities
from citycam.explain.tail import Tail, head_bias
from citycam.explain.targets import Difference, LogitTarget, Negative
from citycam.explain_config import CELL_METHODS
from tests.explain.tails import (
    ALL,
    B,
    C,
    CellPool,
    H,
    K,
    Maps,
    W,
    gradient_of,
    make_activations,
    make_noisy,
    make_tail,
    mean_pool,
    mlp_head,
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def pool_kinds(method: str) -> list[str]:
    return ["mean"] if method == "cam" else ["mean", "linear"]


CASES = [(method, kind) for method in ALL for kind in pool_kinds(method)]


# --- references -----------------------------------------------------------------------------------------------------


def gradient(tail: Tail, activations: Tensor, index: int) -> Maps:
    """d logit / d activation by central differences in float64, without autograd."""
    base = activations.double()
    result = np.zeros(base.shape)
    step = 1e-6
    with torch.no_grad():
        for place in np.ndindex(*base.shape):
            high, low = base.clone(), base.clone()
            high[place] += step
            low[place] -= step
            b = place[0]
            result[place] = float(tail(high[b : b + 1])[0, index] - tail(low[b : b + 1])[0, index]) / (2 * step)
    return result


def paint(weights: Maps, activations: Maps) -> Maps:
    maps = np.zeros((len(activations), H, W))
    for b, i, j in np.ndindex(*maps.shape):
        for c in range(C):
            maps[b, i, j] += weights[b, c] * activations[b, c, i, j]
    return maps


def per_cell(formula: Callable[[float, float], float], A: Maps, g: Maps) -> Maps:
    maps = np.zeros((len(A), H, W))
    for b, c, i, j in np.ndindex(*A.shape):
        maps[b, i, j] += formula(A[b, c, i, j], g[b, c, i, j])
    return maps


def per_channel(formula: Callable[[Maps, Maps], float], A: Maps, g: Maps) -> Maps:
    weights = np.array([[formula(A[b, c], g[b, c]) for c in range(C)] for b in range(len(A))])
    return paint(weights, A)


def plus_plus(A: Maps, first: Maps, second: Maps, third: Maps) -> float:
    """Eq. 19 of Grad-CAM++ as printed; Smooth Grad-CAM++ puts averages in it."""
    weight = 0.0
    for i, j in np.ndindex(*A.shape):
        below = 2 * second[i, j] + A.sum() * third[i, j]
        alpha = second[i, j] / below if below != 0 else 0.0
        weight += alpha * max(first[i, j], 0)
    return weight


def reference(method: str, tail: Tail, activations: Tensor, noisy: Tensor, index: int) -> Maps:
    A = activations.double().numpy()
    exact = copy.deepcopy(tail).double().requires_grad_(False)
    g = gradient(exact, activations, index)
    if method == "cam":
        first, last = exact.head[0], exact.head[3]
        weights = np.zeros((len(A), C))
        for b in range(len(A)):
            hidden = first(torch.from_numpy(A[b].mean(axis=(1, 2))))
            for unit in range(16):
                if hidden[unit] > 0:
                    for c in range(C):
                        weights[b, c] += float(last.weight[index, unit] * first.weight[unit, c])
        return paint(weights, A)
    if method == "smoothgradcampp":
        copies = np.stack([gradient(exact, one, index) for one in noisy])
        powers = [(copies**p).mean(axis=0) for p in (1, 2, 3)]
        weights = np.array([[plus_plus(A[b, c], *(p[b, c] for p in powers)) for c in range(C)] for b in range(len(A))])
        return paint(weights, A)
    if method == "eigengradcam":
        maps = []
        for b in range(len(A)):
            cells = (A[b] * g[b]).reshape(C, -1).T
            cells = cells - cells.mean(axis=0)
            values, vectors = np.linalg.eigh(cells.T @ cells)
            component = cells @ vectors[:, np.argmax(values)]
            maps.append((component * np.sign((component * cells.sum(axis=1)).sum())).reshape(H, W))
        return np.stack(maps)
    if method == "finercam":
        others = [k for k in range(3) if k != index]
        g = g - 0.6 * np.mean([gradient(exact, activations, other) for other in others], axis=0)
        return paint(g.mean(axis=(2, 3)), A)
    if method == "shapleycam":
        step = 1e-5
        ahead, behind = (gradient(exact, activations.double() * (1 + sign * step), index) for sign in (1, -1))
        return paint((g - 0.5 * (ahead - behind) / (2 * step)).mean(axis=(2, 3)), A)
    cellwise = {
        "hirescam": lambda a, d: d * a,
        "layercam": lambda a, d: max(d, 0) * a,
        "elementwise": lambda a, d: max(d * a, 0),
    }
    channelwise = {
        "gradcam": lambda _, d: d.mean(),
        "xgradcam": lambda a, d: (a / a.sum() * d).sum() if a.sum() else 0.0,
        "gradcampp": lambda a, d: plus_plus(a, d, d**2, d**3),
    }
    if method in cellwise:
        return per_cell(cellwise[method], A, g)
    return per_channel(channelwise[method], A, g)


# --- formulas -------------------------------------------------------------------------------------------------------


def test_registered_names_are_those_of_the_settings() -> None:
    assert tuple(METHODS) == CELL_METHODS
    assert all(METHODS[name].name == name for name in METHODS)


@pytest.mark.parametrize(("method", "pool_kind"), CASES)
def test_method_equals_its_paper(method: str, pool_kind: str) -> None:
    tail, activations = make_tail(pool_kind), make_activations()
    noisy = make_noisy(activations)
    maps = explain(method, tail, activations, 1, noisy=noisy)
    expected = reference(method, tail, activations, noisy, 1)
    assert maps.raw.shape == (B, H, W)
    assert maps.raw.dtype == np.float32
    np.testing.assert_allclose(maps.raw, expected, rtol=2e-4, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("method", "pool_kind"), CASES)
def test_a_batch_gives_the_maps_of_its_pictures_and_repeats(method: str, pool_kind: str) -> None:
    tail, activations = make_tail(pool_kind), make_activations()
    noisy = make_noisy(activations)
    targets = [LogitTarget(0), Negative(1), Difference(2, 0), LogitTarget(1), LogitTarget(2)]
    whole = explain(method, tail, activations, targets, noisy=noisy).raw
    again = explain(method, tail, activations, targets, noisy=noisy).raw
    np.testing.assert_array_equal(whole, again)
    for b in range(B):
        one = explain(method, tail, activations[b : b + 1], targets[b : b + 1], noisy=noisy[:, b : b + 1]).raw
        np.testing.assert_allclose(one[0], whole[b], rtol=1e-4, atol=1e-6)


def test_cam_is_complete_and_gradcam_is_the_same_map() -> None:
    tail, activations = make_tail(), make_activations()
    cam, gradcam = explain("cam", tail, activations, 2), explain("gradcam", tail, activations, 2)
    assert cam.raw.min() < 0
    assert cam.gap is not None
    assert cam.gap.max() <= 1e-4
    np.testing.assert_allclose(cam.explained, tail(activations)[:, 2].detach(), rtol=1e-6)
    cells = H * W
    np.testing.assert_allclose(gradcam.raw * cells, cam.raw, atol=1e-5 * np.abs(cam.raw).max())
    for same in ("hirescam", "xgradcam"):
        other = explain(same, tail, activations, 2).raw * cells
        np.testing.assert_allclose(other, cam.raw, atol=1e-5 * np.abs(cam.raw).max())


@pytest.mark.parametrize("target", [LogitTarget(1), Negative(0), Difference(0, 2)])
def test_completeness_holds_for_every_target(target: LogitTarget | Negative | Difference) -> None:
    tail, activations = make_tail(), make_activations()
    gap = explain("cam", tail, activations, [target] * B).gap
    assert gap is not None
    assert gap.max() <= 1e-4


def test_the_gap_shows_a_wrong_bias() -> None:
    tail, activations = make_tail(), make_activations()
    before = explain("cam", tail, activations, 0)
    with torch.no_grad():
        tail.head[3].bias[0] += 0.01
    after = explain("cam", tail, activations, 0)
    assert before.bias is not None
    assert after.gap is not None
    assert after.gap.max() <= 1e-4
    assert completeness_gap(after.raw, before.bias, after.explained, tail).max() > 5e-3


@pytest.mark.parametrize("method", [name for name in ALL if name != "cam"])
def test_only_cam_has_a_bias_and_a_gap(method: str) -> None:
    activations = make_activations()
    maps = explain(method, make_tail(), activations, 0, noisy=make_noisy(activations))
    assert maps.bias is maps.gap is None


def test_a_linear_head_has_a_constant_bias() -> None:
    head = nn.Linear(C, K)
    tail = Tail(mean_pool, head, pool_kind="mean")
    cam = explain("cam", tail, make_activations(), 1)
    assert cam.bias is not None
    np.testing.assert_allclose(cam.bias, float(head.bias[1].detach()), rtol=1e-6)
    assert cam.gap is not None
    assert cam.gap.max() <= 1e-4


def test_maps_are_linear_in_the_target() -> None:
    tail, activations = make_tail(), make_activations()
    maps = {t: explain("hirescam", tail, activations, [t] * B).raw for t in (LogitTarget(0), LogitTarget(1))}
    negative = explain("hirescam", tail, activations, [Negative(0)] * B).raw
    difference = explain("hirescam", tail, activations, [Difference(0, 1)] * B).raw
    np.testing.assert_allclose(negative, -maps[LogitTarget(0)], atol=1e-7)
    np.testing.assert_allclose(difference, maps[LogitTarget(0)] - maps[LogitTarget(1)], atol=1e-6)


@pytest.mark.parametrize("method", ["gradcampp", "smoothgradcampp"])
def test_the_scale_of_the_logits_does_not_change_the_map(method: str) -> None:
    tail, activations = make_tail("linear"), make_activations()
    noisy = make_noisy(activations)
    maps = []
    for scale in (1e-3, 1e-9):
        faint = copy.deepcopy(tail)
        with torch.no_grad():
            faint.head[3].weight *= scale
            faint.head[3].bias *= scale
        raw = explain(method, faint, activations, 0, noisy=noisy).raw
        maps.append(raw / raw.max())
    np.testing.assert_allclose(maps[0], maps[1], atol=2e-3)


def test_averaged_noisy_copies_give_the_same_map_behind_a_mean_pool() -> None:
    tail, activations = make_tail(), make_activations()
    noisy = make_noisy(activations)
    whole = explain("smoothgradcampp", tail, activations, 0, noisy=noisy).raw
    compact = explain("smoothgradcampp", tail, activations, 0, noisy=noisy.mean(dim=(3, 4), keepdim=True)).raw
    np.testing.assert_allclose(compact, whole, rtol=1e-5, atol=1e-7)


def test_smooth_without_noise_is_gradcampp() -> None:
    for kind in ("mean", "linear"):
        tail, activations = make_tail(kind), make_activations()
        smooth = explain("smoothgradcampp", tail, activations, 0, noisy=activations.expand(3, -1, -1, -1, -1)).raw
        np.testing.assert_allclose(smooth, explain("gradcampp", tail, activations, 0).raw, rtol=1e-4, atol=1e-6)


def test_smooth_needs_noisy_copies() -> None:
    with pytest.raises(ValueError, match=r"needs noisy \(n, 5, 6, h, w\), got None"):
        explain("smoothgradcampp", make_tail(), make_activations(), 0)
    with pytest.raises(ValueError, match=r"needs noisy \(n, 5, 6, h, w\), got \(2, 3, 6, 4, 3\)"):
        explain("smoothgradcampp", make_tail(), make_activations(), 0, noisy=torch.zeros(2, 3, C, H, W))


@pytest.mark.parametrize("method", ["gradcampp", "smoothgradcampp"])
@pytest.mark.parametrize("kind", ["mean", "linear"])
def test_activations_below_zero_do_not_explode(method: str, kind: str) -> None:
    """The papers' fraction has a pole where sum(A) * g = -2, which only negative activations can reach."""
    activations = make_activations() - 2.0
    tail = make_tail(kind)
    for scale in np.geomspace(0.1, 100, 30):
        loud = copy.deepcopy(tail)
        with torch.no_grad():
            loud.head[3].weight *= scale
        raw = explain(method, loud, activations, 0, noisy=activations.expand(2, -1, -1, -1, -1)).raw
        gradients = gradient_of(loud, activations)
        bound = (np.maximum(gradients, 0).sum(axis=(2, 3), keepdims=True) * np.abs(activations.numpy())).sum(axis=1)
        assert (np.abs(raw) <= bound * 1.0001 + 1e-6).all()


# --- dense grids ----------------------------------------------------------------------------------------------------


def test_a_denser_grid_keeps_features_and_logits() -> None:
    dense = make_activations()[..., :4, :2].repeat_interleave(2, dim=3)
    dense = dense + 0.1 * torch.rand(dense.shape, generator=torch.Generator().manual_seed(3))
    head = mlp_head().eval()
    plain = Tail(mean_pool, head, pool_kind="mean")
    fine = Tail(mean_pool, head, pool_kind="mean", plain_stride_step=2)
    coarse = dense[..., ::2, ::2]
    assert not torch.equal(plain(dense), fine(dense))
    torch.testing.assert_close(fine(dense), plain(coarse), rtol=0, atol=0)
    for method in ("cam", "gradcam"):
        small, large = explain(method, plain, coarse, 1), explain(method, fine, dense, 1)
        factor = 1 if method == "cam" else 4
        np.testing.assert_allclose(large.raw[:, ::2, ::2] * factor, small.raw, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(large.explained, small.explained, atol=1e-6)
    gap = explain("cam", fine, dense, 1).gap
    assert gap is not None
    assert gap.max() <= 1e-4


def test_noisy_copies_may_be_on_the_plain_grid() -> None:
    fine = Tail(mean_pool, mlp_head().eval(), pool_kind="mean", plain_stride_step=2)
    dense = make_activations()
    noisy = make_noisy(dense)
    whole = explain("smoothgradcampp", fine, dense, 0, noisy=noisy).raw
    plain = explain("smoothgradcampp", fine, dense, 0, noisy=noisy[..., ::2, ::2]).raw
    np.testing.assert_allclose(plain, whole, rtol=1e-5, atol=1e-7)


def test_a_denser_grid_needs_a_mean_pool() -> None:
    with pytest.raises(ValueError, match="plain_stride_step=2"):
        Tail(CellPool(), mlp_head(), pool_kind="linear", plain_stride_step=2)
    with pytest.raises(ValueError, match="pool_kind='max'"):
        Tail(mean_pool, mlp_head(), pool_kind="max")


# --- refusals and identities ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "other"])
def test_cam_is_refused_behind_other_pools_than_a_mean(kind: str) -> None:
    with pytest.raises(CitycamError, match=r"explain.methods has cam, which has no exact map.*hirescam"):
        check_method("cam", kind)
    with pytest.raises(CitycamError, match="no exact map"):
        explain("cam", make_tail(kind), make_activations(), 0)
    check_method("gradcam", kind)
    check_method("cam", "mean")


def test_a_head_that_is_not_piecewise_linear_is_refused() -> None:
    head = nn.Sequential(nn.Linear(C, 4), nn.Tanh(), nn.Linear(4, K))
    with pytest.raises(CitycamError, match="Linear and ReLU layers, and this one has Tanh"):
        head_bias(head, torch.zeros(1, C))


def test_unknown_methods_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(CitycamError, match="no scorecam; known are cam"):
        explain("scorecam", make_tail(), make_activations(), 0)
    with pytest.raises(ValueError, match="3 targets for 5 pictures"):
        explain("gradcam", make_tail(), make_activations(), [0, 1, 2])
    with pytest.raises(ValueError, match=r"must be \(B, C, h, w\)"):
        explain("gradcam", make_tail(), make_activations()[0], 0)


def test_methods_with_the_same_map_are_named_in_one_sentence() -> None:
    sentence = identities(["cam", "gradcam", "smoothgradcampp", "hirescam"], "mean")
    assert sentence is not None
    assert "cam, gradcam and hirescam are the same map" in sentence
    assert identities(["cam", "smoothgradcampp"], "mean") is None
    assert identities(["gradcam", "hirescam"], "linear") is None
