"""The maps that are checked: of the run's methods, of `integrated`, of faulty variants and of controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from citycam.bank.extract import TORCH_FORMATS, prepared
from citycam.bank.frozen import EXACT
from citycam.cells import CellGrid, smoothed
from citycam.config import Partition
from citycam.data.views import normalise
from citycam.explain.controls import CONTROLS, activation_norm, control_maps, dealt
from citycam.explain.grid import cell_grid
from citycam.explain.integrated import box_of, integrated_gradients
from citycam.explain.maps import find_blank, make_maps
from citycam.explain.methods import METHODS
from citycam.explain.tail import Tail, eval_mode
from citycam.explain.targets import Contrast, LogitTarget, Target
from citycam.explain.truth import energy, pointing, to_pixels
from citycam.selfcheck import faulty
from citycam.selfcheck.features import activations_of, noisy_of
from citycam.selfcheck.subject import Subject

INTEGRATED = "integrated"
TITLES = {INTEGRATED: "integrated gradients"}
_BASELINES, _STEPS = ("blur", "blur_coarse"), 2
_BATCH = 32


@dataclass(frozen=True)
class Drawn:
    """Maps as they are looked at: (N, h, w) with the places of their cells."""

    maps: NDArray[np.floating]
    cells: CellGrid

    def meets(self, masks: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return whether the highest point of each map lies in its mask (N, S, S), and the share of its positive mass
        there, (N,) each; 0 for a map that shows nothing."""
        side = masks.shape[1]
        hits = np.nan_to_num(pointing(self.maps, self.cells, masks))
        return hits, np.nan_to_num(energy(to_pixels(self.maps, self.cells, side), masks))

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
    names = [name for name in methods if name != INTEGRATED]
    plain = [LogitTarget(logit) for logit in chosen]
    made = make_maps(looked.tail(head), looked.activations, plain, names, noisy=looked.noisy) if names else {}
    drawn = {name: Drawn(its.raw, looked.cells) for name, its in made.items()}
    if INTEGRATED in methods:
        drawn[INTEGRATED] = _integrated(looked, head, [contrast_of(looked.subject, logit) for logit in chosen])
    return {name: drawn[name] for name in methods}


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
    if name in faulty.FAULTY:
        return faulty.FAULTY[name].title
    return TITLES.get(name) or (METHODS[name].title if name in METHODS else name.replace("_", " "))


def _integrated(looked: Looked, head: nn.Module, targets: Sequence[Target]) -> Drawn:
    """Integrated gradients at the size of the picture, smoothed as they are shown."""
    backbone = prepared(looked.subject.backbone, EXACT)
    format_ = TORCH_FORMATS[EXACT.memory_format]
    device = next(backbone.parameters()).device
    parts = []
    for start in range(0, len(looked.views), _BATCH):
        views = torch.from_numpy(looked.views[start : start + _BATCH]).to(device)
        pictures = normalise(views, backbone.mean, backbone.std).contiguous(memory_format=format_)
        with eval_mode(backbone), eval_mode(head):
            made = integrated_gradients(
                lambda x: head(backbone(x)),
                pictures,
                targets[start : start + _BATCH],
                baselines=_BASELINES,
                steps=_STEPS,
            )
        parts.append(made.raw)
    raw = np.concatenate(parts)
    side = raw.shape[1]
    return Drawn(smoothed(raw, box_of(side)), CellGrid.even(side, side))
