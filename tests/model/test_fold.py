"""A folded backbone computes the same features in fewer steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from citycam.config import BackboneConfig
from citycam.model import fold
from citycam.model.backbone import Backbone, make_backbone

# Plain batch norms, batch norms with an activation inside, ones that precede convolutions, and none at all.
NETWORKS = {"resnet18": 0, "resnet18d": 0, "mobilenetv2_035": 0, "regnety_002": 0, "resnetv2_18": None, "test_vit": 0}


def frozen(name: str, size: int = 64) -> Backbone:
    """Return a frozen network whose batch norms have an effect."""
    backbone = make_backbone(BackboneConfig(name=name), size, 0)
    generator = torch.Generator().manual_seed(0)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 1.5),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.2, 0.2),
            ):
                values.copy_(torch.rand(values.shape, generator=generator) * (high - low) + low)
    backbone.freeze("none")
    return backbone.eval()


def norms(backbone: Backbone) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_folding_keeps_features_and_removes_batch_norms(name: str) -> None:
    backbone = frozen(name, 160 if "vit" in name else 64)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    lighter = fold.folded(backbone)
    pictures = torch.randn(3, 3, backbone.image_size, backbone.image_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, actual = backbone(pictures), lighter(pictures)
    assert (actual - expected).abs().max() <= 3e-5 * expected.abs().max()
    left = NETWORKS[name]
    assert norms(lighter) == left if left is not None else 0 < norms(lighter) < norms(backbone)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in lighter.modules())


def test_a_fold_that_changes_features_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = frozen("resnet18")
    monkeypatch.setattr(fold, "fuse_conv_bn_eval", lambda conv, _norm: conv)
    assert norms(fold.folded(backbone)) == norms(backbone)


def test_a_backbone_folded_in_inference_mode_can_be_used_outside() -> None:
    backbone = frozen("resnet18")
    with torch.inference_mode():
        lighter = fold.folded(backbone)
    pictures = torch.randn(1, 3, 64, 64, requires_grad=True)
    lighter(pictures).sum().backward()
    assert pictures.grad is not None
