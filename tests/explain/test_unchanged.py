"""What map methods leave unchanged, what they share with pytorch-grad-cam, and formulas of one's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM, GradCAMElementWise, HiResCAM, LayerCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from torch import Tensor, nn

from citycam.explain.evaluation import Evaluation, evaluate
from citycam.explain.maps import explain
from citycam.explain.methods import METHODS, Method
from citycam.explain.tail import Tail
from citycam.explain.targets import LogitTarget
from tests.explain.tails import (
    ALL,
    B,
    CellPool,
    Maps,
    gradient_of,
    make_activations,
    make_noisy,
    make_tail,
    mlp_head,
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


# --- the network is left unchanged ----------------------------------------------------------------------------------


def snapshot(tail: Tail) -> object:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return (
        [part.training for part in tail.modules()],
        [len(getattr(part, hook)) for part in tail.modules() for hook in hooks],
        [(p.requires_grad, p.grad is None, None if p.grad is None else p.grad.sum().item()) for p in tail.parameters()],
        torch.random.get_rng_state().sum().item(),
        np.random.get_state()[2],
        torch.is_grad_enabled(),
    )


@pytest.fixture
def mixed() -> Tail:
    """A tail during training: parts in both modes, a frozen layer, a gradient not yet used."""
    tail = make_tail("linear")
    tail.train()
    tail.head[3].eval()
    tail.head[0].weight.requires_grad_(False)
    tail.head[3].bias.grad = torch.full_like(tail.head[3].bias, 7.0)
    return tail


@pytest.mark.parametrize("method", [name for name in ALL if name != "cam"])
def test_the_network_is_unchanged(method: str, mixed: Tail) -> None:
    activations = make_activations()
    before = snapshot(mixed)
    explain(method, mixed, activations, 0, noisy=make_noisy(activations))
    assert snapshot(mixed) == before
    assert not activations.requires_grad


@pytest.mark.parametrize("method", ["gradcam", "smoothgradcampp"])
def test_the_network_is_unchanged_when_a_target_raises(method: str, mixed: Tail) -> None:
    def broken(_: Tensor) -> Tensor:
        raise IndexError("no such class")

    broken.words = ""  # type: ignore[attr-defined]
    activations = make_activations()
    before = snapshot(mixed)
    with pytest.raises(IndexError, match="no such class"):
        explain(method, mixed, activations, [0, 0, 0, broken, 0], noisy=make_noisy(activations))
    assert snapshot(mixed) == before


def test_training_mode_does_not_change_maps(mixed: Tail) -> None:
    activations = make_activations()
    busy = explain("hirescam", mixed, activations, 0).raw
    np.testing.assert_array_equal(busy, explain("hirescam", mixed.eval(), activations, 0).raw)


def test_the_module_that_a_pool_belongs_to_is_in_eval_mode_meanwhile() -> None:
    class Parent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = CellPool()

        def pool(self, activations: Tensor) -> Tensor:
            pooled: Tensor = self.cells(activations)
            return pooled

    parent = Parent().train()
    tail = Tail(parent.pool, mlp_head(), pool_kind="linear")
    first, second = (explain("gradcam", tail, make_activations(), 0).raw for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert parent.cells.drop.training


@pytest.mark.parametrize("method", ALL)
def test_frozen_networks_and_disabled_gradients_give_the_same_maps(method: str) -> None:
    tail, activations = make_tail(), make_activations()
    noisy = make_noisy(activations)
    expected = explain(method, tail, activations, 0, noisy=noisy).raw
    tail.requires_grad_(False)
    with torch.no_grad():
        np.testing.assert_array_equal(explain(method, tail, activations, 0, noisy=noisy).raw, expected)
    with torch.inference_mode():
        inside, copies = activations.clone(), noisy.clone()
        np.testing.assert_array_equal(explain(method, tail, inside, 0, noisy=copies).raw, expected)
    np.testing.assert_array_equal(explain(method, tail, inside, 0, noisy=copies).raw, expected)
    assert not any(p.requires_grad for p in tail.parameters())


def test_autocast_does_not_change_maps() -> None:
    tail, activations = make_tail(), make_activations()
    expected = explain("cam", tail, activations, 0).raw
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(explain("cam", tail, activations, 0).raw, expected)


def test_half_precision_activations_are_accepted() -> None:
    tail, activations = make_tail(), make_activations().bfloat16()
    expected = explain("cam", tail, activations.float(), 0).raw
    np.testing.assert_array_equal(explain("cam", tail, activations, 0).raw, expected)


LIBRARY = {"gradcam": GradCAM, "hirescam": HiResCAM, "layercam": LayerCAM, "elementwise": GradCAMElementWise}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("pool_kind", ["mean", "linear"])
@pytest.mark.parametrize("method", LIBRARY)
def test_library_classes_run_unchanged_on_the_tail(method: str, pool_kind: str) -> None:
    tail, activations = make_tail(pool_kind), make_activations()
    with LIBRARY[method](tail, [tail.entrance]) as theirs:
        scaled = theirs(activations.clone().requires_grad_(True), [LogitTarget(0)] * B)
    ours = np.maximum(explain(method, tail, activations, 0).raw, 0)
    np.testing.assert_allclose(scaled, scale_cam_image(scale_cam_image(ours)), atol=1e-5)


@pytest.mark.parametrize("pool_kind", ["mean", "linear"])
@pytest.mark.parametrize("method", LIBRARY)
def test_raw_maps_are_those_inside_the_library(method: str, pool_kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it takes the ReLU and scales, the library has the same signed map."""
    kept: list[Maps] = []
    formula = LIBRARY[method].get_cam_image

    def keep(*arguments: object) -> Maps:
        kept.append(formula(*arguments))
        return kept[-1]

    tail, activations = make_tail(pool_kind), make_activations()
    ours = explain(method, tail, activations, 0).raw
    monkeypatch.setattr(LIBRARY[method], "get_cam_image", keep)
    with LIBRARY[method](tail, [tail.entrance]) as theirs:
        theirs(activations.clone().requires_grad_(True), [LogitTarget(0)] * B)
    np.testing.assert_allclose(ours, kept[0], rtol=1e-4, atol=1e-6)


def test_no_object_of_the_library_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object would hook the tail, and swallow an IndexError at the end of its ``with``."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an object of pytorch-grad-cam")

    monkeypatch.setattr(BaseCAM, "__init__", refuse)
    tail, activations = make_tail(), make_activations()
    before = snapshot(tail)
    for method in ALL:
        explain(method, tail, activations, 0, noisy=make_noisy(activations))
    assert snapshot(tail) == before


def test_a_formula_may_return_weights_or_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(evaluation: Evaluation) -> Maps:
        return np.ones(evaluation.activations.shape[:2])

    def maps(evaluation: Evaluation) -> Maps:
        return evaluation.activations.sum(axis=1)

    activations = make_activations()
    for name, formula in (("weights", weights), ("maps", maps)):
        monkeypatch.setitem(METHODS, name, Method(name, name, formula))
        raw = explain(name, make_tail(), activations, 0).raw
        assert raw.dtype == np.float32
        np.testing.assert_allclose(raw, activations.numpy().sum(axis=1), rtol=1e-5)


def test_a_formula_runs_on_its_own() -> None:
    tail, activations = make_tail("linear"), make_activations()
    evaluation = evaluate(tail, activations, [LogitTarget(1)] * B)
    raw = METHODS["hirescam"].formula(evaluation)
    np.testing.assert_array_equal(raw, explain("hirescam", tail, activations, 1).raw)
    np.testing.assert_allclose(raw, (gradient_of(tail, activations, 1) * activations.numpy()).sum(axis=1), atol=1e-6)


def test_a_head_of_zeros_gives_maps_of_zeros() -> None:
    tail = make_tail()
    with torch.no_grad():
        for parameter in tail.head.parameters():
            parameter.zero_()
    activations = make_activations()
    for method in ALL:
        raw = explain(method, tail, activations, 0, noisy=make_noisy(activations)).raw
        np.testing.assert_array_equal(raw, np.zeros_like(raw))
