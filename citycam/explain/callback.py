"""Maps when training ends: the Lightning callback."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from citycam import progress
from citycam.config import ExplainConfig, ExplainWeights, Partition
from citycam.explain.maps import Explained, MethodMaps, make_maps, summary, warnings_about, write_maps
from citycam.explain.methods import identities
from citycam.explain.overlay import Pixels
from citycam.explain.sample import write_sample
from citycam.explain.tail import Tail, as_found
from citycam.explain.targets import Target, choose_targets
from citycam.model.backbone import Backbone
from citycam.model.checkpoint import load_checkpoint
from citycam.model.metrics import probabilities
from citycam.model.network import Network


@dataclass(frozen=True)
class Sample:
    """The explained pictures: catalog rows (N,), and name, digest, city, group and class number of each."""

    rows: np.ndarray
    names: tuple[str, ...]
    digests: tuple[str, ...]
    cities: tuple[str, ...]
    groups: tuple[str | None, ...]
    labels: np.ndarray


@dataclass
class MapCallback(pl.Callback):
    """Makes and writes the maps of a run, with the weights of its last or best epoch.

    Args:
        folder: the run's folder.
        config: what is explained, how.
        sample: which pictures.
        activations: from the body to the sample's activations (N, C, h, w) and those of its noisy copies, or None.
        picture: the decoded picture at a position of the sample.
        partition, classes, city: of the labels; ``city`` is the target's position in ``classes``.
        stride: output stride of the grid of ``activations``.
    """

    folder: Path
    config: ExplainConfig
    sample: Sample
    activations: Callable[[Backbone], tuple[np.ndarray, np.ndarray | None]]
    picture: Callable[[int], Pixels]
    partition: Partition
    classes: tuple[str, ...]
    city: int
    stride: int
    explained: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    _same: str | None = None

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain, on the first process of several."""
        if not trainer.is_global_zero:
            return
        begun = time.perf_counter()
        network = pl_module.network
        if not isinstance(network, Network):
            raise TypeError("maps are made of a citycam Network")
        self._same = identities(self.config.methods, network.backbone.pool_kind)
        with self._weights(network):
            maps, told = self._explain(network)
        sheets = self._write(maps, told, network.backbone.strides[0])
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for method, sheet in sheets.items():
                    logger.experiment.add_image(f"maps/{method}", sheet, trainer.current_epoch, dataformats="HWC")
        self.seconds = time.perf_counter() - begun

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
        predicted = shares.argmax(axis=1)
        return [
            Explained(
                name=self.sample.names[place],
                digest=self.sample.digests[place],
                city=self.sample.cities[place],
                predicted=self.classes[predicted[place]],
                probability=float(shares[place, predicted[place]]),
                correct=bool(predicted[place] == self.sample.labels[place]),
                target=targets[place].words,
            )
            for place in range(len(shares))
        ]

    def _write(self, maps: dict[str, MethodMaps], told: list[Explained], plain_stride: int) -> dict[str, Pixels]:
        columns = zip(self.sample.names, self.sample.digests, self.sample.cities, self.sample.groups, strict=True)
        write_sample(self.folder / "explain_sample.csv", list(columns))
        note = f"stride {self.stride}" + ("" if self.stride == plain_stride else ", same weights on a denser grid")
        with progress.counted("overlays", unit="overlays") as tell:
            sheets = write_maps(self.folder / "explain", maps, told, self.picture, note=note, progress=tell)
        self.explained = {
            "weights": self.config.weights.name,
            "target": self.config.target.name,
            "city": self.classes[self.city],
            "layer": "the body's output",
            "stride": self.stride,
            "pictures": len(told),
            "same_maps": self._same,
            **summary(maps),
        }
        self.warnings = warnings_about(maps)
        return sheets

    @contextlib.contextmanager
    def _weights(self, network: Network) -> Iterator[None]:
        """The best epoch's weights for a while, where those are asked for."""
        if self.config.weights is ExplainWeights.last:
            yield
            return
        kept = {key: value.clone() for key, value in network.state_dict().items()}
        try:
            load_checkpoint(self.folder / "checkpoints" / "best.ckpt", network, self.classes)
            yield
        finally:
            network.load_state_dict(kept)
