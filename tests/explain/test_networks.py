"""On real networks, tail and body are the whole network, and a denser grid keeps its logits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor, nn

from citycam.config import BackboneConfig, HeadConfig
from citycam.errors import CitycamError
from citycam.explain.evaluation import evaluate
from citycam.explain.maps import explain
from citycam.explain.methods import METHODS, identities
from citycam.explain.tail import Tail
from citycam.explain.targets import LogitTarget
from citycam.model.backbone import Backbone, make_backbone
from citycam.model.head import make_head

CONF = Path(__file__).parents[2] / "conf" / "backbone"
SIZE, COUNT, CLASS = 64, 3, 1
LAST = {"resnet18": "layer4", "mobilenetv2_100": "bn2", "convnext_tiny": "stages"}
Network = tuple[Backbone, nn.Module, Tensor]


def make_network(name: str) -> Network:
    config = BackboneConfig(**OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml")))  # type: ignore[arg-type]
    backbone = make_backbone(config, SIZE, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        # New norms have weights of 1 and 0, which would hide mistakes.
        for parameter in backbone.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.0, generator=generator)
    head = make_head(HeadConfig(), backbone.num_features, 3, seed=0)
    pictures = torch.randn(COUNT, 3, SIZE, SIZE, generator=generator)
    return backbone.eval(), head.eval(), pictures


@pytest.fixture(scope="module", params=LAST)
def network(request: pytest.FixtureRequest) -> Network:
    return make_network(request.param)


@pytest.fixture(scope="module")
def resnet() -> Network:
    return make_network("resnet18")


def run_whole(network: Network, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Activations of the last layer and logits, from a hook on timm's own network."""
    backbone, head, _ = network
    kept: list[Tensor] = []
    layer = backbone.net.get_submodule(LAST[backbone.name])
    hook = layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    logits = head(backbone.net(pictures.requires_grad_(True)))
    hook.remove()
    return kept[0], logits


def whole(
    network: Network, pictures: Tensor, index: int = CLASS
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Activations of the last layer, gradients there and logits, of the whole network."""
    activations, logits = run_whole(network, pictures)
    (gradients,) = torch.autograd.grad(logits[:, index].sum(), activations)
    return activations.detach().numpy(), gradients.numpy(), logits.detach().numpy()


def curved(network: Network, pictures: Tensor) -> NDArray[np.float32]:
    """g - H A / 2 of the whole network."""
    activations, logits = run_whole(network, pictures)
    (first,) = torch.autograd.grad(logits[:, CLASS].sum(), activations, create_graph=True)
    second = None
    if first.requires_grad:
        (second,) = torch.autograd.grad(first, activations, activations.detach(), allow_unused=True)
    weights = first if second is None else first - second / 2
    return weights.detach().numpy()


def noisy_pictures(pictures: Tensor) -> Tensor:
    noise = torch.randn(2, *pictures.shape, generator=torch.Generator().manual_seed(4))
    return pictures.detach() + 0.3 * noise


@pytest.mark.parametrize("method", list(METHODS))
def test_tail_is_the_whole_network(method: str, network: Network) -> None:
    backbone, head, pictures = network
    tail = Tail(backbone.pool, head, pool_kind=backbone.pool_kind)
    if method == "cam" and backbone.pool_kind != "mean":
        with pytest.raises(CitycamError, match="no exact map"):
            explain(method, tail, backbone.body(pictures), CLASS)
        return
    copies = noisy_pictures(pictures)
    with torch.no_grad():
        activations = backbone.body(pictures)
        noisy = torch.stack([backbone.body(copy) for copy in copies])
    maps = explain(method, tail, activations, CLASS, noisy=noisy)
    evaluation = evaluate(tail, activations, [LogitTarget(CLASS)] * COUNT)
    A, g, logits = whole(network, pictures)
    np.testing.assert_allclose(evaluation.logits, logits, atol=1e-4)
    if method == "cam":
        expected = (g.sum(axis=(2, 3), keepdims=True) * A).sum(axis=1)
    elif method == "smoothgradcampp":
        each = np.stack([whole(network, copy.clone())[1] for copy in copies]).astype(np.float64)
        first, second, third = (np.mean(each**power, axis=0) for power in (1, 2, 3))
        below = 2 * second + A.sum(axis=(2, 3), keepdims=True) * third
        alpha = np.divide(second, below, out=np.zeros_like(second), where=second > 0)
        expected = ((alpha * np.maximum(first, 0)).sum(axis=(2, 3), keepdims=True) * A).sum(axis=1)
    elif method == "finercam":
        others = [whole(network, pictures, other)[1] for other in range(logits.shape[1]) if other != CLASS]
        contrast = g - 0.6 * np.mean(others, axis=0)
        expected = (contrast.mean(axis=(2, 3), keepdims=True) * A).sum(axis=1)
    elif method == "shapleycam":
        expected = (curved(network, pictures).mean(axis=(2, 3), keepdims=True) * A).sum(axis=1)
    else:
        expected = METHODS[method].formula(dataclasses.replace(evaluation, activations=A, gradients=g))
        if expected.ndim == 2:
            expected = (expected[:, :, None, None] * A).sum(axis=1)
    np.testing.assert_allclose(maps.raw, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("stride", [16, 8])
def test_a_denser_grid_keeps_logits_and_contains_the_plain_map(stride: int, resnet: Network) -> None:
    backbone, head, pictures = resnet
    step = 32 // stride
    plain = Tail(backbone.pool, head, pool_kind="mean")
    fine = Tail(backbone.pool, head, pool_kind="mean", plain_stride_step=step)
    with torch.no_grad():
        coarse, dense = backbone.body(pictures), backbone.dense_body(stride)(pictures)
    assert dense.shape[-2:] == (SIZE // stride, SIZE // stride)
    small, large = explain("cam", plain, coarse, CLASS), explain("cam", fine, dense, CLASS)
    np.testing.assert_allclose(fine(dense).detach(), plain(coarse).detach(), atol=2e-5)
    np.testing.assert_allclose(large.explained, small.explained, atol=2e-5)
    np.testing.assert_allclose(large.raw[:, ::step, ::step], small.raw, atol=1e-4 * np.abs(small.raw).max())
    assert large.gap is not None
    assert large.gap.max() <= 1e-4
    gradcam = explain("gradcam", fine, dense, CLASS).raw * dense[0, 0].numel()
    np.testing.assert_allclose(gradcam, large.raw, atol=1e-5 * np.abs(large.raw).max())


def test_the_methods_named_are_those_whose_maps_are_the_same(resnet: Network) -> None:
    backbone, head, pictures = resnet
    tail = Tail(backbone.pool, head, pool_kind="mean")
    activations = backbone.body(pictures).detach()
    cam = explain("cam", tail, activations, CLASS).raw
    noisy = backbone.body(noisy_pictures(pictures).flatten(0, 1)).detach().unflatten(0, (2, COUNT))
    same = []
    for method in METHODS:
        raw = explain(method, tail, activations, CLASS, noisy=noisy).raw
        if np.allclose(raw / np.abs(raw).max(), cam / np.abs(cam).max(), atol=1e-5):
            same.append(method)
    sentence = identities(list(METHODS), "mean")
    assert sentence is not None
    assert f"{', '.join(same[:-1])} and {same[-1]} are the same map" in sentence


def test_a_network_in_training_is_unchanged(resnet: Network) -> None:
    backbone, head, pictures = resnet
    backbone.freeze("layer3")
    backbone.train()
    activations = backbone.body(pictures).detach()
    tail = Tail(backbone.pool, head, pool_kind=backbone.pool_kind)
    before = [(part.training, len(part._forward_hooks)) for part in backbone.modules()]
    statistics = [buffer.clone() for buffer in backbone.buffers()]
    explain("gradcam", tail, activations, CLASS)
    assert [(part.training, len(part._forward_hooks)) for part in backbone.modules()] == before
    assert all(torch.equal(now, then) for now, then in zip(backbone.buffers(), statistics, strict=True))
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert any(training for training, _ in before)
    backbone.freeze("none")
    backbone.eval()
