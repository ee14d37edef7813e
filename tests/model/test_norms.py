"""Batch norms of a model that several devices train."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from citycam.config import BackboneConfig
from citycam.model.backbone import make_backbone, synchronise_norms
from citycam.model.norms import needs_two_pictures, trained_norms
from tests.conftest import TINY


@pytest.mark.parametrize(("finetune", "trained"), [("none", 0), ("blocks.5", 13), ("all", 52)])
def test_the_norms_of_stages_that_train_are_trained(finetune: str, trained: int) -> None:
    backbone = make_backbone(BackboneConfig(name=TINY, strides=[32], finetune=finetune), 64, 0)
    norms = trained_norms(backbone)
    assert len(norms) == trained
    assert all(norm in backbone.train().net.modules() and norm.training for norm in norms)


@pytest.mark.parametrize("name", [TINY, "resnet10t"])
def test_synchronised_norms_do_not_change_the_network(name: str) -> None:
    backbone = make_backbone(BackboneConfig(name=name, strides=[32], finetune="all"), 64, 0).eval()
    pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    kept, names = backbone(pictures), list(backbone.state_dict())
    count = len(trained_norms(backbone))
    synchronise_norms(backbone)
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in backbone.modules()) == count > 0
    assert torch.equal(backbone(pictures), kept)
    assert list(backbone.state_dict()) == names


@pytest.mark.parametrize(
    ("name", "image_size", "finetune", "needed"),
    [
        (TINY, 32, "all", True),  # one cell
        (TINY, 32, "blocks.5", True),
        (TINY, 64, "all", False),
        ("mobilenetv4_conv_small_035", 64, "all", True),  # a norm behind the pool
        ("convnext_atto", 32, "all", False),  # no batch norm
    ],
)
def test_which_networks_need_two_pictures_is_what_training_on_one_says(
    name: str, image_size: int, finetune: str, needed: bool
) -> None:
    backbone = make_backbone(BackboneConfig(name=name, strides=[32], finetune=finetune), image_size, 0).train()
    assert needs_two_pictures(name, image_size, finetune) is needed
    backbone(torch.zeros(2, 3, image_size, image_size))
    with pytest.raises(ValueError, match="more than 1 value") if needed else contextlib.nullcontext():
        backbone(torch.zeros(1, 3, image_size, image_size))
