"""Maps of an earlier stage: the activations and gradients of the whole network there, and where its cells look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from citycam.config import BackboneConfig, HeadConfig
from citycam.errors import CitycamError
from citycam.explain.evaluation import Evaluation
from citycam.explain.grid import stage_cells
from citycam.explain.maps import apply_method
from citycam.explain.methods import METHODS
from citycam.explain.stage import evaluate_stage
from citycam.explain.tail import Tail, eval_mode
from citycam.explain.targets import LogitTarget
from citycam.model.backbone import layout, make_backbone
from citycam.model.fold import folded
from citycam.model.head import make_head
from citycam.model.network import Network
from citycam.model.stage_grid import stage_grid

CONF = Path(__file__).parents[2] / "conf" / "backbone"
SIZE, COUNT, CLASS = 64, 2, 1
STAGES = [
    ("resnet18", 64, "layer2"),
    ("resnet18", 64, "stem"),
    ("mobilenetv2_100", 64, "blocks.3"),
    ("convnext_tiny", 64, "stages.1"),
    pytest.param("vgg16", 64, "features.14", marks=pytest.mark.slow),
    pytest.param("vit_small_patch16_224", 224, "blocks.5", marks=pytest.mark.slow),
    pytest.param("swin_tiny_patch4_window7_224", 224, "layers.1", marks=pytest.mark.slow),
]
ABLE = [name for name, its in METHODS.items() if its.any_stage]


def make_network(name: str, size: int) -> Network:
    values = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    backbone = make_backbone(BackboneConfig(**values), size, seed=0)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.0, generator=generator)
    return Network(backbone, make_head(HeadConfig(), backbone.num_features, 3, seed=0)).eval().requires_grad_(False)


def pictures(size: int) -> Tensor:
    return torch.randn(COUNT, 3, size, size, generator=torch.Generator().manual_seed(2))


def evaluated(network: Network, stage: str, size: int) -> Evaluation:
    grid = stage_grid(network.backbone.name, size, stage)
    module = network.backbone.net.get_submodule(grid.module)
    tail = Tail(network.backbone.pool, network.head, pool_kind=network.backbone.pool_kind)
    with eval_mode(network):
        return evaluate_stage(network, module, grid, pictures(size), [LogitTarget(CLASS)] * COUNT, tail)


@pytest.mark.parametrize(("name", "size", "stage"), STAGES)
def test_gradcam_of_a_stage_is_that_of_pytorch_grad_cam(name: str, size: int, stage: str) -> None:
    network = make_network(name, size)
    grid, ours = stage_grid(name, size, stage), evaluated(network, stage, size)
    assert ours.activations.shape[2:] == grid.cells == ours.gradients.shape[2:]
    layer = network.requires_grad_(True).backbone.net.get_submodule(grid.module)
    with GradCAM(model=network, target_layers=[layer], reshape_transform=grid.from_network) as library:
        wanted = library(pictures(size), [ClassifierOutputTarget(CLASS)] * COUNT)
    raw = apply_method("gradcam", ours).raw
    ours_scaled = scale_cam_image(scale_cam_image(np.maximum(raw, 0), (size, size)))  # the library scales twice
    np.testing.assert_allclose(ours_scaled, wanted, atol=1e-4)


def test_the_last_stage_is_what_the_tail_reads() -> None:
    network = make_network("resnet18", SIZE)
    ours = evaluated(network, "layer4", SIZE)
    with torch.no_grad():
        body = network.backbone.body(pictures(SIZE)).numpy()
    np.testing.assert_allclose(ours.activations, body, atol=1e-5)


def test_a_folded_body_has_the_maps_of_its_own() -> None:
    network = make_network("resnet18", SIZE)
    quick = Network(folded(network.backbone), network.head)
    for stage in ("stem", "layer1", "layer3"):
        plain, fast = evaluated(network, stage, SIZE), evaluated(quick, stage, SIZE)
        np.testing.assert_allclose(fast.activations, plain.activations, atol=1e-4)
        np.testing.assert_allclose(fast.gradients, plain.gradients, atol=1e-4)


@pytest.mark.parametrize("method", ABLE)
def test_every_able_method_has_a_map_of_any_stage_and_leaves_nothing(method: str) -> None:
    network = make_network("resnet18", SIZE)
    maps = apply_method(method, evaluated(network, "layer1", SIZE))
    assert maps.raw.shape == (COUNT, 16, 16)
    assert np.isfinite(maps.raw).all()
    assert not any(part._forward_hooks for part in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(("name", "size", "stage"), STAGES)
def test_a_cell_looks_where_the_energy_of_its_gradient_lies(name: str, size: int, stage: str) -> None:
    network, grid = make_network(name, size), stage_grid(name, size, stage)
    kept: list[Tensor] = []
    module: nn.Module = network.backbone.net.get_submodule(grid.module)
    handle = module.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    leaf = pictures(size).requires_grad_(True)
    network.backbone.body(leaf)
    handle.remove()
    cell = grid.cells[0] // 2
    values = grid.from_network(kept[0])[:, :, cell, cell]
    weights = torch.randn(values.shape, generator=torch.Generator().manual_seed(3))
    (gradient,) = torch.autograd.grad((values * weights).sum(), leaf)
    shares = gradient.square().sum(dim=(0, 1)).double().numpy()
    middles = np.arange(size) + 0.5
    down = float(shares.sum(axis=1) @ middles / shares.sum())
    assert down == pytest.approx(stage_cells(grid, size).rows[cell] * size, abs=max(1.5, 0.05 * size))


@pytest.mark.parametrize(
    ("stage", "words"),
    [("layer5", "did you mean layer4"), ("Layer1", "did you mean layer1"), ("fc", "known are last, layer1, layer2")],
)
def test_a_stage_that_is_not_there_is_refused_with_those_that_are(stage: str, words: str) -> None:
    with pytest.raises(CitycamError, match=f"explain.layer={stage} is no stage of resnet18; {words}"):
        stage_grid("resnet18", SIZE, stage)


def test_a_stage_without_cells_is_refused() -> None:
    with pytest.raises(CitycamError, match="gives no grid of cells"):
        stage_grid("vgg16", SIZE, layout("vgg16", SIZE).stages[-1])
