"""The results of training in the run's folder: tables, figures, thumbnails, and the numbers of run.json."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from citycam.data.catalog import Catalog
from citycam.data.inputs import Inputs
from citycam.data.pictures import decode
from citycam.files import write_bytes, write_csv
from citycam.model import metrics
from citycam.model.module import CityModule
from citycam.report import figures, tables
from citycam.statistics import judge
from citycam.sweep.recorder import Recorder

# Pictures of the gallery can be enlarged.
_THUMB, _LARGE, _FEW, _WRITERS = 96, 160, 6, 8


def write_inputs(folder: Path, inputs: Inputs) -> None:
    """Write split.csv and skipped.csv."""
    rows = zip(inputs.catalog.pictures, inputs.split.parts, strict=True)
    tables.write_split(folder, ((p.name, p.digest, p.city, p.group, part) for p, part in rows))
    tables.write_skipped(folder, ((skipped.name, skipped.reason) for skipped in inputs.catalog.skipped))


def write_results(folder: Path, inputs: Inputs, module: CityModule, record: Recorder) -> None:
    """Write every table and figure of the last epoch, and record ``final`` and ``best``."""
    partition, classes = module.partition, inputs.labels.classes
    last = module.validation
    logits, labels, indices = last["logits"], last["labels"], last["indices"].numpy()
    final = flat_metrics(module.history[-1], logits, labels, partition, inputs)
    record.update(
        final=final,
        best=flat_metrics(module.best_row, module.best_validation["logits"], labels, partition, inputs),
    )
    tables.write_metrics(folder, module.history, metrics.MEASURES)
    pictures = [inputs.catalog.pictures[index] for index in indices.tolist()]
    shares = metrics.probabilities(logits, partition).numpy()
    predicted = metrics.predict(logits, partition).numpy()
    tables.write_predictions(
        folder / "predictions.csv",
        paths=[picture.name for picture in pictures],
        cities=[picture.city for picture in pictures],
        labels=labels.numpy(),
        predicted=predicted,
        probabilities=shares,
        classes=classes,
    )
    counts = metrics.confusion(logits, labels, partition)
    tables.write_confusion(folder, counts, classes)
    tables.write_per_class(folder, metrics.per_class(counts, classes))
    figures.write_confusion(folder / "confusion.png", counts, classes)
    figures.write_curves(folder / "curves.png", module.history, final["majority_accuracy"])
    write_thumbs(folder, inputs, indices, labels.numpy(), shares)


def flat_metrics(
    row: dict[str, float], logits: Tensor, labels: Tensor, partition: str, inputs: Inputs
) -> dict[str, Any]:
    """Return an epoch's metrics with the majority's accuracy, number of pictures, intervals and chance."""
    judgement = judge(metrics.predict(logits, partition).numpy(), labels.numpy(), inputs.groups_of(inputs.val))
    return {**row, **judgement.as_dict()}


def write_thumbs(folder: Path, inputs: Inputs, indices: np.ndarray, labels: np.ndarray, shares: np.ndarray) -> None:
    """Write thumbs/: small JPEGs, named by digest, of the most and least typical validation pictures of each class and
    the most confused ones, and index.csv, which says which is which. The most typical ones are predicted rightly."""
    rows: list[tuple[str, str, str, str, float]] = []
    own = shares[np.arange(len(labels)), labels]
    right = shares.argmax(axis=1) == labels
    for number, name in enumerate(inputs.labels.classes):
        places = np.flatnonzero(labels == number)
        ranked = places[np.argsort(-own[places], kind="stable")]
        typical = ranked[right[ranked]]
        rows += [_thumb_row(inputs, indices, own, "typical", name, place) for place in typical[:_FEW]]
        rows += [_thumb_row(inputs, indices, own, "untypical", name, place) for place in ranked[::-1][:_FEW]]
    wrong = np.flatnonzero(~right)
    surest = wrong[np.argsort(-shares[wrong].max(axis=1), kind="stable")][: 2 * _FEW]
    for place in surest:
        pair = f"{inputs.labels.classes[labels[place]]} as {inputs.labels.classes[shares[place].argmax()]}"
        rows.append(_thumb_row(inputs, indices, own, "confused", pair, place))
    write_thumb_files(folder, inputs.catalog, [row[1] for row in rows], _LARGE)
    write_csv(folder / "thumbs" / "index.csv", ["digest", "picture", "kind", "class", "own_probability"], rows)


def write_thumb_files(folder: Path, catalog: Catalog, names: Sequence[str], side: int = _THUMB) -> None:
    """Write thumbs/DIGEST.jpg of the catalog's pictures ``names``, at most ``side`` pixels a side, where it is not
    there."""
    digests = {picture.name: picture.digest for picture in catalog.pictures}

    def write(name: str) -> None:
        path = folder / "thumbs" / f"{digests[name]}.jpg"
        if path.exists():
            return
        image = Image.fromarray(decode(catalog.root / name))
        image.thumbnail((side, side))
        content = io.BytesIO()
        image.save(content, "JPEG", quality=80)
        write_bytes(path, content.getvalue())

    # Syncing a small file takes as long as making the next ones.
    with ThreadPoolExecutor(_WRITERS) as writers:
        for _ in writers.map(write, {digests[name]: name for name in names}.values()):
            pass


def _thumb_row(
    inputs: Inputs, indices: np.ndarray, own: np.ndarray, kind: str, name: str, place: Any
) -> tuple[str, str, str, str, float]:
    picture = inputs.catalog.pictures[int(indices[place])]
    return picture.digest, picture.name, kind, name, float(own[place])
