"""A frozen backbone made faster for looking only: batch norm folded into the convolution before it.

In eval mode a batch norm is a factor and a shift per channel, which the convolution before it can do on the way
(benchmarks/bank.py measures what that saves). Found by running the network once, and verified against it.
"""

from __future__ import annotations

import contextlib
import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from citycam import seeds
from citycam.model.backbone import Backbone

# Folding changes the order of roundings only (4e-7 of the largest feature of a ResNet50); a wrong fold changes digits.
TOLERANCE = 1e-4


def folded(backbone: Backbone) -> Backbone:
    """A copy of a frozen backbone with the same features, that computes fewer steps.

    Batch norms that follow anything but a convolution of their own stay as they are; where the result does not agree
    with the original, an exact copy is returned.
    """
    like = next(backbone.parameters())
    x = torch.rand((2, 3, backbone.image_size, backbone.image_size), generator=seeds.torch_stream("fold")) * 4 - 2
    x = x.to(like.device, like.dtype)
    # Weights made in inference mode could not be used outside it.
    with torch.inference_mode(False), torch.no_grad():
        copied = copy.deepcopy(backbone)
        for conv, norm in _pairs(copied, x):
            _fold(copied, conv, norm)
        wanted, found = backbone(x), copied(x)
        agrees = bool((found - wanted).abs().max() <= TOLERANCE * wanted.abs().max())
        return copied if agrees else copy.deepcopy(backbone)


def _pairs(backbone: Backbone, x: Tensor) -> list[tuple[str, str]]:
    """Names of convolutions and of the batch norms that read their very output."""
    outputs: list[tuple[str, Tensor]] = []  # kept alive, so that identity means the same tensor
    pairs: list[tuple[str, str]] = []

    def ran(name: str, output: Tensor) -> None:
        outputs.append((name, output))

    def runs(name: str, given: Tensor) -> None:
        pairs.extend((conv, name) for conv, output in outputs if output is given)

    with contextlib.ExitStack() as hooks:
        for name, module in backbone.named_modules():
            if isinstance(module, nn.Conv2d):
                handle = module.register_forward_hook(lambda _m, _in, output, name=name: ran(name, output))
            elif isinstance(module, nn.BatchNorm2d) and _can_fold(module):
                handle = module.register_forward_pre_hook(lambda _m, given, name=name: runs(name, given[0]))
            else:
                continue
            hooks.callback(handle.remove)
        backbone(x)
    convs, norms = [conv for conv, _ in pairs], [norm for _, norm in pairs]
    return [(conv, norm) for conv, norm in pairs if convs.count(conv) == norms.count(norm) == 1]


def _can_fold(norm: nn.BatchNorm2d) -> bool:
    # timm's BatchNormAct2d holds an activation, which stays; other kinds may do more than their statistics say.
    return norm.running_var is not None and (type(norm) is nn.BatchNorm2d or hasattr(norm, "act"))


def _fold(backbone: Backbone, conv: str, norm: str) -> None:
    before, after = backbone.get_submodule(conv), backbone.get_submodule(norm)
    assert isinstance(before, nn.Conv2d)
    assert isinstance(after, nn.BatchNorm2d)
    backbone.set_submodule(conv, fuse_conv_bn_eval(before, after))
    backbone.set_submodule(norm, getattr(after, "act", nn.Identity()))
