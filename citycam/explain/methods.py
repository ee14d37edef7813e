"""Methods that make maps: a formula for each, registered by name. The only file that knows pytorch_grad_cam.

A formula reads an `Evaluation` and returns raw maps (B, h, w), or channel weights (B, C) whose map is the sum over
channels of weight * activation. It runs in one frame, `citycam.explain.maps.explain`, which evaluates the tail and
converts the results. Where a formula of pytorch-grad-cam equals its paper, the library's own is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pytorch_grad_cam import GradCAM, GradCAMElementWise, HiResCAM, LayerCAM
from pytorch_grad_cam.base_cam import BaseCAM
from torch import Tensor

from citycam.errors import CitycamError
from citycam.explain.evaluation import Array, Evaluation, differentiate, noisy_gradients, to_numpy
from citycam.explain.tail import head_bias
from citycam.explain.targets import target_values
from citycam.explain_config import LAST

Formula = Callable[[Evaluation], Array]


@dataclass(frozen=True, slots=True)
class Method:
    """The name and formula of a method that makes maps.

    Attributes:
        name: as a user types it.
        title: as captions print it.
        formula: from an evaluation to raw maps (B, h, w) or to channel weights (B, C).
        needs_noise: whether the formula reads noisy copies of the pictures.
        equals_cam: whether the map behind a mean pool is that of CAM up to a positive factor.
        any_stage: whether the formula reads activations and their gradients alone, so that it holds for any stage.
        bias: from an evaluation to numbers (B,), for a method that promises mean over cells of the map + bias = the
            number explained. Only a mean pool allows that; the method is refused behind other pools.
    """

    name: str
    title: str
    formula: Formula
    needs_noise: bool = False
    equals_cam: bool = False
    any_stage: bool = False
    bias: Formula | None = None


METHODS: dict[str, Method] = {}


def method(
    name: str,
    title: str,
    *,
    needs_noise: bool = False,
    equals_cam: bool = False,
    any_stage: bool = False,
    bias: Formula | None = None,
) -> Callable[[Formula], Formula]:
    """Register a formula as a method; the arguments are the attributes of `Method`."""

    def register(formula: Formula) -> Formula:
        METHODS[name] = Method(name, title, formula, needs_noise, equals_cam, any_stage, bias)
        return formula

    return register


def check_method(name: str, pool_kind: str) -> None:
    """Refuse an unknown method, and a method with a bias unless the pool is a mean.

    Raises:
        CitycamError: the method is refused.
    """
    if name not in METHODS:
        raise CitycamError(f"explain.methods has no {name}; known are {', '.join(METHODS)}.")
    if METHODS[name].bias is None or pool_kind == "mean":
        return
    if pool_kind == "linear":
        reason = "fully connected layers follow its feature map, so no weight belongs to a channel"
    else:
        reason = "what follows its feature map is not a plain mean over cells"
    raise CitycamError(
        f"explain.methods has {name}, which has no exact map for this backbone: {reason}; "
        f"remove {name}, or replace it by hirescam."
    )


def check_stage(names: Sequence[str], layer: str) -> None:
    """Refuse methods that read more than activations and gradients, where those are of an earlier stage.

    Raises:
        CitycamError: a method is refused.
    """
    for name in names:
        if name in METHODS and not METHODS[name].any_stage and layer != LAST:
            able = ", ".join(other for other, its in METHODS.items() if its.any_stage)
            raise CitycamError(
                f"explain.methods has {name}, which reads the last layer only, and explain.layer={layer}; take some of "
                f"{able}."
            )


def identities(names: Sequence[str], pool_kind: str) -> str | None:
    """Return a sentence that names the methods whose maps are the same, or None where all maps differ.

    Behind a mean pool the gradient is the same at every cell, so the weights of Grad-CAM, HiResCAM, XGrad-CAM and
    (behind a piecewise-linear head) ShapleyCAM are those of CAM up to one positive factor, the number of cells.
    """
    same = [name for name in names if name in METHODS and METHODS[name].equals_cam]
    if pool_kind != "mean" or len(same) < 2:
        return None
    return (
        f"This backbone pools by a mean, so {', '.join(same[:-1])} and {same[-1]} are the same map up to a positive "
        "factor: any one of them is enough."
    )


def _library(cam_class: type[BaseCAM], batch: Evaluation) -> Array:
    """Maps or channel weights by the formula of a class of pytorch-grad-cam."""
    # An instance would hook the tail, leave it in eval mode, swallow an IndexError and scale its maps twice. The
    # formulas read nothing but their arguments, so they are called without an instance.
    arguments = (None, batch.leaf, batch.tail.entrance, batch.targets, batch.activations, batch.gradients)
    if cam_class.get_cam_image is BaseCAM.get_cam_image:
        weights: Array = cam_class.get_cam_weights(*arguments)
        return weights
    maps: Array = cam_class.get_cam_image(*arguments, eigen_smooth=False)
    return maps


# --- formulas, in the order of explain_config.METHODS ---------------------------------------------------------------


def cam_bias(batch: Evaluation) -> Array:
    """The part (B,) of the number explained that belongs to no cell: the constant term of the head."""
    bias = head_bias(batch.tail.head, batch.tail.features(batch.leaf).detach())
    return to_numpy(target_values(bias, batch.targets))


@method("cam", "CAM", equals_cam=True, bias=cam_bias)
def cam(batch: Evaluation) -> Array:
    """CAM (Zhou et al. 2016, eq. 2) with the exact effective weights of a piecewise-linear head.

    weight of a channel = d logit / d feature at this picture: for Linear-ReLU-Linear, W2 (active * W1).
    """
    _, _, weights = differentiate(batch.tail.head, batch.tail.features(batch.leaf), batch.targets)
    return to_numpy(weights)


@method("gradcam", "Grad-CAM", equals_cam=True, any_stage=True)
def gradcam(batch: Evaluation) -> Array:
    """Grad-CAM (Selvaraju et al. 2017, eq. 1 and 2): weight = mean over cells of the gradient."""
    return _library(GradCAM, batch)


@method("smoothgradcampp", "Smooth Grad-CAM++", needs_noise=True)
def smoothgradcampp(batch: Evaluation) -> Array:
    """Smooth Grad-CAM++ (Omeiza et al. 2019, section 3): the weights of Grad-CAM++ with g, g^2 and g^3 averaged over
    noisy copies of the picture, and the activations of the picture without noise."""
    noisy = noisy_gradients(batch)
    # Powers of small gradients leave the range of floats; only their ratios matter.
    scale = np.abs(noisy).max(axis=(0, 2, 3, 4), keepdims=True)[0]
    noisy = noisy / np.where(scale > 0, scale, 1)
    squares, cubes = (noisy**2).mean(axis=0), (noisy**3).mean(axis=0)
    ratio = np.divide(cubes, squares, out=np.zeros_like(cubes), where=squares > 0) * scale
    return _plus_plus(batch.activations, ratio, noisy.mean(axis=0) * scale)


@method("gradcampp", "Grad-CAM++", any_stage=True)
def gradcampp(batch: Evaluation) -> Array:
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 19 with exp(logit)): weight = sum over cells of alpha * ReLU(gradient),
    alpha = 1 / (2 + sum(activations) * gradient), at most 1.

    The paper's fraction is g^2 / (2 g^2 + sum(A) g^3). pytorch-grad-cam adds 1e-6 to its denominator, which outweighs
    small g^2 and makes the map depend on the scale of the logit.
    """
    return _plus_plus(batch.activations, batch.gradients, batch.gradients)


@method("hirescam", "HiResCAM", equals_cam=True, any_stage=True)
def hirescam(batch: Evaluation) -> Array:
    """HiResCAM (Draelos and Carin 2020): sum over channels of gradient * activation, cell by cell."""
    return _library(HiResCAM, batch)


@method("layercam", "LayerCAM", any_stage=True)
def layercam(batch: Evaluation) -> Array:
    """LayerCAM (Jiang et al. 2021, eq. 6): sum over channels of ReLU(gradient) * activation."""
    return _library(LayerCAM, batch)


@method("xgradcam", "XGrad-CAM", equals_cam=True, any_stage=True)
def xgradcam(batch: Evaluation) -> Array:
    """XGrad-CAM (Fu et al. 2020, eq. 8): weight = mean of the gradient, weighted by activation.

    pytorch-grad-cam adds 1e-7 to the sum of activations, which changes the weights of faint channels.
    """
    total = batch.activations.sum(axis=(2, 3))
    weighted = (batch.gradients * batch.activations).sum(axis=(2, 3))
    weights: Array = np.divide(weighted, total, out=np.zeros_like(total), where=total != 0)
    return weights


@method("elementwise", "element-wise Grad-CAM", any_stage=True)
def elementwise(batch: Evaluation) -> Array:
    """Element-wise Grad-CAM (of pytorch-grad-cam): sum over channels of ReLU(gradient * activation)."""
    return _library(GradCAMElementWise, batch)


@method("eigengradcam", "EigenGradCAM", any_stage=True)
def eigengradcam(batch: Evaluation) -> Array:
    """EigenGradCAM (of pytorch-grad-cam): first principal component over cells of gradient * activation.

    The sign of a component is arbitrary. Here it agrees with HiResCAM, the sum over channels of the same products;
    pytorch-grad-cam leaves it to chance.
    """
    shape = batch.activations.shape
    products = (batch.gradients * batch.activations).reshape(*shape[:2], -1).transpose(0, 2, 1)
    centred = products - products.mean(axis=1, keepdims=True)
    # A NaN would make the decomposition refuse the whole batch; only the map that has one becomes NaN.
    finite = np.isfinite(centred).all(axis=(1, 2))[:, None]
    centred = np.where(finite[..., None], centred, 0).astype(np.float64)
    # There are fewer cells than channels: the component over cells is an eigenvector of their small Gram matrix.
    values, vectors = np.linalg.eigh(centred @ centred.transpose(0, 2, 1))
    component = vectors[:, :, -1] * np.sqrt(np.maximum(values[:, -1:], 0))
    agreement = (component * centred.sum(axis=2)).sum(axis=1, keepdims=True)
    signed: Array = np.where(finite, np.where(agreement < 0, -component, component), np.nan)
    return signed.reshape(shape[0], *shape[2:])


@method("finercam", "Finer-CAM")
def finercam(batch: Evaluation) -> Array:
    """Finer-CAM (Zhang et al., CVPR 2025): Grad-CAM of y_c - 0.6 mean(y_d) over the three classes d whose logits are
    closest to that of c; Grad-CAM itself where there is one logit. A difference y_c - y_o becomes
    y_c - 0.6 mean(y_d) - y_o, where o is none of the d.

    pytorch-grad-cam contrasts classes only if it is given no targets, and differentiates the weights of the mean too.
    """
    logits = batch.tail(batch.leaf)
    contrasted = [_contrasted(row, target.named) for row, target in zip(logits, batch.targets, strict=True)]
    explained = target_values(torch.stack(contrasted), batch.targets)
    (gradients,) = torch.autograd.grad(explained.sum(), batch.leaf)
    return to_numpy(gradients.mean(dim=(2, 3)))


def _contrasted(logits: Tensor, named: Sequence[int]) -> Tensor:
    """Return logits (K,) with 0.6 of the mean of the three closest, of classes not ``named``, taken from the first that
    is named."""
    strength, count, index = 0.6, 3, named[0]
    order = (logits - logits[index]).abs().argsort(stable=True).tolist()
    near = [other for other in order if other not in named][:count]
    if not near:
        return logits
    change = torch.zeros_like(logits)
    change[index] = 1
    return logits - strength * logits[near].mean() * change


@method("shapleycam", "ShapleyCAM", equals_cam=True)
def shapleycam(batch: Evaluation) -> Array:
    """ShapleyCAM (arXiv 2501.06261): weight = mean over cells of g - 0.5 H A, with gradient g and Hessian H at the
    activations A. Behind piecewise-linear layers H is zero, and this is Grad-CAM."""
    explained = target_values(batch.tail(batch.leaf), batch.targets)
    (first,) = torch.autograd.grad(explained.sum(), batch.leaf, create_graph=True)
    second = None
    if first.requires_grad:
        (second,) = torch.autograd.grad(first, batch.leaf, batch.leaf.detach(), allow_unused=True)
    weights = first if second is None else first - 0.5 * second
    return to_numpy(weights.mean(dim=(2, 3)))


def _plus_plus(activations: Array, ratio: Array, gradients: Array) -> Array:
    """Weights of Grad-CAM++: sum over cells of alpha * ReLU(g), alpha = 1 / (2 + sum(A) * g^3 / g^2), at most 1."""
    # With negative activations the fraction has a pole, where its denominator is 0.
    alpha = 1 / np.maximum(2 + activations.sum(axis=(2, 3), keepdims=True) * ratio, 1)
    # A gradient of one cell stands for every cell.
    cells = activations[0, 0].size // gradients[0, 0].size
    weights: Array = cells * (alpha * np.maximum(gradients, 0)).sum(axis=(2, 3))
    return weights
