"""Maps of every kind for the benchmarks: methods by name, earlier layers, occlusion, integrated, controls."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from truths import Drawn, Trained, Truth, batches, in_pixels

from citycam.cells import CellGrid
from citycam.explain.activations import noisy_activations
from citycam.explain.controls import CONTROLS, activation_norm, control_maps
from citycam.explain.evaluation import Array
from citycam.explain.grid import cell_grid
from citycam.explain.integrated import BASELINES, blurred, integrated_gradients
from citycam.explain.maps import make_maps
from citycam.explain.methods import METHODS
from citycam.explain.tail import Tail
from citycam.explain.targets import Target, target_values
from citycam.explain.truth import to_pixels
from citycam.model.stages import stage_units


def by_name(truth: Truth, methods: Sequence[str], stride: int) -> dict[str, Drawn]:
    """Return the maps of methods on the last layer, of the own class's logit, and the norm of its activations."""
    body = truth.trained[0].body
    activations = last_layer(truth, stride)
    noisy = None
    if any(METHODS[method].needs_noise for method in methods):
        noisy = torch.from_numpy(noisy_activations(truth.trained[0].run, body, truth.rows))
    made: dict[str, list[Array]] = {method: [] for method in methods}
    for one in truth.trained:
        step = body.strides[0] // stride
        tail = Tail(body.pool, one.network.head, pool_kind=body.pool_kind, plain_stride_step=step)
        for method, maps in make_maps(tail, activations, truth.own_logits, methods, noisy=noisy).items():
            made[method].append(maps.raw)
    cells = cell_grid(body, stride)
    drawn = {method: Drawn(maps, cells) for method, maps in made.items()}
    return drawn | {"activation norm": Drawn([activation_norm(activations.numpy())], cells)}


def last_layer(truth: Truth, stride: int) -> Tensor:
    """Return the activations (N, C, h, w) of the last layer, on the grid of a stride."""
    one = truth.trained[0]
    body = one.network.backbone.body if stride == one.body.strides[0] else one.body.dense_body(stride)
    with torch.no_grad():
        return torch.cat([body(one.pictures(truth.views[some])) for some in batches(len(truth.views))])


def on_stages(truth: Truth, stages: Sequence[str]) -> dict[tuple[str, str], Drawn]:
    """Return the maps of Grad-CAM, HiResCAM and LayerCAM on the output of earlier stages, by (method, stage)."""
    made: dict[tuple[str, str], list[Array]] = {}
    grids: dict[str, CellGrid] = {}
    for one in truth.trained:
        parts: dict[tuple[str, str], list[Array]] = {}
        for some in batches(len(truth.views)):
            outputs = stage_outputs(one, one.pictures(truth.views[some]), truth.own_logits[some], stages)
            for stage, (values, gradients) in outputs.items():
                weights = gradients.mean(dim=(2, 3), keepdim=True)
                terms = {"gradcam": weights * values, "hirescam": gradients * values}
                terms["layercam"] = gradients.clamp(min=0) * values
                for method, its in terms.items():
                    parts.setdefault((method, stage), []).append(its.sum(dim=1).numpy())
                height, width = values.shape[2:]
                # Symmetric padding: the first cell looks around the first pixel.
                grids[stage] = CellGrid.regular(height, width, stride=truth.side / height, centre=0.5, side=truth.side)
        for key, its in parts.items():
            made.setdefault(key, []).append(np.concatenate(its))
    return {key: Drawn(maps, grids[key[1]]) for key, maps in made.items()}


def stage_outputs(
    one: Trained, pictures: Tensor, targets: Sequence[Target], stages: Sequence[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the output of each stage and its gradient, (B, C, h, w) both, in one pass."""
    net = one.network.backbone.net
    kept: dict[str, Tensor] = {}

    def keep(stage: str) -> RemovableHandle:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            kept[stage] = output

        return net.get_submodule(stage_units(net)[stage][-1]).register_forward_hook(hook)

    with ExitStack() as hooks, torch.enable_grad():
        for stage in stages:
            hooks.callback(keep(stage).remove)
        explained = target_values(one.network(pictures.requires_grad_(True)), targets)
        gradients = torch.autograd.grad(explained.sum(), [kept[stage] for stage in stages])
    return {stage: (kept[stage].detach(), its) for stage, its in zip(stages, gradients, strict=True)}


def fused(drawn: Sequence[Drawn], side: int) -> Drawn:
    """Return the mean of the positive maps of several layers, each scaled to a maximum of 1, in pixels."""
    layers = []
    for its in drawn:
        pixels = [np.maximum(to_pixels(maps, its.cells, side), 0) for maps in its.maps]
        layers.append([one / np.maximum(one.max(axis=(1, 2), keepdims=True), 1e-30) for one in pixels])
    return in_pixels([np.mean(maps, axis=0) for maps in zip(*layers, strict=True)])


def integrated(truth: Truth, baselines: Sequence[str], steps: int) -> Drawn:
    """Return integrated gradients of the contrast, raw and signed."""
    made = []
    for one in truth.trained:
        parts = []
        for some in batches(len(truth.views)):
            pictures = one.pictures(truth.views[some])
            with torch.enable_grad():
                its = integrated_gradients(
                    one.network, pictures, truth.contrasts[some], baselines=baselines, steps=steps
                )
            parts.append(its.raw)
        made.append(np.concatenate(parts))
    return in_pixels(made)


def mean_of(drawn: Sequence[Drawn]) -> Drawn:
    """Return the mean of maps on one grid: integrated gradients of several baselines are those of each, averaged."""
    return Drawn([np.mean(maps, axis=0) for maps in zip(*(its.maps for its in drawn), strict=True)], drawn[0].cells)


def occlusion(truth: Truth, patch: int, step: int) -> Drawn:
    """Return what the contrast loses if a square of ``patch`` pixels is replaced by the blurred picture, at places
    ``step`` pixels apart; runs share the passes of their frozen body."""
    side, first = truth.side, truth.trained[0]
    starts = range(step // 2 - patch // 2, side - patch // 2, step)
    made: list[list[Array]] = [[] for _ in truth.trained]
    with torch.no_grad():
        for some in batches(len(truth.views)):
            pictures = first.pictures(truth.views[some])
            fill, targets = blurred(pictures, BASELINES["blur"]), truth.contrasts[some]

            def explained(pictures: Tensor, targets: Sequence[Target] = targets) -> list[Tensor]:
                features = first.network.backbone(pictures)
                return [target_values(one.network.head(features), targets) for one in truth.trained]

            whole = explained(pictures)
            losses = [torch.zeros(len(pictures), len(starts), len(starts)) for _ in truth.trained]
            for row, top in enumerate(starts):
                for column, left in enumerate(starts):
                    rows, columns = (slice(max(0, at), at + patch) for at in (top, left))
                    covered = pictures.clone()
                    covered[:, :, rows, columns] = fill[:, :, rows, columns]
                    for loss, before, after in zip(losses, whole, explained(covered), strict=True):
                        loss[:, row, column] = before - after
            for parts, loss in zip(made, losses, strict=True):
                parts.append(loss.numpy())
    cells = CellGrid.regular(len(starts), len(starts), stride=step, centre=starts[0] + patch / 2, side=side)
    return Drawn([np.concatenate(parts) for parts in made], cells)


def controls(truth: Truth) -> dict[str, Drawn]:
    """Return the maps that know no class; those that know the network come from `by_name`."""
    return {name: in_pixels([control_maps(name, truth.views, truth.digests)]) for name in CONTROLS}
