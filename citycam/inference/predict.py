"""Classify new pictures with a trained run, and judge the answers if the names of folders give labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from citycam import progress
from citycam.bank.build import Pipeline, RowInputs, view_inputs
from citycam.bank.extract import Extractor, filled_up
from citycam.data.pictures import digest
from citycam.data.views import ViewSpec, plain_spec
from citycam.errors import UnreadablePicture
from citycam.inference.network import load_network, resolve_here
from citycam.inference.new_pictures import PictureFiles, labels_from_folders
from citycam.inference.own_pictures import read_own, recorded_root
from citycam.inference.runs import TrainedRun
from citycam.model import metrics
from citycam.model.network import Network
from citycam.resolved import Resolved
from citycam.statistics import Judgement, judge


@dataclass(frozen=True)
class Predictions:
    """The answers for the pictures that could be read.

    Attributes:
        names: N.  classes: K.  predicted: class numbers (N,).  probabilities: float64 (N, K).
        unreadable: name to reason of the others.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    unreadable: dict[str, str]


@dataclass(frozen=True)
class Verdict:
    """How good the answers are, over pictures of known class that did not train the run.

    Attributes:
        judgement: None if no such picture is left.  confusion: true class by answer (K, K).
        unknown: pictures whose class is not known.  trained: pictures of known class left out because they trained it.
        note: where the classes come from.
    """

    judgement: Judgement | None
    confusion: NDArray[np.int64]
    unknown: int
    trained: int
    note: str


class Classifier:
    """A run's network with the preparation of pictures, ready to classify.

    Raises:
        CitycamError: the checkpoint or its frozen body is missing, damaged, or of another run.
    """

    def __init__(self, run: TrainedRun) -> None:
        self.run = run
        self.resolved: Resolved = resolve_here(run)
        torch.set_num_threads(self.resolved.threads)
        self.network: Network = load_network(run, self.resolved)
        self.spec: ViewSpec = plain_spec(run.config.image_size, run.config.data.decoder)
        self._extractor = Extractor(self.network.backbone, self.resolved.arithmetic, batch=self.resolved.batch)

    def __call__(self, files: PictureFiles) -> Predictions:
        """Classify pictures; the result names those that cannot be read."""
        unreadable: dict[str, str] = {}
        parts = []
        with progress.bar("predict", len(files.names)) as advance:
            for rows, logits in self._pipeline(files, unreadable).compute((name, 0) for name in files.names):
                parts.append(logits)
                advance(len(rows))
        return self._answers(files, torch.from_numpy(np.concatenate(parts)), unreadable)

    def _pipeline(self, files: PictureFiles, unreadable: dict[str, str]) -> Pipeline:
        """From pictures by name to logits; names and reasons of those that cannot be read go to ``unreadable``."""
        return Pipeline(
            paths={name: files.path(name) for name in files.names},
            inputs=_forgiving(view_inputs(self.spec), self.spec.image_size, unreadable),
            extract=self._logits,
            batch=self.resolved.batch,
            threads=self.resolved.threads,
            turns=self._extractor.on_cpu,
        )

    def _logits(self, views: np.ndarray) -> np.ndarray:
        features = torch.from_numpy(self._extractor.views(views)).to(self.resolved.device)
        # The head, too, rounds otherwise in a short batch, which other pictures would then make of a picture's.
        with torch.inference_mode():
            logits = self.network.from_features(filled_up(features, self.resolved.batch))
        return logits[: len(views)].cpu().numpy()

    def _answers(self, files: PictureFiles, logits: torch.Tensor, unreadable: dict[str, str]) -> Predictions:
        read = [place for place, name in enumerate(files.names) if name not in unreadable]
        logits, partition = logits[read], self.run.config.partition.name
        return Predictions(
            names=tuple(files.names[place] for place in read),
            classes=self.run.classes,
            predicted=metrics.predict(logits, partition).numpy(),
            probabilities=metrics.probabilities(logits, partition).numpy(),
            unreadable={name: unreadable[name] for name in sorted(unreadable)},
        )


def predict(run: TrainedRun, files: PictureFiles) -> Predictions:
    """Classify pictures with a run; see `Classifier`."""
    return Classifier(run)(files)


def verify(predictions: Predictions, run: TrainedRun, files: PictureFiles) -> Verdict | None:
    """Judge the answers by the names of folders; None if no folder is named like a class of the run.

    Pictures of the run's training part do not count, compared byte for byte. Intervals are over walks if the run knows
    the walk of every picture that counts; else pictures are taken as independent.
    """
    if not predictions.names:
        return None
    truth = labels_from_folders(predictions.names, predictions.classes, run.config.partition)
    if truth is None:
        return None
    parts = _parts_of(run)
    known = np.flatnonzero(truth.labels >= 0)
    seen = [parts.get(digest(files.path(predictions.names[place])), ("", None)) for place in known.tolist()]
    new = [number for number, (part, _) in enumerate(seen) if part != "train"]
    counted = known[new]
    labels, answers = truth.labels[counted], predictions.predicted[counted]
    groups = [seen[number][1] for number in new]
    counts = np.zeros((len(predictions.classes),) * 2, dtype=np.int64)
    np.add.at(counts, (labels, answers), 1)
    return Verdict(
        judgement=judge(answers, labels, groups if all(groups) else None) if len(counted) else None,
        confusion=counts,
        unknown=len(truth.labels) - len(known),
        trained=len(known) - len(counted),
        note=truth.note,
    )


def _parts_of(run: TrainedRun) -> dict[str, tuple[str, str | None]]:
    """Return part and walk of the run's pictures by digest; one in training and elsewhere counts as training."""
    catalog, split = read_own(run, recorded_root(run))
    known = [
        (picture.digest, (part, picture.group)) for picture, part in zip(catalog.pictures, split.parts, strict=True)
    ]
    return dict(sorted(known, key=lambda row: row[1][0] == "train"))


def rows(predictions: Predictions) -> list[list[str | float]]:
    """Return the rows of a table: path, predicted class, a probability per class."""
    named = (predictions.classes[number] for number in predictions.predicted.tolist())
    columns = zip(predictions.names, named, predictions.probabilities.tolist(), strict=True)
    return [[name, answer, *shares] for name, answer, shares in columns]


def _forgiving(inputs: RowInputs, size: int, unreadable: dict[str, str]) -> RowInputs:
    """As ``inputs``, but a picture that cannot be read is noted and replaced by a black one."""

    def make(path: Path, name: str, numbers: Sequence[int]) -> np.ndarray:
        try:
            return inputs(path, name, numbers)
        except UnreadablePicture as error:
            unreadable[name] = error.reason
            return np.zeros((len(numbers), size, size, 3), dtype=np.uint8)

    return make
