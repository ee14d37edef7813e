"""The maps of a run: its activations and pictures, what is explained of each, and the methods of both kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from citycam import progress
from citycam.bank.extract import prepared
from citycam.bank.frozen import EXACT
from citycam.data.inputs import PlannedRun
from citycam.explain.activations import noisy_activations, plain_activations, plain_pictures
from citycam.explain.evaluation import Evaluation
from citycam.explain.maps import Maps, make_maps
from citycam.explain.methods import METHODS
from citycam.explain.stage import evaluate_stage
from citycam.explain.tail import Tail, eval_mode
from citycam.explain.targets import Target, choose_targets, settle_target, target_values
from citycam.explain.whole import WHOLE_METHODS, Whole, make_whole_maps, seconds_of
from citycam.explain_config import LAST
from citycam.model.network import Network
from citycam.model.stage_grid import stage_grid
from citycam.words import counted, duration, say

# Seconds that maps may take without a word on it before they start.
_LONG = 10.0


@dataclass(frozen=True, slots=True)
class MadeMaps:
    """The maps of N pictures.

    Attributes:
        maps: by method, in the order that was asked for.
        targets: what each map explains (N,), by method.
        logits: (N, K).
    """

    maps: dict[str, Maps]
    targets: dict[str, list[Target]]
    logits: Tensor


def make_run_maps(run: PlannedRun, rows: np.ndarray, network: Network) -> MadeMaps:
    """Make the maps of a run with the network's present weights.

    Args:
        run: says what is explained and how; the stride of its maps is settled.
        rows: catalog rows (N,) of the pictures.

    Raises:
        CitycamError: a method does not fit the network.
    """
    methods = run.config.explain.methods
    tail = _tail(run, network)
    activations = torch.from_numpy(plain_activations(run, network.backbone, rows))
    activations = activations.to(next(network.head.parameters()).device)
    with eval_mode(tail), torch.no_grad():
        logits = torch.cat([tail(some) for some in torch.split(activations, 64)]).cpu()
    targets = {method: _targets(run, rows, logits, whole=method in WHOLE_METHODS) for method in methods}
    made: dict[str, Maps] = {}
    with progress.bar("maps", len(methods) * len(rows), unit="maps") as advance:
        on_cells = [method for method in methods if method in METHODS]
        if on_cells:
            made |= _from_cells(run, rows, network, tail, activations, targets[on_cells[0]], on_cells, advance)
        on_pictures = [method for method in methods if method in WHOLE_METHODS]
        if on_pictures:
            made |= _from_pictures(run, rows, network, targets[on_pictures[0]], logits, on_pictures, advance)
    return MadeMaps({method: made[method] for method in methods}, targets, logits)


def exact_network(network: Network) -> Network:
    """Return a network that computes the same logits in the arithmetic of maps, faster if its body is frozen."""
    backbone = network.backbone
    return Network(prepared(backbone, EXACT), network.head) if backbone.frozen else network


def _tail(run: PlannedRun, network: Network) -> Tail:
    backbone = network.backbone
    step = backbone.strides[0] // run.resolved.stride
    return Tail(backbone.pool, network.head, pool_kind=backbone.pool_kind, plain_stride_step=step)


def _targets(run: PlannedRun, rows: np.ndarray, logits: Tensor, *, whole: bool) -> list[Target]:
    labels = run.inputs.labels
    return choose_targets(
        settle_target(run.config.explain.target, whole=whole),
        logits.numpy(),
        labels.values[rows],
        labels.classes.index(run.inputs.target),
        run.config.partition,
        labels.classes,
    )


def _from_cells(
    run: PlannedRun,
    rows: np.ndarray,
    network: Network,
    tail: Tail,
    activations: Tensor,
    targets: Sequence[Target],
    methods: Sequence[str],
    advance: Callable[[int], None],
) -> dict[str, Maps]:
    """Make the maps of methods that read the cells of a layer."""
    noisy = None
    if any(METHODS[method].needs_noise for method in methods):
        noisy = torch.from_numpy(noisy_activations(run, network.backbone, rows)).to(activations.device)
    if run.config.explain.layer == LAST:
        return make_maps(tail, activations, targets, methods, noisy=noisy, progress=advance)
    exact = exact_network(network)
    grid = stage_grid(exact.backbone.name, exact.backbone.image_size, run.config.explain.layer)
    module = exact.backbone.net.get_submodule(grid.module)

    def stage(some: slice) -> Evaluation:
        pictures = plain_pictures(run, exact.backbone, rows[some])
        return evaluate_stage(exact, module, grid, pictures, targets[some], tail)

    with eval_mode(exact):
        return make_maps(tail, activations, targets, methods, stage=stage, progress=advance)


def _from_pictures(
    run: PlannedRun,
    rows: np.ndarray,
    network: Network,
    targets: Sequence[Target],
    logits: Tensor,
    methods: Sequence[str],
    advance: Callable[[int], None],
) -> dict[str, Maps]:
    """Make the maps of methods that pass whole pictures, and say first how long they take if that is long."""
    exact = exact_network(network)
    whole = Whole(
        network=exact,
        pictures=lambda some: plain_pictures(run, exact.backbone, rows[some]),
        size=run.config.image_size,
        targets=targets,
        explained=target_values(logits, targets).numpy(),
        settings=run.config.explain,
    )
    with eval_mode(exact):
        seconds = seconds_of(methods, whole)
        if seconds > _LONG:
            passes = sum(WHOLE_METHODS[method].passes(whole.settings)[0] for method in methods)
            say(
                f"maps by {', '.join(methods)}: {passes} passes of {counted(len(rows), 'picture')}, about "
                f"{duration(seconds)}"
            )
        return {method: make_whole_maps(method, whole, progress=advance) for method in methods}
