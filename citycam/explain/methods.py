"""Methods that make maps. The only file that knows pytorch_grad_cam.

`SafeCAM` closes that library's base class off: models are left as found, nothing is hooked, raw signed values come back
instead of maps that were scaled twice. A method below it is its formula and nothing else. Where pytorch-grad-cam has
the formula right, its own class is used.
"""

# The signatures are those of pytorch-grad-cam; not every formula needs every argument.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_grad_cam as pgc
import torch
from numpy.typing import NDArray
from pytorch_grad_cam.base_cam import BaseCAM
from torch import Tensor, nn

from citycam.errors import CitycamError
from citycam.explain.look import Look, enter, explained_by, look_at
from citycam.explain.tail import Tail, as_found, head_bias
from citycam.explain.targets import LogitTarget, Target

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class MapBatch:
    """Maps of one method for a batch.

    Attributes:
        raw: float32 (B, h, w), unscaled; signed where the formula allows.
        logits: float32 (B, K) of the plain network.
        explained: float32 (B,), the number whose evidence is mapped.
        bias: float32 (B,), for CAM only: mean over the plain network's cells of raw + bias = explained.
    """

    method: str
    raw: NDArray[np.float32]
    logits: NDArray[np.float32]
    explained: NDArray[np.float32]
    bias: NDArray[np.float32] | None


def explain(
    method: str,
    tail: Tail,
    activations: Tensor,
    target: int | Sequence[int | Target],
    *,
    noisy: Tensor | None = None,
    look: Look | None = None,
) -> MapBatch:
    """Maps of one method for a batch of pictures.

    Works on a frozen network, under no_grad, in inference mode and in the middle of training: modes, hooks, gradients,
    requires_grad and random states are as they were afterwards, also when something raises.

    Args:
        method: a name in `METHODS`.
        activations: (B, C, h, w), the output of the body; moved to the tail's device and dtype.
        target: a class for all, or for each picture a class or a `Target`.
        noisy: for smoothgradcampp: activations (n, B, C, h', w') of n noisy copies of each picture. Behind a mean pool
            they may be of the plain grid, or already averaged over cells (h' = w' = 1): the gradient is the same.
        look: what `look_at` gave for these activations and targets, where several methods share it.

    Raises:
        CitycamError: the method does not fit the network, or is unknown.
        ValueError: targets or shapes do not fit the activations.
    """
    if method not in METHODS:
        raise CitycamError(f"explain.methods has no {method}; known are {', '.join(METHODS)}.")
    if activations.ndim != 4:
        raise ValueError(f"activations must be (B, C, h, w), got {tuple(activations.shape)}")
    chosen = [target] * len(activations) if isinstance(target, int) else target
    targets = [LogitTarget(one) if isinstance(one, int) else one for one in chosen]
    return METHODS[method](tail, noisy=noisy).batch(activations, targets, look)


def check_method(method: str, pool_kind: str) -> None:
    """Refuse a method that has no meaning behind this kind of pool.

    Raises:
        CitycamError: CAM behind anything but a mean pool.
    """
    if method != Cam.name or pool_kind == "mean":
        return
    if pool_kind == "linear":
        reason = "fully connected layers follow its feature map, so no weight belongs to a channel"
    else:
        reason = "what follows its feature map is not a plain mean over cells"
    raise CitycamError(
        f"explain.methods has cam, which has no exact map for this backbone: {reason}; "
        "take cam out, or ask for hirescam in its place."
    )


_SAME_BEHIND_A_MEAN = ("cam", "gradcam", "hirescam", "xgradcam", "shapleycam")


def identities(methods: Sequence[str], pool_kind: str) -> str | None:
    """One sentence where several of the methods asked for draw the same map, else None.

    Behind a mean pool the gradient is the same at every cell, so the weights of Grad-CAM, HiResCAM, XGrad-CAM and
    (behind a piecewise-linear head) ShapleyCAM are those of CAM up to one positive factor, the number of cells.
    """
    same = [method for method in methods if method in _SAME_BEHIND_A_MEAN]
    if pool_kind != "mean" or len(same) < 2:
        return None
    return (
        f"This backbone pools by a mean, so {', '.join(same[:-1])} and {same[-1]} are the same map up to a positive "
        "factor: one of them says all that the others say."
    )


def completeness_gap(maps: MapBatch, tail: Tail) -> NDArray[np.float64]:
    """|mean over the plain network's cells of the signed CAM + bias - logit| of each picture, (B,); at most 1e-4."""
    if maps.bias is None:
        raise ValueError(f"{maps.method} has no bias; completeness is a property of cam")
    step = tail.plain_stride_step
    cells = maps.raw.astype(np.float64)[:, ::step, ::step]
    gap: NDArray[np.float64] = np.abs(cells.mean(axis=(1, 2)) + maps.bias - maps.explained)
    return gap


class SafeCAM(BaseCAM):  # type: ignore[misc]
    """pytorch-grad-cam's base class without its side effects; everything goes through `batch`.

    Subclasses give `get_cam_weights` or `get_cam_image` with the signatures of pytorch-grad-cam; activations come as
    numpy arrays (B, C, h, w), gradients too, or as (B, C, 1, 1) where they are the same at every cell. ``name`` is what
    a user types, ``title`` what a caption says; ``needs_noise``: whether it reads noisy copies of the pictures.
    """

    name: str
    title: str
    needs_noise = False

    def __init__(self, tail: Tail, *, noisy: Tensor | None = None) -> None:
        # BaseCAM.__init__ would put the model in eval mode for good and hook it: a live object records every forward.
        self.model = tail
        self.target_layers = [tail.entrance]
        self.noisy = noisy
        check_method(self.name, tail.pool_kind)

    def __del__(self) -> None:
        """Nothing is hooked, so nothing is released."""

    def __exit__(self, *_: object) -> None:
        """Let every exception through; BaseCAM swallows an IndexError."""

    def __call__(self, input_tensor: Tensor, targets: Sequence[Target]) -> NDArray[np.float32]:
        """Raw maps (B, h, w); BaseCAM would scale them twice."""
        return self.batch(input_tensor, targets).raw

    def batch(self, activations: Tensor, targets: Sequence[Target], look: Look | None = None) -> MapBatch:
        """Raw maps with what they explain; arguments as for `explain`."""
        if len(targets) != len(activations):
            raise ValueError(f"{len(targets)} targets for {len(activations)} pictures")
        seen = look_at(self.model, activations, targets) if look is None else look
        entered = seen.entered
        with as_found(self.model):
            raw = self.get_cam_image(
                entered, self.model.entrance, targets, _numpy(entered), _numpy(seen.gradients), eigen_smooth=False
            )
            bias = self._bias(entered, targets)
        return MapBatch(
            method=self.name,
            raw=np.asarray(raw, dtype=np.float32),
            logits=_numpy(seen.logits).astype(np.float32),
            explained=_numpy(seen.explained).astype(np.float32),
            bias=bias,
        )

    def _bias(self, entered: Tensor, targets: Sequence[Target]) -> NDArray[np.float32] | None:
        return None


class _WeightedCAM(SafeCAM):
    """Map = sum over channels of weight * activation."""

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Sequence[Target],
        activations: Array,
        grads: Array,
        eigen_smooth: bool,
    ) -> Array:
        """Raw, signed maps (B, h, w); the class has the formula."""
        weights = self.get_cam_weights(input_tensor, target_layer, targets, activations, grads)
        cells = activations.reshape(*activations.shape[:2], -1)
        painted: Array = np.matmul(weights[:, None, :], cells)
        return painted.reshape(len(activations), *activations.shape[2:])


class Cam(_WeightedCAM):
    """CAM (Zhou et al. 2016, eq. 2) with the exact effective weights of a piecewise-linear head.

    weight of a channel = d logit / d feature at this picture: for Linear-ReLU-Linear, W2 (active * W1).
    """

    name, title = "cam", "CAM"

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: nn.Module, targets: Sequence[Target], activations: Array, grads: Array
    ) -> Array:
        """Weights (B, C) of the channels; the class has the formula."""
        features = self.model.features(input_tensor).detach().requires_grad_(True)
        explained = explained_by(self.model.head(features), targets)
        (weights,) = torch.autograd.grad(explained.sum(), features)
        return _numpy(weights)

    def _bias(self, entered: Tensor, targets: Sequence[Target]) -> NDArray[np.float32]:
        bias = head_bias(self.model.head, self.model.features(entered).detach())
        return _numpy(explained_by(bias, targets)).astype(np.float32)


class GradCam(_WeightedCAM, pgc.GradCAM):  # type: ignore[misc]
    """Grad-CAM (Selvaraju et al. 2017, eq. 1 and 2): weight = mean over cells of the gradient."""

    name, title = "gradcam", "Grad-CAM"


class HiResCam(SafeCAM, pgc.HiResCAM):  # type: ignore[misc]
    """HiResCAM (Draelos and Carin 2020): sum over channels of gradient * activation, cell by cell."""

    name, title = "hirescam", "HiResCAM"


class LayerCam(SafeCAM, pgc.LayerCAM):  # type: ignore[misc]
    """LayerCAM (Jiang et al. 2021, eq. 6): sum over channels of ReLU(gradient) * activation."""

    name, title = "layercam", "LayerCAM"


class ElementWise(SafeCAM, pgc.GradCAMElementWise):  # type: ignore[misc]
    """Sum over channels of ReLU(gradient * activation)."""

    name, title = "elementwise", "element-wise Grad-CAM"


class XGradCam(_WeightedCAM):
    """XGrad-CAM (Fu et al. 2020, eq. 8): weight = mean of the gradient, weighted by activation.

    pytorch-grad-cam adds 1e-7 to the sum of activations, which shows where a channel is faint.
    """

    name, title = "xgradcam", "XGrad-CAM"

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: nn.Module, targets: Sequence[Target], activations: Array, grads: Array
    ) -> Array:
        """Weights (B, C) of the channels; the class has the formula."""
        total = activations.sum(axis=(2, 3))
        weighted = (grads * activations).sum(axis=(2, 3))
        weights: Array = np.divide(weighted, total, out=np.zeros_like(total), where=total != 0)
        return weights


class GradCamPlusPlus(_WeightedCAM):
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 19 with exp(logit)): weight = sum over cells of alpha * ReLU(gradient),
    alpha = 1 / (2 + sum(activations) * gradient).

    The paper's fraction is g^2 / (2 g^2 + sum(A) g^3); pytorch-grad-cam adds 1e-6 below, which outweighs g^2 on small
    gradients and makes the map depend on the scale of the logit.
    """

    name, title = "gradcampp", "Grad-CAM++"

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: nn.Module, targets: Sequence[Target], activations: Array, grads: Array
    ) -> Array:
        """Weights (B, C) of the channels; the class has the formula."""
        alpha = _alpha(activations.sum(axis=(2, 3), keepdims=True) * grads)
        each_alike = activations[0, 0].size // grads[0, 0].size
        weights: Array = each_alike * (alpha * np.maximum(grads, 0)).sum(axis=(2, 3))
        return weights


class SmoothGradCamPlusPlus(_WeightedCAM):
    """Smooth Grad-CAM++ (Omeiza et al. 2019, section 3): Grad-CAM++ with g, g^2 and g^3 averaged over noisy copies of
    the picture, painted on the activations of the clean one.

    Behind a mean pool every cell has the same gradient, d logit / d features over the number of cells, so it is
    computed from the pooled features of the copies.
    """

    name, title = "smoothgradcampp", "Smooth Grad-CAM++"
    needs_noise = True

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: nn.Module, targets: Sequence[Target], activations: Array, grads: Array
    ) -> Array:
        """Weights (B, C) of the channels; the class has the formula."""
        noisy = self._noisy_gradients(input_tensor, targets)
        # Powers of small gradients leave the range of floats; only their ratios matter.
        scale = np.abs(noisy).max(axis=(0, 2, 3, 4), keepdims=True)[0]
        noisy = noisy / np.where(scale > 0, scale, 1)
        squares, cubes = (noisy**2).mean(axis=0), (noisy**3).mean(axis=0)
        ratio = np.divide(cubes, squares, out=np.zeros_like(cubes), where=squares > 0) * scale
        alpha = _alpha(activations.sum(axis=(2, 3), keepdims=True) * ratio)
        each = alpha * np.maximum(noisy.mean(axis=0) * scale, 0)
        # Compact gradients stand for every cell of the clean grid.
        cells = activations[0, 0].size // each[0, 0].size
        weights: Array = each.sum(axis=(2, 3)) * cells
        return weights

    def _noisy_gradients(self, clean: Tensor, targets: Sequence[Target]) -> Array:
        """(n, B, C, h, w), or (n, B, C, 1, 1) behind a mean pool."""
        if self.noisy is None or self.noisy.ndim != 5 or self.noisy.shape[1:3] != clean.shape[:2]:
            got = None if self.noisy is None else tuple(self.noisy.shape)
            raise ValueError(f"smoothgradcampp needs noisy (n, {len(clean)}, {clean.shape[1]}, h, w), got {got}")
        copies = enter(self.model, self.noisy.flatten(0, 1))
        if self.model.pool_kind == "mean":
            same_grid = copies.shape[2:] == clean.shape[2:]
            pooled = (self.model.features if same_grid else self.model.pool)(copies).detach().requires_grad_(True)
            explained = explained_by(self.model.head(pooled), list(targets) * len(self.noisy))
            (gradients,) = torch.autograd.grad(explained.sum(), pooled)
            gradients = gradients[:, :, None, None] / clean[0, 0].numel()
        else:
            copies.requires_grad_(True)
            explained = explained_by(self.model(copies), list(targets) * len(self.noisy))
            (gradients,) = torch.autograd.grad(explained.sum(), copies)
        return _numpy(gradients).reshape(len(self.noisy), len(clean), *gradients.shape[1:])


class FinerCam(_WeightedCAM):
    """Finer-CAM (Zhang et al., CVPR 2025): Grad-CAM of y_c - 0.6 mean(y_d) over the three classes whose logits are
    closest; Grad-CAM itself where there is one logit.

    pytorch-grad-cam's own contrasts only where no targets are given, and lets its weights learn.
    """

    name, title = "finercam", "Finer-CAM"
    strength, classes = 0.6, 3

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: nn.Module, targets: Sequence[Target], activations: Array, grads: Array
    ) -> Array:
        """Weights (B, C) of the channels; the class has the formula."""
        logits = self.model(input_tensor)
        explained = explained_by(logits, targets)
        # The closest is the class itself.
        near = (logits - explained[:, None]).abs().argsort(dim=1, stable=True)[:, 1 : 1 + self.classes]
        if near.shape[1]:
            explained = explained - self.strength * logits.gather(1, near).mean(dim=1)
        (gradients,) = torch.autograd.grad(explained.sum(), input_tensor)
        return _numpy(gradients.mean(dim=(2, 3)))


class ShapleyCam(_WeightedCAM):
    """ShapleyCAM (arXiv 2501.06261): weight = mean over cells of g - 0.5 H A, gradient and Hessian at activations A.
    Behind piecewise-linear layers H is zero, and this is Grad-CAM."""

    name, title = "shapleycam", "ShapleyCAM"

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: nn.Module, targets: Sequence[Target], activations: Array, grads: Array
    ) -> Array:
        """Weights (B, C) of the channels; the class has the formula."""
        explained = explained_by(self.model(input_tensor), targets)
        (first,) = torch.autograd.grad(explained.sum(), input_tensor, create_graph=True)
        second = None
        if first.requires_grad:
            (second,) = torch.autograd.grad(first, input_tensor, input_tensor.detach(), allow_unused=True)
        weights = first if second is None else first - 0.5 * second
        return _numpy(weights.mean(dim=(2, 3)))


class EigenGradCam(SafeCAM):
    """EigenGradCAM: first principal component over cells of gradient * activation.

    A component's sign is arbitrary. Here it is the one that agrees with HiResCAM, the sum over channels of the same
    products; pytorch-grad-cam leaves it to chance.
    """

    name, title = "eigengradcam", "EigenGradCAM"

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Sequence[Target],
        activations: Array,
        grads: Array,
        eigen_smooth: bool,
    ) -> Array:
        """Raw, signed maps (B, h, w); the class has the formula."""
        products = (grads * activations).reshape(*activations.shape[:2], -1).transpose(0, 2, 1)
        centred = products - products.mean(axis=1, keepdims=True)
        # A decomposition refuses a NaN for the whole batch; the map that has one becomes NaN.
        finite = np.isfinite(centred).all(axis=(1, 2))[:, None]
        centred = np.where(finite[..., None], centred, 0).astype(np.float64)
        # There are fewer cells than channels: the component over cells is an eigenvector of their small Gram matrix.
        values, vectors = np.linalg.eigh(centred @ centred.transpose(0, 2, 1))
        component = vectors[:, :, -1] * np.sqrt(np.maximum(values[:, -1:], 0))
        agreement = (component * centred.sum(axis=2)).sum(axis=1, keepdims=True)
        signed: Array = np.where(finite, np.where(agreement < 0, -component, component), np.nan)
        return signed.reshape(len(activations), *activations.shape[2:])


METHODS: dict[str, type[SafeCAM]] = {
    method.name: method
    for method in (
        Cam,
        GradCam,
        SmoothGradCamPlusPlus,
        GradCamPlusPlus,
        HiResCam,
        LayerCam,
        XGradCam,
        ElementWise,
        EigenGradCam,
        FinerCam,
        ShapleyCam,
    )
}


def _alpha(term: Array) -> Array:
    """1 / (2 + term), at most 1: behind activations that can be negative the formula has a pole at -2."""
    alpha: Array = 1 / np.maximum(2 + term, 1)
    return alpha


def _numpy(tensor: Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array
