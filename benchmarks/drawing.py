"""Maps of every kind for the benchmarks: methods by name, earlier layers, occlusion, integrated, controls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from truths import Drawn, Trained, Truth, batches, in_pixels

from citycam.explain.activations import noisy_activations
from citycam.explain.controls import CONTROLS, activation_norm, control_maps
from citycam.explain.evaluation import Array, Evaluation
from citycam.explain.grid import cell_grid, stage_cells
from citycam.explain.maps import make_maps
from citycam.explain.methods import METHODS
from citycam.explain.stage import evaluate_stage
from citycam.explain.tail import Tail
from citycam.explain.truth import to_pixels
from citycam.explain.whole import Whole, make_whole_maps
from citycam.explain_config import ExplainConfig
from citycam.model.backbone import Backbone
from citycam.model.fold import folded
from citycam.model.stage_grid import stage_grid


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
    body = _dense_body(one.body, stride)
    with torch.no_grad():
        return torch.cat([body(one.pictures(truth.views[some])) for some in batches(len(truth.views))])


@functools.lru_cache(maxsize=8)
def _dense_body(body: Backbone, stride: int) -> Callable[[Tensor], Tensor]:
    # Kept, so that making and verifying it is no part of a map's time.
    return folded(body).body if stride == body.strides[0] else body.dense_body(stride)


def on_stage(truth: Truth, stage: str, methods: Sequence[str]) -> dict[str, Drawn]:
    """Return the maps of methods on the output of an earlier stage, of the own class's logit."""
    made: dict[str, list[Array]] = {method: [] for method in methods}
    first = truth.trained[0]
    grid = stage_grid(first.body.name, truth.side, stage)
    for one in truth.trained:
        tail = Tail(one.body.pool, one.network.head, pool_kind=one.body.pool_kind)
        module = one.network.backbone.net.get_submodule(grid.module)

        def evaluation(some: slice, one: Trained = one, module: nn.Module = module, tail: Tail = tail) -> Evaluation:
            pictures = one.pictures(truth.views[some])
            return evaluate_stage(one.network, module, grid, pictures, truth.own_logits[some], tail)

        pooled = torch.zeros(len(truth.views), 1, 1, 1)  # make_maps asks how many there are
        for method, maps in make_maps(tail, pooled, truth.own_logits, methods, stage=evaluation).items():
            made[method].append(maps.raw)
    return {method: Drawn(maps, stage_cells(grid, truth.side)) for method, maps in made.items()}


def fused(drawn: Sequence[Drawn], side: int) -> Drawn:
    """Return the mean of the positive maps of several layers, each scaled to a maximum of 1, in pixels."""
    layers = []
    for its in drawn:
        pixels = [np.maximum(to_pixels(maps, its.cells, side), 0) for maps in its.maps]
        layers.append([one / np.maximum(one.max(axis=(1, 2), keepdims=True), 1e-30) for one in pixels])
    return in_pixels([np.mean(maps, axis=0) for maps in zip(*layers, strict=True)])


def on_pictures(truth: Truth, method: str, settings: ExplainConfig | None = None) -> Drawn:
    """Return the raw maps of a method that passes whole pictures, of the contrast of the own class."""
    made = []
    for one in truth.trained:
        whole = Whole(
            network=one.network,
            pictures=lambda some, one=one: one.pictures(truth.views[some]),
            size=truth.side,
            targets=truth.contrasts,
            explained=one.contrast(truth),
            settings=settings or ExplainConfig(),
        )
        made.append(make_whole_maps(method, whole).raw)
    return in_pixels(made)


def integrated(truth: Truth, baselines: Sequence[str], steps: int) -> Drawn:
    """Return integrated gradients from other baselines than the default ones."""
    return on_pictures(truth, "integrated", ExplainConfig(baselines=list(baselines), steps=steps))


def mean_of(drawn: Sequence[Drawn]) -> Drawn:
    """Return the mean of maps on one grid: integrated gradients of several baselines are those of each, averaged."""
    return Drawn([np.mean(maps, axis=0) for maps in zip(*(its.maps for its in drawn), strict=True)], drawn[0].cells)


def controls(truth: Truth) -> dict[str, Drawn]:
    """Return the maps that know no class; those that know the network come from `by_name`."""
    return {name: in_pixels([control_maps(name, truth.views, truth.digests)]) for name in CONTROLS}
