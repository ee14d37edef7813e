"""Maps when training ends: the Lightning callback."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from citycam.config import ExplainWeights
from citycam.explain.draw import Drawer
from citycam.model.checkpoint import weights_of
from citycam.model.network import Network


@dataclass
class MapCallback(pl.Callback):
    """Makes and writes the maps of a run, with the weights of its last or best epoch.

    Args:
        folder: the run's folder.
        drawer: what is drawn, how.

    Attributes:
        explained, warnings: for run.json, once the maps are there.
        seconds: what they took.
    """

    folder: Path
    drawer: Drawer
    explained: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain, on the first process of several."""
        if not trainer.is_global_zero:
            return
        begun = time.perf_counter()
        network = pl_module.network
        if not isinstance(network, Network):
            raise TypeError("maps are made of a citycam Network")
        best = self.drawer.config.weights is ExplainWeights.best
        checkpoint = self.folder / "checkpoints" / "best.ckpt"
        with weights_of(network, checkpoint, self.drawer.classes) if best else contextlib.nullcontext():
            drawn = self.drawer.draw(network, self.folder / "explain", self.folder / "explain_sample.csv")
        self.explained, self.warnings = drawn.facts, drawn.warnings
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for method, sheet in drawn.sheets.items():
                    logger.experiment.add_image(f"maps/{method}", sheet, trainer.current_epoch, dataformats="HWC")
        self.seconds = time.perf_counter() - begun
