"""The maps that are checked: of the run's methods, of `integrated`, of faulty variants and of controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from citycam.bank.extract import TORCH_FORMATS
from citycam.bank.frozen import EXACT
from citycam.cells import CellGrid, smoothed
from citycam.config import Partition
from citycam.data.views import normalise
from citycam.explain.controls import CONTROLS, activation_norm, control_maps, dealt
from citycam.explain.evaluation import Evaluation
from citycam.explain.grid import cell_grid, stage_cells
from citycam.explain.make import exact_network
from citycam.explain.maps import Maps, find_blank, make_maps
from citycam.explain.methods import METHODS
from citycam.explain.stage import evaluate_stage
from citycam.explain.tail import Tail, eval_mode
from citycam.explain.targets import Contrast, LogitTarget, Target, target_values
from citycam.explain.truth import energy, pointing, to_pixels
from citycam.explain.whole import WHOLE_METHODS, Whole, make_whole_maps, seconds_of, whole_cells
from citycam.explain_config import LAST
from citycam.model.network import Network
from citycam.model.stage_grid import stage_grid
from citycam.selfcheck import faulty
from citycam.selfcheck.features import activations_of, noisy_of
from citycam.selfcheck.subject import Subject

# Checked whether a run draws it or not, since it is the one that finds.
INTEGRATED = "integrated"


@dataclass(frozen=True)
class Drawn:
    """Maps as they are looked at: (N, h, w) with the places of their cells."""

    maps: NDArray[np.floating]
    cells: CellGrid

    def meets(self, masks: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return whether the highest point of each map lies in its mask (N, S, S), and the share of its positive mass
        there, (N,) each; 0 for a map that shows nothing."""
        side = masks.shape[1]
        hits, shares = pointing(self.maps, self.cells, masks), energy(to_pixels(self.maps, self.cells, side), masks)
        return np.nan_to_num(hits).astype(np.float64), np.nan_to_num(shares).astype(np.float64)

    @property
    def blank(self) -> int:
        """How many show nothing."""
        return int((find_blank(self.maps) | (self.maps.max(axis=(1, 2)) <= 0)).sum())


@dataclass(frozen=True)
class Looked:
    """Pictures, and what the body makes of them once for all heads and methods.

    Attributes:
        views: uint8 (N, S, S, 3).
        activations: (N, C, h, w) on the grid of the run's maps.
        noisy: activations of noisy copies; see `noisy_of`.
        last: of the last noisy copy, on the grid of the run's maps.
    """

    subject: Subject
    views: NDArray[np.uint8]
    digests: tuple[str, ...]
    activations: Tensor
    noisy: Tensor
    last: Tensor

    @classmethod
    def at(cls, subject: Subject, views: NDArray[np.uint8], digests: Sequence[str]) -> Looked:
        """Look at pictures."""
        noisy, last = noisy_of(subject, views, digests)
        device = next(subject.backbone.parameters()).device
        tensors = [torch.from_numpy(array).to(device) for array in (activations_of(subject, views), noisy, last)]
        return cls(subject, views, tuple(digests), *tensors)

    def some(self, count: int) -> Looked:
        """Return the first ``count`` pictures."""
        return replace(
            self,
            views=self.views[:count],
            digests=self.digests[:count],
            activations=self.activations[:count],
            noisy=self.noisy[:, :count],
            last=self.last[:count],
        )

    @property
    def cells(self) -> CellGrid:
        """Where the cells of the activations look."""
        return cell_grid(self.subject.backbone, self.subject.run.resolved.stride)

    @property
    def city(self) -> int:
        """The logit of the city."""
        labels = self.subject.run.inputs.labels
        return (
            0
            if self.subject.run.config.partition is Partition.binary
            else labels.classes.index(self.subject.run.inputs.target)
        )

    def pictures(self, some: slice) -> Tensor:
        """Return some of the normalised pictures, on the device."""
        backbone = self.subject.backbone
        views = torch.from_numpy(self.views[some]).to(self.activations.device)
        pictures = normalise(views, backbone.mean, backbone.std)
        return pictures.contiguous(memory_format=TORCH_FORMATS[EXACT.memory_format])

    def whole(self, head: nn.Module, targets: Sequence[Target]) -> Whole:
        """Return the whole network with these pictures."""
        tail, settings = self.tail(head), self.subject.run.config.explain
        with eval_mode(tail), torch.no_grad():
            explained = target_values(tail(self.activations), targets).cpu().numpy()
        exact = exact_network(Network(self.subject.backbone, head))
        return Whole(exact, self.pictures, self.views.shape[1], targets, explained, settings)

    def tail(self, head: nn.Module) -> Tail:
        """Return the part of the network behind the activations."""
        backbone = self.subject.backbone
        step = backbone.strides[0] // self.subject.run.resolved.stride
        return Tail(backbone.pool, head, pool_kind=backbone.pool_kind, plain_stride_step=step)


def contrast_of(subject: Subject, logit: int) -> Target:
    """Return what is explained by `integrated` and what effects are measured on: the logit against the mean of the
    others; in ``binary``, where there is one, the logit."""
    return LogitTarget(logit) if subject.run.config.partition is Partition.binary else Contrast(logit)


def method_maps(
    looked: Looked, head: nn.Module, methods: Sequence[str], logits: Sequence[int] | None = None
) -> dict[str, Drawn]:
    """Return the maps of methods for a head; ``logits``: the explained one of each picture, default the city's.

    Raises:
        CitycamError: a method does not fit the network.
    """
    chosen = logits or [looked.city] * len(looked.views)
    on_cells = [name for name in methods if name in METHODS]
    on_pictures = [name for name in methods if name in WHOLE_METHODS]
    drawn = _from_cells(looked, head, [LogitTarget(logit) for logit in chosen], on_cells) if on_cells else {}
    if on_pictures:
        targets = [contrast_of(looked.subject, logit) for logit in chosen]
        drawn |= _from_pictures(looked.whole(head, targets), head, on_pictures)
    return {name: drawn[name] for name in methods}


def seconds_for(looked: Looked, head: nn.Module, methods: Sequence[str]) -> float:
    """Return about how long the maps of methods that pass whole pictures take for one head."""
    on_pictures = [name for name in methods if name in WHOLE_METHODS]
    whole = looked.whole(head, [contrast_of(looked.subject, looked.city)] * len(looked.views))
    with eval_mode(head):
        return seconds_of(on_pictures, whole)


def faulty_maps(looked: Looked, head: nn.Module) -> dict[str, Drawn]:
    """Return the maps of the published faults that this network can have."""
    inputs = faulty.Inputs(looked.tail(head), looked.activations, looked.noisy, looked.last, looked.city)
    made = {name: variant.maps(inputs) for name, variant in faulty.FAULTY.items()}
    return {name: Drawn(maps, looked.cells) for name, maps in made.items() if maps is not None}


def class_blind_maps(looked: Looked, integrated: Drawn, seed: int) -> dict[str, Drawn]:
    """Return the maps of the controls, `dealt` among them: those of ``integrated``, each of another picture."""
    side = looked.views.shape[1]
    even = CellGrid.even(side, side)
    drawn = {name: Drawn(control_maps(name, looked.views, looked.digests), even) for name in CONTROLS}
    drawn["activation_norm"] = Drawn(activation_norm(looked.activations.cpu().numpy()), looked.cells)
    drawn["dealt"] = Drawn(integrated.maps[dealt([""] * len(looked.views), seed)], integrated.cells)
    return drawn


def title_of(name: str) -> str:
    """Return what captions call a method, a faulty variant or a control."""
    for table in (faulty.FAULTY, METHODS, WHOLE_METHODS):
        if name in table:
            return str(table[name].title)
    return name.replace("_", " ")


def _from_cells(looked: Looked, head: nn.Module, targets: Sequence[Target], methods: Sequence[str]) -> dict[str, Drawn]:
    """The maps of methods that read the cells of a layer, the last or another one of the settings."""
    tail = looked.tail(head)
    if looked.subject.run.config.explain.layer == LAST:
        made, cells = make_maps(tail, looked.activations, targets, methods, noisy=looked.noisy), looked.cells
    else:
        made, cells = _from_stage(looked, head, targets, methods)
    return {name: Drawn(its.raw, cells) for name, its in made.items()}


def _from_stage(
    looked: Looked, head: nn.Module, targets: Sequence[Target], methods: Sequence[str]
) -> tuple[dict[str, Maps], CellGrid]:
    """The maps of an earlier stage, and where its cells look."""
    tail, exact = looked.tail(head), exact_network(Network(looked.subject.backbone, head))
    grid = stage_grid(exact.backbone.name, exact.backbone.image_size, looked.subject.run.config.explain.layer)
    module = exact.backbone.net.get_submodule(grid.module)

    def stage(some: slice) -> Evaluation:
        return evaluate_stage(exact, module, grid, looked.pictures(some), targets[some], tail)

    with eval_mode(exact):
        made = make_maps(tail, looked.activations, targets, methods, stage=stage)
    return made, stage_cells(grid, exact.backbone.image_size)


def _from_pictures(whole: Whole, head: nn.Module, methods: Sequence[str]) -> dict[str, Drawn]:
    """The maps of methods that pass whole pictures, smoothed as they are shown."""
    drawn = {}
    with eval_mode(head):
        for name in methods:
            made = make_whole_maps(name, whole)
            drawn[name] = Drawn(smoothed(made.raw, WHOLE_METHODS[name].box(whole.size)), whole_cells(made))
    return drawn
