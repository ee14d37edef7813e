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
from citycam.bank.arithmetic import Arithmetic
from citycam.bank.build import Inputs as RowInputs
from citycam.bank.build import check_room, compute, fill, view_inputs
from citycam.bank.builder import Part, Plan, all_devices, build
from citycam.bank.dataset import FeatureReader, view_numbers
from citycam.bank.extract import Extractor
from citycam.config import Config, ExplainConfig
from citycam.data.datamodule import Reader
from citycam.data.inputs import Inputs
from citycam.data.views import ViewSpec, normalise, open_working, views
from citycam.explain.sample import noisy_copies
from citycam.files import cache_root
from citycam.jobs.resolve import Resolved
from citycam.model.backbone import Backbone, grid
from citycam.model.weights import save_weights
from citycam.shards import Row, ShardStore, view_keys
from citycam.train.lesson import shared_body

# Maps are computed exactly, whatever is fastest.
_EXACT = Arithmetic()


class FrozenBody:
    """The frozen body of a run, and what it makes of the run's pictures; kept on disk and shared between runs."""

    def __init__(self, config: Config, inputs: Inputs, resolved: Resolved) -> None:
        self._config, self._inputs, self._resolved = config, inputs, resolved
        self.backbone = shared_body(config, resolved.source, resolved.device)
        self.name = self._key({"stride": None}, inputs.train_spec)

    @functools.cached_property
    def _paths(self) -> dict[str, Path]:
        return {picture.digest: self._inputs.catalog.path(picture) for picture in self._inputs.catalog.pictures}

    def fill_features(self, epochs: int, devices: Sequence[str] | None = None) -> int:
        """Pass every view that ``epochs`` epochs need through the body, if it is not kept yet; returns how many were
        missing.

        Args:
            devices: who builds, the body's own first; None for all that fit it.

        Raises:
            CitycamError: no room for them, or a builder failed.
        """
        parts = [self._part(training, epochs) for training in (True, False)]
        missing = sum(part.missing() for part in parts)
        if missing:
            check_room(parts[0].store, missing, self._row_bytes(None), "bank")
            build(self._plan(parts), self.backbone, devices or all_devices(self._resolved.device))
        return missing

    def missing_features(self, epochs: int) -> int:
        """How many views `fill_features` would pass."""
        return sum(self._part(training, epochs).missing() for training in (True, False))

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
        extractor = Extractor(self.backbone, self._resolved.arithmetic, batch=self._resolved.batch)

        def read(indices: np.ndarray, epoch: int) -> torch.Tensor:
            return torch.from_numpy(extractor.pictures(pictures(indices, epoch)))

        return read

    def activations(self, indices: np.ndarray) -> np.ndarray:
        """Activations (n, C, h, w) of plain views of catalog rows, on the grid of the maps; in fp32."""
        rows = view_keys([self._inputs.catalog.pictures[index].digest for index in indices.tolist()], [0])
        spec = self._inputs.plain_spec
        store = _store(self._key({"stride": self._resolved.stride}, spec, _EXACT))
        self._fill("activations", store, rows, view_inputs(spec), self._resolved.stride)
        return store.read(store.places(rows))

    def noisy(self, indices: np.ndarray, explain: ExplainConfig) -> np.ndarray:
        """Activations (samples, n, C, h', w') of noisy copies; behind a mean pool averaged over cells, h' = w' = 1."""
        digests = [self._inputs.catalog.pictures[index].digest for index in indices.tolist()]
        rows = view_keys(digests, range(explain.samples))
        spec = self._inputs.plain_spec
        noise = {"noise": explain.noise, "seed": explain.seed}
        stride = None if self.backbone.pool_kind == "mean" else self.backbone.strides[0]
        store = _store(self._key({"stride": stride, **noise}, spec, _EXACT))
        self._fill("noisy copies", store, rows, noisy_inputs(self.backbone, spec, explain), stride)
        return stack_noisy(store.read(store.places(rows)), len(digests), explain.samples)

    def _part(self, training: bool, epochs: int) -> Part:
        """The features that training or validation reads in ``epochs`` epochs."""
        indices = self._inputs.train if training else self._inputs.val
        digests = [self._inputs.catalog.pictures[index].digest for index in indices.tolist()]
        return Part(
            f"bank {'train' if training else 'val'}",
            self._feature_store(training),
            self._inputs.train_spec if training else self._inputs.val_spec,
            list(dict.fromkeys(digests)),
            list(view_numbers(self._config.augment, epochs, training=training)),
        )

    def _plan(self, parts: list[Part]) -> Plan:
        backbone = self._config.backbone
        return Plan(
            body={
                "name": str(backbone.name),
                "strides": tuple(backbone.strides),
                "image_size": self._config.image_size,
                "path": self._resolved.weights_path,
                "weights_digest": self._resolved.weights_digest,
            },
            arithmetic=self._resolved.arithmetic,
            batch=self._resolved.batch,
            threads=self._resolved.threads,
            parts=parts,
            paths=self._paths,
        )

    def _feature_store(self, training: bool) -> ShardStore:
        spec = self._inputs.train_spec if training else self._inputs.val_spec
        return _store(self._key({"stride": None}, spec))

    def _fill(self, what: str, store: ShardStore, rows: np.ndarray, inputs: RowInputs, stride: int | None) -> None:
        """Make what the maps need, exactly; features where ``stride`` is None."""
        store.refresh()
        check_room(store, len(store.missing(rows)), self._row_bytes(stride), what)
        extractor = Extractor(self.backbone, _EXACT, batch=self._resolved.batch, stride=stride)
        with progress.bar(what, len(np.unique(rows))) as advance:
            fill(
                store,
                rows,
                self._paths,
                inputs=inputs,
                extract=_extract(extractor),
                row_bytes=self._row_bytes(stride),
                batch=self._resolved.batch,
                threads=self._resolved.threads,
                turns=extractor.on_cpu,
                advance=advance,
            )

    def _row_bytes(self, stride: int | None) -> int:
        """Of features, or of activations at a stride."""
        if stride is None:
            return 4 * self.backbone.num_features
        height, width = grid(self._config.backbone, self._config.image_size, stride)
        return 4 * self.backbone.layout.channels * height * width

    def _key(self, cut: dict[str, Any], spec: ViewSpec, arithmetic: Arithmetic | None = None) -> str:
        chosen = arithmetic or self._resolved.arithmetic
        return _key_text(
            backbone=self._config.backbone.name,
            weights=self._resolved.weights_digest,
            cut=cut,
            precision=chosen.precision.name,
            memory_format=chosen.memory_format,
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
    spec = inputs.train_spec
    return torch.from_numpy(
        np.concatenate([views(open_working(inputs.catalog.path(p), spec), spec, [0], p.digest) for p in chosen])
    )


def explained_activations(
    backbone: Backbone, config: Config, inputs: Inputs, resolved: Resolved, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Activations and noisy copies as `FrozenBody` gives them, of a body that is not shared; nothing is kept."""
    digests = [inputs.catalog.pictures[index].digest for index in indices.tolist()]
    paths = {
        digest: inputs.catalog.path(inputs.catalog.pictures[i]) for digest, i in zip(digests, indices, strict=True)
    }
    spec = inputs.plain_spec
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

    def make(path: Path, digest: str, numbers: Sequence[int]) -> np.ndarray:
        view = torch.from_numpy(open_working(path, spec)[None])
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
    extractor = Extractor(backbone, _EXACT, batch=resolved.batch, stride=stride)
    found: dict[Row, np.ndarray] = {}
    for chunk, values in compute(
        list(dict.fromkeys(rows)),
        paths,
        inputs=inputs,
        extract=_extract(extractor),
        batch=resolved.batch,
        threads=resolved.threads,
        turns=extractor.on_cpu,
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


def _store(key: str) -> ShardStore:
    return _opened_store(key, cache_root() / "bank")


@functools.lru_cache(maxsize=16)
def _opened_store(key: str, root: Path) -> ShardStore:
    return ShardStore(json.loads(key), root)
