"""Features of planted pictures. Only those pass the body; features of pictures without marks come from the bank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from citycam import progress
from citycam.bank.build import Pipeline, RowInputs, view_inputs
from citycam.bank.extract import Extractor
from citycam.bank.frozen import EXACT, FrozenBody
from citycam.data.views import normalise, open_working
from citycam.explain.sample import noisy_copies
from citycam.selfcheck.marks import Mark
from citycam.selfcheck.planting import PLAIN, plant
from citycam.selfcheck.subject import Subject
from citycam.shards import Row

# Counts up with every change of the pixels that a mark of the same name gives.
_RECIPE = 2


def plain_features(subject: Subject, rows: np.ndarray) -> np.ndarray:
    """Return the features (N, D) of plain views of catalog rows (N,)."""
    keys = [(digest, PLAIN) for digest in digests_of(subject, rows)]
    return _features(subject, "features", keys, view_inputs(subject.run.inputs.plain_spec))


def planted_features(subject: Subject, mark: Mark, seed: int, keys: Sequence[Row]) -> np.ndarray:
    """Return the features (N, D) of planted views; ``keys``: digests with numbers of views, see `plant`."""
    planted = {"planted": [_RECIPE, mark.shape, mark.size, seed]}
    return _features(subject, mark.words, keys, planted_inputs(subject, mark, seed), **planted)


def planted_views(subject: Subject, mark: Mark, seed: int, keys: Sequence[Row]) -> np.ndarray:
    """Return planted views, uint8 (N, S, S, 3)."""
    inputs, paths = planted_inputs(subject, mark, seed), _paths(subject)
    return np.concatenate([inputs(paths[digest], digest, [number]) for digest, number in keys])


def planted_inputs(subject: Subject, mark: Mark, seed: int) -> RowInputs:
    """Return the function that renders planted views, uint8 (n, S, S, 3)."""
    spec = subject.run.inputs.plain_spec

    def make(path: Path, digest: str, numbers: Sequence[int]) -> np.ndarray:
        view = open_working(path, spec)
        return np.stack([plant(view, mark, digest, seed, number) for number in numbers])

    return make


def activations_of(subject: Subject, views: np.ndarray) -> np.ndarray:
    """Return the activations (N, C, h, w) of views, uint8 (N, S, S, 3), on the grid of the run's maps."""
    resolved = subject.run.resolved
    return Extractor(subject.backbone, EXACT, batch=resolved.batch, stride=resolved.stride).views(views)


def noisy_of(subject: Subject, views: np.ndarray, digests: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the activations of n noisy copies of views: (n, N, C, h', w') of all of them, averaged over cells behind a
    mean pool (h' = w' = 1), and (N, C, h, w) of the last copy on the grid of the run's maps."""
    explain, resolved, backbone = subject.run.config.explain, subject.run.resolved, subject.backbone
    grid = None if backbone.pool_kind == "mean" else backbone.strides[0]
    extractor = Extractor(backbone, EXACT, batch=resolved.batch, stride=grid)
    plain = normalise(torch.from_numpy(views), backbone.mean, backbone.std)
    values = []
    for copy in noisy_copies(plain, digests, noise=explain.noise, samples=explain.samples, seed=explain.seed):
        values.append(extractor.pictures(copy))
    noisy = np.stack(values)
    last = Extractor(backbone, EXACT, batch=resolved.batch, stride=resolved.stride).pictures(copy)
    return (noisy[..., None, None] if noisy.ndim == 3 else noisy), last


def _features(subject: Subject, what: str, keys: Sequence[Row], inputs: RowInputs, **more: Any) -> np.ndarray:
    """Return the features (N, D) of views. Those of a body that never trained are kept in the bank, so that a stopped
    check resumes; those of a fine-tuned one are computed now.

    Args:
        keys: those of a picture follow each other.
        more: everything else that changes the views.
    """
    if subject.kept:
        return FrozenBody(subject.run).values(what, keys, inputs, stride=None, **more)
    resolved = subject.run.resolved
    extractor = Extractor(subject.backbone, EXACT, batch=resolved.batch)
    pipeline = Pipeline(_paths(subject), inputs, extractor, extractor.batch, resolved.threads, extractor.on_cpu)
    values: dict[Row, np.ndarray] = {}
    with progress.bar(what, len(keys)) as advance:
        for rows, some in pipeline.compute(dict.fromkeys(keys)):
            values.update(zip(rows, some, strict=True))
            advance(len(rows))
    return np.stack([values[key] for key in keys])


def digests_of(subject: Subject, rows: np.ndarray) -> list[str]:
    """Return the digest of each catalog row."""
    return [subject.run.inputs.catalog.pictures[row].digest for row in rows.tolist()]


def _paths(subject: Subject) -> dict[str, Path]:
    catalog = subject.run.inputs.catalog
    return {picture.digest: catalog.path(picture) for picture in catalog.pictures}
