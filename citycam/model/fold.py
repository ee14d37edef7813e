"""Faster frozen backbones: batch norms folded into the convolutions before them.

In eval mode a batch norm is a factor and a shift per channel, which the convolution before it can apply
(benchmarks/bank.py measures what that saves). The pairs come from one run of the network, and the result is verified.
"""

from __future__ import annotations

import contextlib
import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from citycam import seeds
from citycam.model.backbone import Backbone

# A right fold changes rounding only (4e-7 of the largest feature of a ResNet50), a wrong one the leading digits.
TOLERANCE = 1e-4


def folded(backbone: Backbone) -> Backbone:
    """Return a copy of a frozen backbone that computes the same features in fewer steps.

    Batch norms that do not follow a convolution of their own are kept. If the features differ from the original's, an
    exact copy is returned.
    """
    like = next(backbone.parameters())
    x = torch.rand((2, 3, backbone.image_size, backbone.image_size), generator=seeds.torch_stream("fold")) * 4 - 2
    x = x.to(like.device, like.dtype)
    # Weights that are created in inference mode could not be used outside it.
    with torch.inference_mode(False), torch.no_grad():
        copied = copy.deepcopy(backbone)
        for conv, norm in _pairs(copied, x):
            _fold(copied, conv, norm)
        expected, actual = backbone(x), copied(x)
        agrees = bool((actual - expected).abs().max() <= TOLERANCE * expected.abs().max())
        return copied if agrees else copy.deepcopy(backbone)


def _pairs(backbone: Backbone, x: Tensor) -> list[tuple[str, str]]:
    """Return the names of convolutions with the batch norm that alone has their output as its input."""
    outputs: list[tuple[str, Tensor]] = []  # kept alive, so that no two tensors have the same identity
    pairs: list[tuple[str, str]] = []

    def record_output(name: str, output: Tensor) -> None:
        outputs.append((name, output))

    def record_pair(name: str, norm_input: Tensor) -> None:
        pairs.extend((conv, name) for conv, output in outputs if output is norm_input)

    with contextlib.ExitStack() as hooks:
        for name, module in backbone.named_modules():
            if isinstance(module, nn.Conv2d):
                handle = module.register_forward_hook(lambda _m, _in, output, name=name: record_output(name, output))
            elif isinstance(module, nn.BatchNorm2d) and _can_fold(module):
                handle = module.register_forward_pre_hook(lambda _m, inputs, name=name: record_pair(name, inputs[0]))
            else:
                continue
            hooks.callback(handle.remove)
        backbone(x)
    convs, norms = [conv for conv, _ in pairs], [norm for _, norm in pairs]
    return [(conv, norm) for conv, norm in pairs if convs.count(conv) == norms.count(norm) == 1]


def _can_fold(norm: nn.BatchNorm2d) -> bool:
    # The activation of timm's BatchNormAct2d is kept. Other kinds may compute more than a batch norm.
    return norm.running_var is not None and (type(norm) is nn.BatchNorm2d or hasattr(norm, "act"))


def _fold(backbone: Backbone, conv: str, norm: str) -> None:
    before, after = backbone.get_submodule(conv), backbone.get_submodule(norm)
    assert isinstance(before, nn.Conv2d)
    assert isinstance(after, nn.BatchNorm2d)
    backbone.set_submodule(conv, fuse_conv_bn_eval(before, after))
    backbone.set_submodule(norm, getattr(after, "act", nn.Identity()))
