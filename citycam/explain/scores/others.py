"""Maps that those of a run are held against: those of the runner-up, and those of noisy copies of the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citycam.bank.extract import Extractor
from citycam.bank.frozen import EXACT
from citycam.cells import smoothed
from citycam.data.inputs import PlannedRun
from citycam.explain.make import MadeMaps, from_cells
from citycam.explain.methods import METHODS
from citycam.explain.sample import noisy_copies
from citycam.explain.scores.subject import Subject
from citycam.explain.tail import eval_mode
from citycam.explain.targets import Contrast, Difference, LogitTarget, Negative, Target, target_values
from citycam.explain.whole import WHOLE_METHODS, Whole, make_whole_maps
from citycam.model.network import Network

Array = NDArray[np.floating]
# Methods that pass whole pictures cost as much again for another class, so only this share of the pictures, and at
# least so many, have such a map.
SHARE, LEAST = 1 / 8, 4


@dataclass(frozen=True)
class Others:
    """What the maps of a run are made from, to make further ones.

    Attributes:
        run, rows, network, made: as for `make_run_maps`, and its result.
        exact: the network in the arithmetic of maps.
        subject: its pictures.
    """

    run: PlannedRun
    rows: NDArray[np.int64]
    network: Network
    exact: Network
    made: MadeMaps
    subject: Subject

    def rivals(self) -> dict[str, Array]:
        """Return the maps (N, h, w) of the runner-up by each method, NaN where none is made; see `SHARE`."""
        maps: dict[str, Array] = {}
        for methods in self._kinds():
            some = slice(0, len(self.rows) if methods[0] in METHODS else max(LEAST, round(SHARE * len(self.rows))))
            own = zip(self.made.targets[methods[0]], self.made.logits, strict=True)
            made = self._maps(methods, [rival(target, row) for target, row in own], some)
            for method, raw in made.items():
                maps[method] = np.full_like(self.made.maps[method].raw, np.nan)
                maps[method][some] = raw
        return maps

    def copies(self) -> dict[str, Array]:
        """Return the maps (n, N, h, w) of noisy copies of the pictures by each method."""
        maps: dict[str, list[Array]] = {method: [] for method in self.made.maps}
        for pictures, activations in self.noisy():
            for methods in self._kinds():
                targets = self.made.targets[methods[0]]
                for method, raw in self._maps(methods, targets, slice(None), pictures, activations).items():
                    maps[method].append(raw)
        return {method: np.stack(its) for method, its in maps.items()}

    def _kinds(self) -> list[list[str]]:
        """Return the methods that read cells, and those that pass whole pictures: each kind explains one thing."""
        kinds = [[method for method in self.made.maps if (method in METHODS) == of_cells] for of_cells in (True, False)]
        return [methods for methods in kinds if methods]

    def noisy(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield noisy copies (N, 3, S, S) of all pictures, with their activations (N, C, h, w)."""
        explain, backbone = self.run.config.explain, self.network.backbone
        plain = self.subject.pictures(slice(None)).cpu()
        drawn = noisy_copies(
            plain, self.subject.digests, noise=explain.noise, samples=explain.samples, seed=explain.seed
        )
        stride, batch = self.run.resolved.stride, self.run.resolved.batch
        for pictures in drawn:
            with eval_mode(backbone):
                values = Extractor(backbone, EXACT, batch=batch, stride=stride).pictures(pictures)
            yield pictures, torch.from_numpy(values)

    def _maps(
        self,
        methods: Sequence[str],
        targets: Sequence[Target],
        some: slice,
        pictures: Tensor | None = None,
        activations: Tensor | None = None,
    ) -> dict[str, Array]:
        """Return the maps of methods of one kind, for some of the pictures or of copies of them, as they are shown."""
        device, explained = self.made.activations.device, list(targets[some])
        batch = (self.subject.pictures(slice(None)) if pictures is None else pictures.to(device))[some]
        if methods[0] in METHODS:
            made = from_cells(
                self.run,
                self.rows[some],
                self.network,
                self.made.tail,
                (self.made.activations if activations is None else activations.to(device))[some],
                explained,
                methods,
                pictures=lambda rows: batch[rows],
            )
            return {method: its.raw for method, its in made.items()}
        size = self.run.config.image_size
        values = target_values(self.made.logits[some], explained).numpy()
        whole = Whole(self.exact, lambda rows: batch[rows], size, explained, values, self.run.config.explain)
        return {
            method: smoothed(make_whole_maps(method, whole).raw, WHOLE_METHODS[method].box(size)) for method in methods
        }


def rival(target: Target, logits: Tensor) -> Target:
    """Return what is explained instead for the runner-up: the same number of the class of the highest other logit.

    For a single logit that is its negative, for a difference the reverse.

    Args:
        logits: (K,).
    """
    if len(logits) == 1:
        return LogitTarget(0) if isinstance(target, Negative) else Negative(0)
    if isinstance(target, Difference):
        return Difference(target.other, target.index)
    own = target.named[0]
    other = next(int(index) for index in logits.argsort(descending=True, stable=True) if int(index) != own)
    return Contrast(other) if isinstance(target, Contrast) else LogitTarget(other)
