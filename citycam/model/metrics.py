"""How good a network's answers are: pure functions of logits and labels, through torchmetrics.

Everything is computed from probabilities in double precision. torchmetrics takes numbers that all lie in [0, 1] for
probabilities, so logits never reach it. ``binary`` has one logit, of the target; its classes are 0 (rest) and 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from citycam.errors import CitycamError

MEASURES = ("loss", "accuracy", "balanced_accuracy", "f1", "auroc", "ece")
HIGHER_IS_BETTER = {
    "loss": False,
    "accuracy": True,
    "balanced_accuracy": True,
    "f1": True,
    "auroc": True,
    "ece": False,
}
ECE_BINS = 15


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class's answers. ``precision`` is None where nothing was answered so, ``recall`` where it has no picture."""

    name: str
    n: int
    predicted: int
    precision: float | None
    recall: float | None


def loss(logits: Tensor, labels: Tensor, partition: str, class_weights: Tensor | None = None) -> Tensor:
    """The mean of `losses`; differentiable.

    Weights are not divided by their sum in the batch: their mean over the training pictures is 1, and so a rare class
    counts the same in every batch.
    """
    return losses(logits, labels, partition, class_weights).mean()


def losses(logits: Tensor, labels: Tensor, partition: str, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of each picture's logits, times the weight of its label, (N,); differentiable.

    Args:
        logits: (N, K), or (N, 1) of the target where ``partition`` is binary.
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
    """Probabilities, float64 (N, K) on the CPU; binary has the columns rest and target."""
    exact = logits.detach().to("cpu", torch.float64)
    if partition == "binary":
        return torch.cat([torch.sigmoid(-exact), torch.sigmoid(exact)], dim=1)
    return torch.softmax(exact, dim=1)


def predict(logits: Tensor, partition: str) -> Tensor:
    """The answered class, int64 (N,): the largest logit, for binary the target where its logit is above 0."""
    return (logits.detach()[:, 0] > 0).long().cpu() if partition == "binary" else logits.detach().argmax(1).cpu()


def evaluate(logits: Tensor, labels: Tensor, partition: str, class_weights: Tensor | None = None) -> dict[str, float]:
    """The measures of `MEASURES`, each a finite number; those that the labels leave undefined are left out.

    balanced_accuracy is the mean recall over the classes that occur in ``labels``; f1 the macro mean over the classes
    that occur or are answered; auroc the mean over classes of one against the rest, over classes with both (none: left
    out; for binary the target's); ece the expected calibration error of the answered class in 15 equal bins (Guo et
    al. 2017), for binary too.

    Args:
        logits: (N, K), or (N, 1) of the target where ``partition`` is binary; N at least 1.
        labels: int64 (N,).
        partition: ``multi`` or ``binary``.
        class_weights: those of the training loss, or None.

    Raises:
        CitycamError: a logit is not finite: training has diverged.
    """
    from torchmetrics.functional import classification as measures

    _check_finite(logits)
    truth, shares, answers = labels.detach().cpu(), probabilities(logits, partition), predict(logits, partition)
    k = shares.shape[1]
    recalls = measures.multiclass_recall(answers, truth, k, average="none", validate_args=False)
    f1 = measures.multiclass_f1_score(answers, truth, k, average="macro", validate_args=False)
    ece = measures.multiclass_calibration_error(shares, truth, k, n_bins=ECE_BINS, norm="l1", validate_args=False)
    found = {
        "loss": float(loss(logits.detach().cpu().double(), truth, partition, class_weights)),
        "accuracy": float((answers == truth).double().mean()),
        "balanced_accuracy": float(recalls[torch.bincount(truth, minlength=k) > 0].double().mean()),
        "f1": float(f1),
        "auroc": _auroc(shares, truth, partition),
        "ece": float(ece),
    }
    return {name: value for name, value in found.items() if value is not None}


def confusion(logits: Tensor, labels: Tensor, partition: str) -> NDArray[np.int64]:
    """Pictures counted by true class (rows) and answered class (columns), (K, K)."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    k = 2 if partition == "binary" else logits.shape[1]
    counts = multiclass_confusion_matrix(predict(logits, partition), labels.detach().cpu(), k, validate_args=False)
    return np.asarray(counts.numpy(), dtype=np.int64)


def per_class(counts: NDArray[np.int64], classes: tuple[str, ...]) -> list[ClassRow]:
    """Precision and recall of each class from `confusion`'s counts."""
    rows = []
    for k, name in enumerate(classes):
        n, answered, right = int(counts[k].sum()), int(counts[:, k].sum()), int(counts[k, k])
        rows.append(ClassRow(name, n, answered, right / answered if answered else None, right / n if n else None))
    return rows


def _auroc(shares: Tensor, truth: Tensor, partition: str) -> float | None:
    from torchmetrics.functional.classification import binary_auroc

    columns = [1] if partition == "binary" else range(shares.shape[1])
    areas = []
    for k in columns:
        own = (truth == k).long()
        if 0 < int(own.sum()) < len(own):
            areas.append(float(binary_auroc(shares[:, k], own, validate_args=False)))
    return sum(areas) / len(areas) if areas else None


def _check_finite(logits: Tensor) -> None:
    if not bool(torch.isfinite(logits).all()):
        raise CitycamError(
            "The network answers with numbers that are not finite, so training has diverged; "
            "try a smaller optimizer.lr.",
            exit_code=1,
        )
