"""The maps of a trained network: made, written as a folder of pages and tables, and told about in a few facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from citycam import progress
from citycam.config import ExplainConfig, Partition
from citycam.data.inputs import PlannedRun
from citycam.data.pictures import decode
from citycam.explain.activations import noisy_activations, plain_activations
from citycam.explain.maps import Explained, MethodMaps, make_maps, summary, warnings_about, write_maps
from citycam.explain.methods import METHODS, identities
from citycam.explain.sample import write_sample
from citycam.explain.tail import Tail, as_found
from citycam.explain.targets import Target, choose_targets
from citycam.model.backbone import Backbone
from citycam.model.metrics import probabilities
from citycam.model.network import Network
from citycam.report.overlay import Pixels


@dataclass(frozen=True)
class Sample:
    """The explained pictures: catalog rows (N,), and name, digest, city, group and class number of each.

    Where it is not known what a picture shows, its city is empty and its class -1.
    """

    rows: np.ndarray
    names: tuple[str, ...]
    digests: tuple[str, ...]
    cities: tuple[str, ...]
    groups: tuple[str | None, ...]
    labels: np.ndarray


def make_drawer(run: PlannedRun, rows: np.ndarray) -> Drawer:
    """The drawer of maps of the pictures in catalog ``rows`` (N,), on the grid of ``run.resolved.stride``."""
    inputs, methods = run.inputs, run.config.explain.methods
    chosen = [inputs.catalog.pictures[row] for row in rows.tolist()]

    def activations(backbone: Backbone) -> tuple[np.ndarray, np.ndarray | None]:
        noisy = noisy_activations(run, backbone, rows) if any(METHODS[name].needs_noise for name in methods) else None
        return plain_activations(run, backbone, rows), noisy

    return Drawer(
        config=run.config.explain,
        sample=Sample(
            rows=rows,
            names=tuple(picture.name for picture in chosen),
            digests=tuple(picture.digest for picture in chosen),
            cities=tuple(picture.city for picture in chosen),
            groups=tuple(picture.group for picture in chosen),
            labels=inputs.labels.values[rows],
        ),
        activations=activations,
        picture=lambda place: decode(inputs.catalog.path(chosen[place])),
        partition=run.config.partition,
        classes=inputs.labels.classes,
        city=inputs.labels.classes.index(inputs.target),
        stride=run.resolved.stride,
    )


@dataclass(frozen=True)
class Drawn:
    """What came of it. ``sheets``: a page for each method, uint8 (H, W, 3). ``facts`` and ``warnings``: as run.json's
    ``explained`` and ``warnings`` have them."""

    sheets: dict[str, Pixels]
    facts: dict[str, Any]
    warnings: list[dict[str, str]]


@dataclass(frozen=True)
class Drawer:
    """Draws the maps of networks on one sample.

    Args:
        config: what is explained, how.
        sample: which pictures.
        activations: from the body to the sample's activations (N, C, h, w) and those of its noisy copies, or None.
        picture: the decoded picture at a position of the sample.
        partition, classes, city: of the labels; ``city`` is the target's position in ``classes``.
        stride: output stride of the grid of ``activations``.
    """

    config: ExplainConfig
    sample: Sample
    activations: Callable[[Backbone], tuple[np.ndarray, np.ndarray | None]]
    picture: Callable[[int], Pixels]
    partition: Partition
    classes: tuple[str, ...]
    city: int
    stride: int

    def draw(self, network: Network, folder: Path, table: Path) -> Drawn:
        """Explain with the present weights: maps and pages below ``folder``, the list of pictures into ``table``."""
        maps, told = self._explain(network)
        columns = zip(self.sample.names, self.sample.digests, self.sample.cities, self.sample.groups, strict=True)
        write_sample(table, list(columns))
        note = f"stride {self.stride}"
        note += "" if self.stride == network.backbone.strides[0] else ", same weights on a denser grid"
        with progress.counted("overlays", unit="overlays") as tell:
            sheets = write_maps(folder, maps, told, self.picture, note=note, progress=tell)
        facts = {
            "weights": self.config.weights.name,
            "target": self.config.target.name,
            "city": self.classes[self.city],
            "layer": "the body's output",
            "stride": self.stride,
            "pictures": len(told),
            "same_maps": identities(self.config.methods, network.backbone.pool_kind),
            **summary(maps),
        }
        return Drawn(sheets, facts, warnings_about(maps))

    def _explain(self, network: Network) -> tuple[dict[str, MethodMaps], list[Explained]]:
        backbone = network.backbone
        plain, noisy = self.activations(backbone)
        tail = Tail(
            backbone.pool,
            network.head,
            pool_kind=backbone.pool_kind,
            plain_stride_step=backbone.strides[0] // self.stride,
        )
        device = next(network.head.parameters()).device
        activations = torch.from_numpy(plain).to(device)
        with as_found(tail), torch.no_grad():
            logits = torch.cat([tail(some) for some in torch.split(activations, 64)]).cpu()
        targets = choose_targets(
            self.config.target, logits.numpy(), self.sample.labels, self.city, self.partition, self.classes
        )
        with progress.counted("maps", unit="maps") as tell:
            maps = make_maps(
                tail,
                activations,
                targets,
                self.config.methods,
                noisy=None if noisy is None else torch.from_numpy(noisy).to(device),
                progress=tell,
            )
        return maps, self._told(logits, targets)

    def _told(self, logits: torch.Tensor, targets: list[Target]) -> list[Explained]:
        shares = probabilities(logits, self.partition.name).numpy()
        predicted, labels = shares.argmax(axis=1), self.sample.labels
        return [
            Explained(
                name=self.sample.names[place],
                digest=self.sample.digests[place],
                city=self.sample.cities[place],
                predicted=self.classes[predicted[place]],
                probability=float(shares[place, predicted[place]]),
                correct=None if labels[place] < 0 else bool(predicted[place] == labels[place]),
                target=targets[place].words,
            )
            for place in range(len(shares))
        ]
