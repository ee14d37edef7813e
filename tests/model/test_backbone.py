"""Every backbone option agrees with timm, and its body and pool do what the rest of citycam relies on."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from citycam.config import BackboneConfig
from citycam.errors import CitycamError
from citycam.model import backbone as networks
from citycam.model.backbone import Backbone, check_backbone, grid, make_backbone, strides
from citycam.model.stages import stage_units

CONF = Path(__file__).parents[2] / "conf" / "backbone"
OPTIONS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "timm")
SIZE = 64
# The kind of every option's pool, "mean" if it is not named here.
KINDS = {"convnext_tiny": "other", "vgg16": "linear"}


def option(name: str) -> BackboneConfig:
    """Return the settings in an option's YAML."""
    return BackboneConfig(**OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml")))  # type: ignore[arg-type]


def shaken(backbone: Backbone) -> Backbone:
    """Move norms away from their initial 1 and 0, which would hide errors (timm starts each block's last norm at 0)."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
        for name, buffer in backbone.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5, generator=generator)
    return backbone


def pictures(count: int = 2, size: int = SIZE) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module", params=OPTIONS)
def backbone(request: pytest.FixtureRequest) -> Iterator[Backbone]:
    made = shaken(make_backbone(option(request.param), SIZE, seed=0)).eval()
    yield made
    made.freeze("none")


@pytest.fixture
def resnet() -> Backbone:
    return shaken(make_backbone(option("resnet18"), SIZE, seed=0))


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_named_like_its_network(name: str) -> None:
    assert option(name).name == name


def test_pool_of_body_is_timms_own_forward(backbone: Backbone) -> None:
    x = pictures()
    config = timm.get_pretrained_cfg(backbone.name)
    size = {"img_size": SIZE} if config.fixed_input_size else {}
    reference = timm.create_model(backbone.name, num_classes=0, **size).eval()
    reference.load_state_dict(backbone.net.state_dict())
    with torch.no_grad():
        expected = reference.forward_features(x)[:, 1:].mean(1) if "vit" in backbone.name else reference(x)
        activations = backbone.body(x)
        features = backbone.pool(activations)
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(features, backbone(x))
    assert activations.shape[2:] == grid(option(backbone.name), SIZE, backbone.strides[0])
    assert features.shape == (2, backbone.num_features)
    assert backbone.mean == tuple(config.mean)


def test_the_kind_of_pool_is_the_one_that_the_option_tells_people(backbone: Backbone) -> None:
    kind = KINDS.get(backbone.name, "mean")
    assert backbone.pool_kind == backbone.find_pool_kind() == kind
    assert re.search(rf"Pool: {kind}\b", (CONF / f"{backbone.name}.yaml").read_text())


def test_the_kind_of_pool_is_found_once_per_network_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(networks, "_POOL_KINDS", {})
    monkeypatch.setattr(Backbone, "find_pool_kind", lambda self: (tried.append(self.image_size), "mean")[1])
    for size in (64, 96, 64):
        assert make_backbone(option("resnet18"), size, seed=0).pool_kind == "mean"
    assert tried == [64, 96]


def test_cells_are_in_the_order_of_the_picture(backbone: Backbone) -> None:
    x = pictures(1)
    with torch.no_grad():
        raw, activations = backbone.net.forward_features(x), backbone.body(x)  # type: ignore[operator]
    rows, columns = backbone.layout.cells
    order = backbone.layout.order
    for row in range(rows):
        for column in range(columns):
            if order == "nchw":
                expected = raw[0, :, row, column]
            else:
                expected = raw[0, row, column] if order == "nhwc" else raw[0, 1 + row * columns + column]
            assert torch.equal(activations[0, :, row, column], expected)


def test_stages_hold_every_weight_once_in_forward_order(backbone: Backbone) -> None:
    units = stage_units(backbone.net)
    owners = [path for paths in units.values() for path in paths]
    assert len(set(owners)) == len(owners)
    for name, _ in backbone.net.named_parameters():
        held = sum(name.startswith(f"{path}.") for path in owners)
        assert held == 1 or ("." not in name and held == 0), name
    called: list[str] = []
    hooks = [
        backbone.net.get_submodule(path).register_forward_pre_hook(lambda *_, stage=stage: called.append(stage))
        for stage, paths in units.items()
        for path in paths
    ]
    with torch.no_grad():
        backbone(pictures(1))
    for hook in hooks:
        hook.remove()
    assert tuple(dict.fromkeys(called)) == backbone.stages


def test_a_frozen_backbone_does_not_change_in_training(backbone: Backbone) -> None:
    backbone.freeze("none")
    parent = nn.Sequential(backbone).train()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    assert backbone.frozen
    assert parent.training
    with torch.no_grad():
        in_training = parent(pictures())
        assert torch.equal(in_training, parent.eval()(pictures()))
    assert not any(module.training for module in backbone.net.modules())
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("which", [1, -1])
def test_finetuning_freezes_the_stages_before(backbone: Backbone, which: int) -> None:
    stage = backbone.stages[which]
    backbone.freeze(stage)
    backbone.train()
    position = backbone.stages.index(stage)
    units = stage_units(backbone.net)
    for number, name in enumerate(backbone.stages):
        for path in units[name]:
            module = backbone.net.get_submodule(path)
            assert all(parameter.requires_grad == (number >= position) for parameter in module.parameters()), path
            assert all(inner.training == (number >= position) for inner in module.modules()), path
    assert not any(parameter.requires_grad for parameter in backbone.net.parameters(recurse=False))
    assert not backbone.frozen
    backbone.freeze("none")
    backbone.eval()


def test_finetuning_changes_statistics_only_from_the_stage_on(resnet: Backbone) -> None:
    resnet.freeze("layer3")
    nn.Sequential(resnet).train()
    before = {name: tensor.clone() for name, tensor in resnet.net.named_buffers()}
    resnet(pictures(4))
    moved = {name.split(".")[0] for name, tensor in resnet.net.named_buffers() if not torch.equal(tensor, before[name])}
    assert moved == {"layer3", "layer4"}


def test_finetune_all_trains_everything(resnet: Backbone) -> None:
    resnet.freeze("none")
    resnet.freeze("all")
    resnet.train()
    assert all(parameter.requires_grad for parameter in resnet.parameters())
    assert all(module.training for module in resnet.modules())


def test_an_unknown_stage_is_refused_with_the_list(resnet: Backbone) -> None:
    with pytest.raises(CitycamError, match=r"layer5 is no stage of resnet18.*stem, layer1, layer2, layer3, layer4\."):
        resnet.freeze("layer5")


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_lists_its_own_stride_and_those_of_dilated_weights(name: str) -> None:
    assert strides(option(name), SIZE) == tuple(option(name).strides)
    dilated = "Exact at output strides 16 and 8" in (CONF / f"{name}.yaml").read_text()
    assert option(name).strides[1:] == ([16, 8] if dilated else [])


@pytest.mark.parametrize("size", [64, 80, 96])
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100"])
def test_dense_grid_is_exact_at_sizes(name: str, size: int) -> None:
    made = shaken(make_backbone(option(name), size, seed=0)).eval()
    check_dense(made, size)


def test_dense_grid_is_exact_or_refused(backbone: Backbone) -> None:
    if len(backbone.strides) > 1:
        check_dense(backbone, SIZE)
        return
    for stride in (8, 4):
        with pytest.raises(CitycamError, match=f"does not support output stride {stride}.*={backbone.strides[0]}"):
            backbone.dense_body(stride)
        with pytest.raises(CitycamError, match="does not support"):
            grid(option(backbone.name), SIZE, stride)


def check_dense(backbone: Backbone, size: int) -> None:
    x = pictures(2, size)
    with torch.no_grad():
        plain = backbone.body(x)
        for stride in backbone.strides:
            dense = backbone.dense_body(stride)(x)
            step = backbone.strides[0] // stride
            assert tuple(dense.shape[2:]) == grid(option(backbone.name), size, stride)
            difference = (dense[:, :, ::step, ::step] - plain).abs().max() / plain.abs().max()
            assert difference < 2e-5, (stride, difference)
    assert dense.shape[2] > plain.shape[2]


def test_a_listed_stride_that_is_not_exact_is_refused() -> None:
    config = BackboneConfig(name="regnety_008", strides=[32, 16])
    made = shaken(make_backbone(config, SIZE, seed=0))
    with pytest.raises(CitycamError, match="does not agree with itself at 32"):
        made.dense_body(16)


def test_a_listed_stride_that_timm_does_not_support_is_refused() -> None:
    config = BackboneConfig(name="vit_tiny_patch16_224", strides=[16, 8])
    with pytest.raises(CitycamError, match="output stride 8"):
        grid(config, SIZE, 8)
    with pytest.raises(CitycamError, match="output stride 8"):
        make_backbone(config, SIZE, seed=0).dense_body(8)


def test_dense_body_follows_later_weights_and_registers_nothing(resnet: Backbone) -> None:
    keys = list(resnet.state_dict())
    dense = resnet.dense_body(16)
    assert list(resnet.state_dict()) == keys
    assert len({tensor.data_ptr() for tensor in resnet.state_dict().values()}) == len(keys)
    other = make_backbone(option("resnet18"), SIZE, seed=5)
    resnet.load_state_dict(other.state_dict())
    resnet.double()
    resnet.eval()
    x = pictures().double()
    with torch.no_grad():
        assert torch.allclose(dense(x)[:, :, ::2, ::2], resnet.body(x), atol=1e-9)


def test_dense_body_does_not_change_a_training_network(resnet: Backbone) -> None:
    resnet.freeze("all")
    resnet.train()
    before = copy.deepcopy(resnet.state_dict())
    resnet.dense_body(8)(pictures())
    assert all(module.training for module in resnet.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in resnet.state_dict().items())


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = make_backbone(option("mobilenetv2_100"), SIZE, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(8)
    again = make_backbone(option("mobilenetv2_100"), SIZE, seed=3)
    other = make_backbone(option("mobilenetv2_100"), SIZE, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.net.conv_stem.weight, other.net.conv_stem.weight)


@pytest.mark.parametrize(
    ("name", "kind"), [("mobilenetv3_small_050", "other"), ("resnet10t", "mean"), ("test_vit", "mean")]
)
def test_the_kind_of_pool_is_found_without_an_option(name: str, kind: str) -> None:
    assert make_backbone(BackboneConfig(name=name), 160, seed=0).pool_kind == kind


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("resnet5O", 64, "did you mean resnet50"),
        ("resnet50.a1_in1", 64, "resnet50.a1_in1k"),
        ("hf-hub:timm/resnet50", 64, "is no network of timm"),
        ("qqqq", 64, r"timm\.list_models\(\) lists"),
        ("vit_small_patch16_224", 72, "use image_size=64"),
        ("deit_tiny_distilled_patch16_224", 64, "deit_tiny_distilled_patch16_224 .*another (backbone|network)"),
    ],
)
def test_unusable_names_and_sizes_are_refused_in_a_sentence(name: str, size: int, sentence: str) -> None:
    with pytest.raises(CitycamError, match=sentence):
        check_backbone(BackboneConfig(name=name), size)


def test_a_stage_is_checked_without_weights() -> None:
    with pytest.raises(CitycamError, match="is no stage of resnet50"):
        check_backbone(BackboneConfig(name="resnet50", finetune="blocks.2"), SIZE)


def test_a_name_may_have_a_tag_of_weights() -> None:
    published = networks.pretrained_config("resnet50.tv_in1k")
    assert published is not None
    assert published.hf_hub_id == "timm/resnet50.tv_in1k"
    check_backbone(BackboneConfig(name="resnet50.tv_in1k"), SIZE)
