"""Maps at the end of training: the Lightning callback."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from citycam.data.inputs import PlannedRun
from citycam.explain.draw import draw_maps
from citycam.explain.nearest import list_nearest
from citycam.explain_config import ExplainWeights
from citycam.model.checkpoint import weights_of
from citycam.model.network import Network


@dataclass
class MapCallback(pl.Callback):
    """The callback that makes and writes the maps of a run, with the weights of its last or best epoch.

    Args:
        folder: the run's folder.
        run: the run.
        rows: catalog rows (N,) of the pictures that are explained.

    Attributes:
        explained, warnings: for run.json, once the maps are written.
        nearest: names of the training pictures that are most like the explained ones; none if the body trains.
        seconds: how long they took.
    """

    folder: Path
    run: PlannedRun
    rows: np.ndarray
    explained: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, str]] = field(default_factory=list)
    nearest: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the maps, in the first process of several."""
        if not trainer.is_global_zero:
            return
        start = time.perf_counter()
        network = pl_module.network
        if not isinstance(network, Network):
            raise TypeError("maps are made of a citycam Network")
        best = self.run.config.explain.weights is ExplainWeights.best
        checkpoint = self.folder / "checkpoints" / "best.ckpt"
        with weights_of(network, checkpoint, self.run.inputs.labels.classes) if best else contextlib.nullcontext():
            drawn = draw_maps(self.run, self.rows, network, self.folder / "explain", self.folder / "explain_sample.csv")
        self.explained, self.warnings = drawn.facts, drawn.warnings
        if self.run.resolved.frozen and self.run.config.bank.enabled:
            self.nearest = list_nearest(self.run, self.rows, self.folder)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for method, sheet in drawn.sheets.items():
                    logger.experiment.add_image(f"maps/{method}", sheet, trainer.current_epoch, dataformats="HWC")
        self.seconds = time.perf_counter() - start
