"""What all models of a frozen sweep share: the body, the features of its views, the activations that are explained."""

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
from citycam.bank.build import Inputs as RowInputs
from citycam.bank.build import compute, fill, view_inputs
from citycam.bank.dataset import FeatureReader, view_numbers
from citycam.bank.extract import Extractor
from citycam.bank.store import FeatureStore, Row
from citycam.body import shared_body
from citycam.config import Config, ExplainConfig, Precision
from citycam.data.datamodule import Reader
from citycam.data.pictures import decode
from citycam.data.views import ViewSpec, normalise, render
from citycam.explain.sample import noisy_copies
from citycam.files import cache_root
from citycam.inputs import Inputs
from citycam.model.backbone import Backbone
from citycam.model.weights import save_weights
from citycam.resolve import Resolved


class FrozenBody:
    """The frozen body of a run, and what it makes of the run's pictures; kept on disk and shared between runs."""

    def __init__(self, config: Config, inputs: Inputs, resolved: Resolved) -> None:
        self._config, self._inputs, self._resolved = config, inputs, resolved
        self.backbone = shared_body(config, resolved.source, resolved.device)
        self.name = self._key({"stride": None}, inputs.train_spec)
        self._paths = {picture.digest: inputs.catalog.path(picture) for picture in inputs.catalog.pictures}

    def fill_features(self, epochs: int) -> int:
        """Pass every view that ``epochs`` epochs need through the body, if it is not kept yet; returns how many did."""
        made = 0
        for training in (True, False):
            rows = self._rows(training, epochs)
            with progress.bar(f"bank {'train' if training else 'val'}", len(rows), unit="views") as advance:
                made += self._fill(self._feature_store(training), rows, self._view_inputs(training), None, advance)
        return made

    def missing_features(self, epochs: int) -> int:
        """How many views `fill_features` would pass."""
        count = 0
        for training in (True, False):
            store = self._feature_store(training)
            store.refresh()
            count += len(store.missing(self._rows(training, epochs)))
        return count

    def reader(self, *, training: bool, epochs: int) -> FeatureReader:
        """Inputs of training from the kept features."""
        indices = self._inputs.train if training else self._inputs.val
        store = self._feature_store(training)
        store.refresh()
        return FeatureReader(
            store, self._inputs.catalog, indices, self._config.augment, training=training, epochs=epochs
        )

    def passing(self, pictures: Reader) -> Reader:
        """A reader that passes pictures through the body whenever they are asked for, keeping nothing."""
        extractor = Extractor(self.backbone, precision=Precision[self._resolved.precision], batch=self._resolved.batch)

        def read(indices: np.ndarray, epoch: int) -> torch.Tensor:
            return torch.from_numpy(extractor.pictures(pictures(indices, epoch)))

        return read

    def activations(self, indices: np.ndarray) -> np.ndarray:
        """Activations (n, C, h, w) of plain views of catalog rows, on the grid of the maps; in fp32."""
        rows = [(self._inputs.catalog.pictures[index].digest, 0) for index in indices.tolist()]
        spec = ViewSpec(image_size=self._config.image_size)
        store = _store(self._key({"stride": self._resolved.stride}, spec, Precision.fp32))
        with progress.bar("activations", len(rows)) as advance:
            self._fill(store, rows, view_inputs(spec), self._resolved.stride, advance)
        return store.read(store.places(rows))

    def noisy(self, indices: np.ndarray, explain: ExplainConfig) -> np.ndarray:
        """Activations (samples, n, C, h', w') of noisy copies; behind a mean pool averaged over cells, h' = w' = 1."""
        digests = [self._inputs.catalog.pictures[index].digest for index in indices.tolist()]
        rows = [(digest, copy) for digest in digests for copy in range(explain.samples)]
        spec = ViewSpec(image_size=self._config.image_size)
        noise = {"noise": explain.noise, "seed": explain.seed}
        stride = None if self.backbone.pool_kind == "mean" else self.backbone.strides[0]
        store = _store(self._key({"stride": stride, **noise}, spec, Precision.fp32))
        with progress.bar("noisy copies", len(rows)) as advance:
            self._fill(store, rows, noisy_inputs(self.backbone, spec, explain), stride, advance)
        return stack_noisy(store.read(store.places(rows)), len(digests), explain.samples)

    def _rows(self, training: bool, epochs: int) -> list[Row]:
        indices = self._inputs.train if training else self._inputs.val
        numbers = view_numbers(self._config.augment, epochs, training=training)
        digests = [self._inputs.catalog.pictures[index].digest for index in indices.tolist()]
        return [(digest, number) for digest in dict.fromkeys(digests) for number in numbers]

    def _view_inputs(self, training: bool) -> RowInputs:
        return view_inputs(self._inputs.train_spec if training else self._inputs.val_spec)

    def _feature_store(self, training: bool) -> FeatureStore:
        spec = self._inputs.train_spec if training else self._inputs.val_spec
        return _store(self._key({"stride": None}, spec))

    def _fill(
        self, store: FeatureStore, rows: Sequence[Row], inputs: RowInputs, stride: int | None, advance: Any
    ) -> int:
        exact = stride is not None or "noise" in store.key["cut"]
        precision = Precision.fp32 if exact else Precision[self._resolved.precision]
        extractor = Extractor(self.backbone, precision=precision, batch=self._resolved.batch, stride=stride)
        return fill(
            store,
            rows,
            self._paths,
            inputs=inputs,
            extract=_extract(extractor),
            batch=self._resolved.batch,
            threads=self._resolved.threads,
            advance=advance,
        )

    def _key(self, cut: dict[str, Any], spec: ViewSpec, precision: Precision | None = None) -> str:
        return _key_text(
            backbone=self._config.backbone.name,
            weights=self._resolved.weights_digest,
            cut=cut,
            precision=(precision or Precision[self._resolved.precision]).name,
            memory_format="channels_last",
            device=torch.device(self._resolved.device).type,
            batch=self._resolved.batch,
            view=spec.key(),
            mean=list(self.backbone.mean),
            std=list(self.backbone.std),
        )


def body_file(sweep_folder: Path, backbone: Backbone, weights_digest: str | None) -> Path:
    """The file of a frozen body below a sweep's folder, written once."""
    path = sweep_folder / "bodies" / f"{backbone.name}-{backbone.image_size}-{weights_digest}.safetensors"
    if not path.exists():
        save_weights(backbone, path)
    return path


def first_views(inputs: Inputs, count: int = 4) -> torch.Tensor:
    """A few training views, uint8 (n, S, S, 3), for the check of their range."""
    chosen = [inputs.catalog.pictures[index] for index in inputs.train[:count].tolist()]
    views = [render(decode(inputs.catalog.path(p)), inputs.train_spec, 0, p.digest) for p in chosen]
    return torch.from_numpy(np.stack(views))


def explained_activations(
    backbone: Backbone, config: Config, inputs: Inputs, resolved: Resolved, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Activations and noisy copies as `FrozenBody` gives them, of a body that is not shared; nothing is kept."""
    digests = [inputs.catalog.pictures[index].digest for index in indices.tolist()]
    paths = {
        digest: inputs.catalog.path(inputs.catalog.pictures[i]) for digest, i in zip(digests, indices, strict=True)
    }
    spec = ViewSpec(image_size=config.image_size)
    training = backbone.training
    backbone.eval()
    try:
        plain = _direct(backbone, resolved, [(d, 0) for d in digests], paths, view_inputs(spec), resolved.stride)
        if "smoothgradcampp" not in config.explain.methods:
            return plain, None
        stride = None if backbone.pool_kind == "mean" else backbone.strides[0]
        rows = [(digest, copy) for digest in digests for copy in range(config.explain.samples)]
        noisy = _direct(backbone, resolved, rows, paths, noisy_inputs(backbone, spec, config.explain), stride)
        return plain, stack_noisy(noisy, len(digests), config.explain.samples)
    finally:
        backbone.train(training)


def noisy_inputs(backbone: Backbone, spec: ViewSpec, explain: ExplainConfig) -> RowInputs:
    """Noisy copies of normalised plain views, float32 (n, 3, S, S); see `citycam.explain.sample.noisy_copies`."""

    def make(picture: np.ndarray, digest: str, numbers: Sequence[int]) -> np.ndarray:
        view = torch.from_numpy(render(picture, spec, 0, digest)[None])
        plain = normalise(view, backbone.mean, backbone.std)
        copies = list(noisy_copies(plain, [digest], noise=explain.noise, samples=explain.samples, seed=explain.seed))
        return torch.cat([copies[number] for number in numbers]).numpy()

    return make


def stack_noisy(values: np.ndarray, pictures: int, samples: int) -> np.ndarray:
    """(pictures * samples, ...) by picture to (samples, pictures, C, h', w')."""
    if values.ndim == 2:
        values = values[:, :, None, None]
    return values.reshape(pictures, samples, *values.shape[1:]).swapaxes(0, 1)


def _direct(
    backbone: Backbone,
    resolved: Resolved,
    rows: list[Row],
    paths: dict[str, Path],
    inputs: RowInputs,
    stride: int | None,
) -> np.ndarray:
    extractor = Extractor(backbone, precision=Precision.fp32, batch=resolved.batch, stride=stride)
    found: dict[Row, np.ndarray] = {}
    for chunk, values in compute(
        list(dict.fromkeys(rows)),
        paths,
        inputs=inputs,
        extract=_extract(extractor),
        batch=resolved.batch,
        threads=resolved.threads,
    ):
        found.update(zip(chunk, values, strict=True))
    return np.stack([found[row] for row in rows])


def _extract(extractor: Extractor) -> Any:
    def extract(values: np.ndarray) -> np.ndarray:
        return extractor.views(values) if values.dtype == np.uint8 else extractor.pictures(torch.from_numpy(values))

    return extract


def _key_text(**content: Any) -> str:
    versions = {"torch": torch.__version__, "timm": version("timm"), "pillow": PIL.__version__, "numpy": np.__version__}
    return json.dumps({**content, "versions": versions}, sort_keys=True)


def _store(key: str) -> FeatureStore:
    return _opened_store(key, cache_root() / "bank")


@functools.lru_cache(maxsize=16)
def _opened_store(key: str, root: Path) -> FeatureStore:
    return FeatureStore(json.loads(key), root)
