"""How good a network's answers are: pure functions of logits and labels, through torchmetrics.

Everything is computed from probabilities in double precision. torchmetrics takes numbers that all lie in [0, 1] for
probabilities, so logits never reach it. ``binary`` has one logit, of the target; its classes are 0 (rest) and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from citycam.errors import CitycamError

ECE_BINS = 15


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The answers of a class. ``precision`` is None if it was never answered, ``recall`` if it has no picture."""

    name: str
    n: int
    predicted: int
    precision: float | None
    recall: float | None


def loss(logits: Tensor, labels: Tensor, partition: str, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean of `losses`; differentiable.

    Weights are not divided by their sum in the batch: their mean over the training pictures is 1, and so a rare class
    counts the same in every batch.
    """
    return losses(logits, labels, partition, class_weights).mean()


def losses(logits: Tensor, labels: Tensor, partition: str, class_weights: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of each picture's logits, times the weight of its label, (N,); differentiable.

    Args:
        logits: (N, K), or (N, 1) of the target if ``partition`` is binary.
        labels: int64 (N,).
        partition: ``multi`` or ``binary``.
        class_weights: (K,), for binary (2,); None for equal weights.
    """
    if partition == "binary":
        each = F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), reduction="none")
    else:
        each = F.cross_entropy(logits, labels, reduction="none")
    return each if class_weights is None else each * class_weights.to(each)[labels]


def probabilities(logits: Tensor, partition: str) -> Tensor:
    """Return probabilities, float64 (N, K) on the CPU; binary has the columns rest and target."""
    exact = logits.detach().to("cpu", torch.float64)
    if partition == "binary":
        return torch.cat([torch.sigmoid(-exact), torch.sigmoid(exact)], dim=1)
    return torch.softmax(exact, dim=1)


def predict(logits: Tensor, partition: str) -> Tensor:
    """Return the answered class, int64 (N,): the largest logit; for binary the target if its logit is above 0."""
    return (logits.detach()[:, 0] > 0).long().cpu() if partition == "binary" else logits.detach().argmax(1).cpu()


@dataclass(frozen=True)
class Answers:
    """A network's answers to labelled pictures, as measures take them.

    Attributes:
        logits: (N, K), or (N, 1) of the target if ``partition`` is binary; N at least 1.
        labels: int64 (N,).
        partition: ``multi`` or ``binary``.
        class_weights: those of the training loss, or None.
        shares: probabilities, float64 (N, K); K is 2 if ``partition`` is binary.
        predicted: the answered classes, int64 (N,).
    """

    logits: Tensor
    labels: Tensor
    partition: str
    class_weights: Tensor | None
    shares: Tensor
    predicted: Tensor


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that says how good answers are; ``compute`` returns None if the labels leave it undefined."""

    compute: Callable[[Answers], float | None]
    higher_is_better: bool


def evaluate(logits: Tensor, labels: Tensor, partition: str, class_weights: Tensor | None = None) -> dict[str, float]:
    """Return every measure of `MEASURES`, each a finite number, without those that the labels leave undefined.

    Args:
        logits: (N, K), or (N, 1) of the target if ``partition`` is binary; N at least 1.
        labels: int64 (N,).
        partition: ``multi`` or ``binary``.
        class_weights: those of the training loss, or None.

    Raises:
        CitycamError: a logit is not finite: training has diverged.
    """
    _check_finite(logits)
    answers = Answers(
        logits=logits.detach().cpu(),
        labels=labels.detach().cpu(),
        partition=partition,
        class_weights=class_weights,
        shares=probabilities(logits, partition),
        predicted=predict(logits, partition),
    )
    values = {name: measure.compute(answers) for name, measure in MEASURES.items()}
    return {name: value for name, value in values.items() if value is not None}


def _loss(answers: Answers) -> float:
    """Return the training loss in double precision."""
    return float(loss(answers.logits.double(), answers.labels, answers.partition, answers.class_weights))


def _accuracy(answers: Answers) -> float:
    """Return the share of right answers."""
    return float((answers.predicted == answers.labels).double().mean())


def _balanced_accuracy(answers: Answers) -> float:
    """Return the mean recall over the classes that occur in the labels."""
    from torchmetrics.functional.classification import multiclass_recall

    k = answers.shares.shape[1]
    recalls = multiclass_recall(answers.predicted, answers.labels, k, average="none", validate_args=False)
    return float(recalls[torch.bincount(answers.labels, minlength=k) > 0].double().mean())


def _f1(answers: Answers) -> float:
    """Return the macro mean of F1 over the classes that occur or are answered."""
    from torchmetrics.functional.classification import multiclass_f1_score

    k = answers.shares.shape[1]
    return float(multiclass_f1_score(answers.predicted, answers.labels, k, average="macro", validate_args=False))


def _auroc(answers: Answers) -> float | None:
    """Return the mean area under the ROC curve of one class against the rest, over the classes with both (binary: the
    target's area)."""
    from torchmetrics.functional.classification import binary_auroc

    columns = [1] if answers.partition == "binary" else range(answers.shares.shape[1])
    areas = []
    for k in columns:
        own = (answers.labels == k).long()
        if 0 < int(own.sum()) < len(own):
            areas.append(float(binary_auroc(answers.shares[:, k], own, validate_args=False)))
    return sum(areas) / len(areas) if areas else None


def _ece(answers: Answers) -> float:
    """Return the expected calibration error of the answered class in `ECE_BINS` equal bins (Guo et al. 2017)."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    k = answers.shares.shape[1]
    return float(
        multiclass_calibration_error(answers.shares, answers.labels, k, n_bins=ECE_BINS, norm="l1", validate_args=False)
    )


# In the order of the columns of metrics.csv.
MEASURES: dict[str, Measure] = {
    "loss": Measure(_loss, higher_is_better=False),
    "accuracy": Measure(_accuracy, higher_is_better=True),
    "balanced_accuracy": Measure(_balanced_accuracy, higher_is_better=True),
    "f1": Measure(_f1, higher_is_better=True),
    "auroc": Measure(_auroc, higher_is_better=True),
    "ece": Measure(_ece, higher_is_better=False),
}


def confusion(logits: Tensor, labels: Tensor, partition: str) -> NDArray[np.int64]:
    """Count pictures by true class (rows) and answered class (columns), (K, K)."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    k = 2 if partition == "binary" else logits.shape[1]
    counts = multiclass_confusion_matrix(predict(logits, partition), labels.detach().cpu(), k, validate_args=False)
    return np.asarray(counts.numpy(), dtype=np.int64)


def per_class(counts: NDArray[np.int64], classes: tuple[str, ...]) -> list[ClassRow]:
    """Return precision and recall of each class from `confusion`'s counts."""
    rows = []
    for k, name in enumerate(classes):
        n, answered, right = int(counts[k].sum()), int(counts[:, k].sum()), int(counts[k, k])
        rows.append(ClassRow(name, n, answered, right / answered if answered else None, right / n if n else None))
    return rows


def _check_finite(logits: Tensor) -> None:
    if not bool(torch.isfinite(logits).all()):
        raise CitycamError(
            "The network answers with numbers that are not finite, so training has diverged; "
            "try a smaller optimizer.lr.",
            exit_code=1,
        )
