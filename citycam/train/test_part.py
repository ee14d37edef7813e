"""The test part: evaluated once, after training, with the weights of the last and of the best epoch."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from citycam import progress
from citycam.bank.build import Pipeline, RowInputs, view_inputs
from citycam.bank.extract import Extractor
from citycam.bank.frozen import FrozenBody
from citycam.data.inputs import PlannedRun
from citycam.explain.tail import eval_mode
from citycam.model import metrics
from citycam.model.checkpoint import weights_of
from citycam.model.module import CityModule
from citycam.model.network import Network
from citycam.report import tables
from citycam.statistics import judge


@dataclass
class TestPartCallback(pl.Callback):
    """Evaluates the test part when training ends, on the first of several processes.

    Test pictures are seen as validation pictures are (their first view). They take no part in choosing anything.

    Attributes:
        results: ``last`` and ``best``: metrics named ``test_…``, with what stands beside an accuracy.
        seconds: what that took.
    """

    run: PlannedRun
    folder: Path
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate both weights, and write the answers of the last ones to test_predictions.csv."""
        if not trainer.is_global_zero:
            return
        start = time.perf_counter()
        assert isinstance(pl_module, CityModule)
        network, inputs = pl_module.network, self.run.inputs
        labels = torch.from_numpy(inputs.labels.values[inputs.test])
        best = weights_of(network, self.folder / "checkpoints" / "best.ckpt", inputs.labels.classes)
        for name, weights in (("last", contextlib.nullcontext()), ("best", best)):
            with weights:
                logits = self._logits(network)
            self.results[name] = self._judge(logits, labels, pl_module.class_weights)
            if name == "last":
                self._write(logits)
        self.seconds = time.perf_counter() - start

    def _logits(self, network: Network) -> Tensor:
        """Logits (N, K) of the test part with the present weights."""
        device = next(network.head.parameters()).device
        with eval_mode(network), torch.inference_mode():
            if self.run.resolved.frozen and self.run.config.bank.enabled:
                features = FrozenBody(self.run).test_features()
            else:
                features = self._pass(network)
            return network.from_features(torch.from_numpy(features).to(device)).cpu()

    def _pass(self, network: Network) -> np.ndarray:
        """Features (N, D) of the test part, of which nothing is kept."""
        resolved, catalog = self.run.resolved, self.run.inputs.catalog
        pictures = [catalog.pictures[row] for row in self.run.inputs.test.tolist()]
        extractor = Extractor(network.backbone, resolved.arithmetic, batch=resolved.batch)
        paths = {picture.name: catalog.path(picture) for picture in pictures}
        pipeline = Pipeline(paths, self._views(), extractor, extractor.batch, resolved.threads, extractor.on_cpu)
        parts = []
        with progress.bar("test", len(pictures)) as advance:
            for rows, values in pipeline.compute((picture.name, 0) for picture in pictures):
                parts.append(values)
                advance(len(rows))
        return np.concatenate(parts)

    def _views(self) -> RowInputs:
        """Views by name: byte-equal pictures are rows of their own, and their digest names the draws."""
        digests = {picture.name: picture.digest for picture in self.run.inputs.catalog.pictures}
        views = view_inputs(self.run.inputs.val_spec)
        return lambda path, name, numbers: views(path, digests[name], numbers)

    def _judge(self, logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> dict[str, Any]:
        partition = self.run.config.partition.name
        measured = metrics.evaluate(logits, labels, partition, class_weights)
        answers = metrics.predict(logits, partition).numpy()
        judgement = judge(answers, labels.numpy(), self.run.inputs.groups_of(self.run.inputs.test))
        return {f"test_{name}": value for name, value in measured.items()} | judgement.as_dict("test")

    def _write(self, logits: Tensor) -> None:
        inputs, partition = self.run.inputs, self.run.config.partition.name
        pictures = [inputs.catalog.pictures[row] for row in inputs.test.tolist()]
        tables.write_predictions(
            self.folder / "test_predictions.csv",
            paths=[picture.name for picture in pictures],
            cities=[picture.city for picture in pictures],
            labels=inputs.labels.values[inputs.test],
            predicted=metrics.predict(logits, partition).numpy(),
            probabilities=metrics.probabilities(logits, partition).numpy(),
            classes=inputs.labels.classes,
        )
