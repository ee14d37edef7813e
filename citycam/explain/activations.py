"""Activations for maps, of pictures and of their noisy copies. Those of a frozen body are kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from citycam.bank.build import Pipeline, RowInputs, view_inputs
from citycam.bank.extract import TORCH_FORMATS, Extractor
from citycam.bank.frozen import EXACT, FrozenBody
from citycam.data.inputs import PlannedRun
from citycam.data.views import ViewSpec, normalise, open_working
from citycam.explain.sample import noisy_copies
from citycam.explain.tail import eval_mode
from citycam.explain_config import ExplainConfig
from citycam.model.backbone import Backbone
from citycam.shards import Row


def plain_activations(run: PlannedRun, backbone: Backbone, indices: np.ndarray) -> np.ndarray:
    """Return the activations (N, C, h, w) of plain views of catalog rows ``indices`` (N,), on the grid of the maps.

    Args:
        backbone: the run's. A frozen one is the backbone that all runs share.
    """
    rows = [(digest, 0) for digest in _digests(run, indices)]
    inputs = view_inputs(run.inputs.plain_spec)
    return _values(run, backbone, "activations", rows, inputs, stride=run.resolved.stride)


def plain_pictures(run: PlannedRun, backbone: Backbone, indices: np.ndarray) -> torch.Tensor:
    """Return the normalised plain views (N, 3, S, S) of catalog rows ``indices`` (N,), on the backbone's device."""
    spec, catalog = run.inputs.plain_spec, run.inputs.catalog
    views = np.stack([open_working(catalog.path(catalog.pictures[index]), spec) for index in indices.tolist()])
    device = next(backbone.parameters()).device
    pictures = normalise(torch.from_numpy(views).to(device), backbone.mean, backbone.std)
    return pictures.contiguous(memory_format=TORCH_FORMATS[EXACT.memory_format])


def noisy_activations(run: PlannedRun, backbone: Backbone, indices: np.ndarray) -> np.ndarray:
    """Return the activations (samples, N, C, h', w') of noisy copies of the pictures in catalog rows ``indices`` (N,).

    Behind a mean pool they are averaged over cells: h' = w' = 1.
    """
    explain, digests = run.config.explain, _digests(run, indices)
    rows = [(digest, copy) for digest in digests for copy in range(explain.samples)]
    stride = None if backbone.pool_kind == "mean" else backbone.strides[0]
    inputs = noisy_inputs(backbone, run.inputs.plain_spec, explain)
    noise = {"noise": explain.noise, "seed": explain.seed}
    values = _values(run, backbone, "noisy copies", rows, inputs, stride=stride, **noise)
    if values.ndim == 2:
        values = values[:, :, None, None]
    return values.reshape(len(digests), explain.samples, *values.shape[1:]).swapaxes(0, 1)


def noisy_inputs(backbone: Backbone, spec: ViewSpec, explain: ExplainConfig) -> RowInputs:
    """Return the function that makes noisy copies of a plain view, float32 (n, 3, S, S); see `noisy_copies`."""

    def make(path: Path, digest: str, numbers: Sequence[int]) -> np.ndarray:
        view = torch.from_numpy(open_working(path, spec)[None])
        plain = normalise(view, backbone.mean, backbone.std)
        copies = list(noisy_copies(plain, [digest], noise=explain.noise, samples=explain.samples, seed=explain.seed))
        return torch.cat([copies[number] for number in numbers]).numpy()

    return make


def _digests(run: PlannedRun, indices: np.ndarray) -> list[str]:
    return [run.inputs.catalog.pictures[index].digest for index in indices.tolist()]


def _values(
    run: PlannedRun,
    backbone: Backbone,
    what: str,
    rows: Sequence[Row],
    inputs: RowInputs,
    *,
    stride: int | None,
    **noise: Any,
) -> np.ndarray:
    """Return the values of the rows, in order; see `FrozenBody.values`. Those of a body that trains are not kept."""
    if run.resolved.frozen:
        return FrozenBody(run).values(what, rows, inputs, stride=stride, **noise)
    paths = {picture.digest: run.inputs.catalog.path(picture) for picture in run.inputs.catalog.pictures}
    values: dict[Row, np.ndarray] = {}
    with eval_mode(backbone):
        extractor = Extractor(backbone, EXACT, batch=run.resolved.batch, stride=stride)
        pipeline = Pipeline(paths, inputs, extractor, extractor.batch, run.resolved.threads, extractor.on_cpu)
        for chunk, some in pipeline.compute(dict.fromkeys(rows)):
            values.update(zip(chunk, some, strict=True))
    return np.stack([values[row] for row in rows])
