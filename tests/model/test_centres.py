"""The centre of a cell, worked out from the layers, is where the energy of its input gradient lies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from citycam.config import BackboneConfig
from citycam.model.backbone import Backbone, layout, make_backbone
from tests.model.test_backbone import OPTIONS, option, shaken

PICTURES = 12
# Centres of the first cells, in pixels, by hand: symmetric padding reads around pixel i * stride, patches, merged cells
# and unpadded pools of two around their middles; TensorFlow's padding is on the right, and so is what it reads.
FIRST = dict.fromkeys(OPTIONS, 0.5)
FIRST |= {"vgg16": 16.0, "convnext_tiny": 16.0, "swin_tiny_patch4_window7_224": 16.0, "vit_small_patch16_224": 8.0}
OTHERS = {"tf_efficientnet_lite0": 31.5, "densenet121": 14.5, "resnetblur18": 0.5, "hrnet_w18_small": 0.5}
# Sizes at which the borders cut off as much on either side of the middle cell; 65 where it is not said.
SIZES = {"vgg16": 96, "convnext_tiny": 96, "swin_tiny_patch4_window7_224": 224, "vit_small_patch16_224": 48}
# Gates that average over the whole grid let every pixel count in every cell.
GATED = ("efficientnet_b0", "regnety_008")
LARGE = ("resnet50", "resnet101", "vgg16", "swin_tiny_patch4_window7_224")
MEASURED = [
    pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in (*OPTIONS, "resnetblur18")
]


def centre(name: str, size: int, stride: int | None = None) -> float:
    first = layout(name, size, stride).centre
    assert first is not None
    return first


@pytest.mark.parametrize("name", [*FIRST, *OTHERS])
def test_the_first_cell_looks_where_the_layers_say(name: str) -> None:
    assert centre(name, 224) == (FIRST | OTHERS)[name]
    if name in OPTIONS:
        for stride in option(name).strides[1:]:
            assert centre(name, 64, stride) == 0.5


def energy(backbone: Backbone, size: int, cell: int) -> tuple[float, float]:
    """Centroid (down, across) in pixels of the input gradient's energy of a cell on the diagonal, over random pictures
    and random sums of channels."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(PICTURES, 3, size, size, generator=generator).requires_grad_(True)
    activations = backbone.body(x)
    weights = torch.randn(activations.shape[:2], generator=generator)
    (gradient,) = torch.autograd.grad((activations[:, :, cell, cell] * weights).sum(), x)
    shares = gradient.square().sum(1).mean(0).double().numpy()
    middles = np.arange(size) + 0.5
    return float(shares.sum(1) @ middles / shares.sum()), float(shares.sum(0) @ middles / shares.sum())


@pytest.mark.parametrize("name", MEASURED)
def test_the_energy_of_the_input_gradient_lies_around_the_centre(name: str) -> None:
    size = SIZES.get(name, 65)
    its = layout(name, size)
    cell = its.cells[0] // 2
    middle = centre(name, size) + cell * its.stride
    assert middle == size / 2
    backbone = shaken(make_backbone(option(name) if name in OPTIONS else BackboneConfig(name=name), size, seed=0))
    backbone.eval().requires_grad_(False)
    down, across = energy(backbone, size, cell)
    assert max(abs(down - middle), abs(across - middle)) < (2.0 if name in GATED else 1.0)
