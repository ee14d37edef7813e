"""Batch norms of a model that several devices train."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from citycam.config import BackboneConfig
from citycam.model.backbone import make_backbone, synchronise_norms
from citycam.model.norms import trained_norms
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
