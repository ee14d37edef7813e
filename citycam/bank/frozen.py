"""The frozen body that all runs of a sweep share, and what it makes of their pictures, kept on disk."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from citycam import progress
from citycam.bank.body import shared_body
from citycam.bank.build import Pipeline, RowInputs, check_rows, fill
from citycam.bank.builder import Part, Plan, all_devices, build
from citycam.bank.dataset import FeatureReader, view_numbers
from citycam.bank.extract import Extractor
from citycam.data.datamodule import Reader
from citycam.data.inputs import PlannedRun
from citycam.data.views import ViewSpec
from citycam.files import cache_root
from citycam.model.backbone import grid
from citycam.processes import remember
from citycam.resolved import Arithmetic
from citycam.shards import Row, ShardStore

# The arithmetic of maps, whatever is fastest.
EXACT = Arithmetic()


class FrozenBody:
    """The frozen body of a run, and what it makes of the run's pictures; kept on disk and shared between runs."""

    def __init__(self, run: PlannedRun) -> None:
        self._run = run
        self.backbone = shared_body(run.config, run.resolved.source, run.resolved.device)
        self.name = self._key({"stride": None}, run.inputs.train_spec)

    @functools.cached_property
    def _paths(self) -> dict[str, Path]:
        return {picture.digest: self._run.inputs.catalog.path(picture) for picture in self._run.inputs.catalog.pictures}

    def fill_features(self, epochs: int, devices: Sequence[str] | None = None) -> int:
        """Pass every view that ``epochs`` epochs need through the body, if it is not kept yet; returns how many were
        missing.

        Args:
            devices: who builds, the body's own first; None for all that fit it.

        Raises:
            CitycamError: no room for them, or a builder failed.
        """
        parts = self._parts(epochs)
        missing = sum(part.missing() for part in parts)
        if missing:
            check_rows(parts[0].store, missing, self._row_bytes(None), "bank")
            build(self._plan(parts), self.backbone, devices or all_devices(self._run.resolved.device))
        return missing

    def missing_features(self, epochs: int) -> int:
        """How many views `fill_features` would pass."""
        return sum(part.missing() for part in self._parts(epochs))

    def reader(self, *, training: bool, epochs: int) -> FeatureReader:
        """Inputs of training from the kept features."""
        indices = self._run.inputs.train if training else self._run.inputs.val
        store = self._feature_store(training)
        store.refresh()
        return FeatureReader(
            store, self._run.inputs.catalog, indices, self._run.config.augment, training=training, epochs=epochs
        )

    def test_features(self) -> np.ndarray:
        """Features (N, D) of the test part, in its order: of the first view as validation makes it."""
        part = self._test_part()
        if part.missing():
            check_rows(part.store, part.missing(), self._row_bytes(None), part.what)
            build(self._plan([part]), self.backbone, [self._run.resolved.device])
            part.store.refresh()
        digests = [self._run.inputs.catalog.pictures[row].digest for row in self._run.inputs.test.tolist()]
        return part.store.read(part.store.places([(digest, 0) for digest in digests]))

    def passing(self, pictures: Reader) -> Reader:
        """A reader that passes pictures through the body whenever they are asked for, keeping nothing."""
        extractor = Extractor(self.backbone, self._run.resolved.arithmetic, batch=self._run.resolved.batch)

        def read(indices: np.ndarray, epoch: int) -> torch.Tensor:
            return torch.from_numpy(extractor.pictures(pictures(indices, epoch)))

        return read

    def values(
        self, what: str, rows: Sequence[Row], inputs: RowInputs, *, stride: int | None, **noise: Any
    ) -> np.ndarray:
        """What the body makes of rows, kept on disk: computed exactly, in fp32.

        Args:
            what: a word or two for the bar.
            rows: (digest, number) of a picture of the catalog, N.
            inputs: see `citycam.bank.build.Inputs`.
            stride: output stride of the activations' grid; None for features.
            noise: what else changes the values.

        Returns:
            float32 (N, D), or (N, C, h, w) at a stride.

        Raises:
            CitycamError: no room for them, or a picture cannot be read.
        """
        store = _store(self._key({"stride": stride, **noise}, self._run.inputs.plain_spec, EXACT))
        store.refresh()
        check_rows(store, len(store.missing(rows)), self._row_bytes(stride), what)
        extractor = Extractor(self.backbone, EXACT, batch=self._run.resolved.batch, stride=stride)
        with progress.bar(what, len(set(rows))) as advance:
            pipeline = Pipeline(
                self._paths, inputs, extractor, extractor.batch, self._run.resolved.threads, extractor.on_cpu
            )
            fill(store, rows, pipeline, row_bytes=self._row_bytes(stride), advance=advance)
        return store.read(store.places(rows))

    def _parts(self, epochs: int) -> list[Part]:
        """Everything that training, validation and the test part read."""
        test = [self._test_part()] if len(self._run.inputs.test) else []
        return [self._part(True, epochs), self._part(False, epochs), *test]

    def _test_part(self) -> Part:
        digests = [self._run.inputs.catalog.pictures[row].digest for row in self._run.inputs.test.tolist()]
        store, spec = self._feature_store(training=False), self._run.inputs.val_spec
        return Part("bank test", store, spec, list(dict.fromkeys(digests)), [0])

    def _part(self, training: bool, epochs: int) -> Part:
        """The features that training or validation reads in ``epochs`` epochs."""
        indices = self._run.inputs.train if training else self._run.inputs.val
        digests = [self._run.inputs.catalog.pictures[index].digest for index in indices.tolist()]
        return Part(
            f"bank {'train' if training else 'val'}",
            self._feature_store(training),
            self._run.inputs.train_spec if training else self._run.inputs.val_spec,
            list(dict.fromkeys(digests)),
            list(view_numbers(self._run.config.augment, epochs, training=training)),
        )

    def _plan(self, parts: list[Part]) -> Plan:
        backbone = self._run.config.backbone
        return Plan(
            body={
                "name": str(backbone.name),
                "strides": tuple(backbone.strides),
                "image_size": self._run.config.image_size,
                "path": self._run.resolved.weights_path,
                "weights_digest": self._run.resolved.weights_digest,
            },
            arithmetic=self._run.resolved.arithmetic,
            batch=self._run.resolved.batch,
            threads=self._run.resolved.threads,
            parts=parts,
            paths=self._paths,
        )

    def _feature_store(self, training: bool) -> ShardStore:
        spec = self._run.inputs.train_spec if training else self._run.inputs.val_spec
        return _store(self._key({"stride": None}, spec))

    def _row_bytes(self, stride: int | None) -> int:
        """Of features, or of activations at a stride."""
        if stride is None:
            return 4 * self.backbone.num_features
        height, width = grid(self._run.config.backbone, self._run.config.image_size, stride)
        return 4 * self.backbone.layout.channels * height * width

    def _key(self, cut: dict[str, Any], spec: ViewSpec, arithmetic: Arithmetic | None = None) -> str:
        chosen = arithmetic or self._run.resolved.arithmetic
        return _key_text(
            backbone=self._run.config.backbone.name,
            weights=self._run.resolved.weights_digest,
            cut=cut,
            precision=chosen.precision.name,
            memory_format=chosen.memory_format,
            device=torch.device(self._run.resolved.device).type,
            batch=self._run.resolved.batch,
            view=spec.key(),
            mean=list(self.backbone.mean),
            std=list(self.backbone.std),
        )


def _key_text(**content: Any) -> str:
    versions = {"torch": torch.__version__, "timm": version("timm"), "pillow": PIL.__version__, "numpy": np.__version__}
    return json.dumps({**content, "versions": versions}, sort_keys=True)


def _store(key: str) -> ShardStore:
    return _opened_store(key, cache_root() / "bank")


@remember(16)
def _opened_store(key: str, root: Path) -> ShardStore:
    return ShardStore(json.loads(key), root)
