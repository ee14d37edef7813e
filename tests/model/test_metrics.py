"""Metrics against scikit-learn and numbers written out, and their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch.nn import functional as F

from citycam.errors import CitycamError
from citycam.model import metrics


def _answers(classes: int, n: int = 300, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    width = 1 if classes == 2 else classes
    logits = torch.randn(n, width, generator=generator) * 2
    logits += 1.5 * (labels[:, None] - 0.5 if classes == 2 else F.one_hot(labels, classes))
    return logits, labels


def _ece(confidence: np.ndarray, right: np.ndarray) -> float:
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    return float(sum(gaps))


@pytest.mark.parametrize("classes", [2, 5])
def test_measures_equal_scikit_learn(classes: int) -> None:
    logits, labels = _answers(classes)
    partition = "binary" if classes == 2 else "multi"
    values = metrics.evaluate(logits, labels, partition)
    shares = metrics.probabilities(logits, partition).numpy()
    answers, truth = shares.argmax(1), labels.numpy()
    areas = reference.roc_auc_score(truth, shares[:, 1] if classes == 2 else shares, multi_class="ovr")
    expected = {
        "loss": reference.log_loss(truth, shares),
        "accuracy": reference.accuracy_score(truth, answers),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, answers),
        "f1": reference.f1_score(truth, answers, average="macro"),
        "auroc": areas,
        "ece": _ece(shares.max(1), answers == truth),
    }
    assert list(values) == list(expected) == list(metrics.MEASURES)
    assert values == pytest.approx(expected, abs=1e-6)
    assert (metrics.confusion(logits, labels, partition) == reference.confusion_matrix(truth, answers)).all()


@pytest.mark.parametrize("partition", ["multi", "binary"])
@pytest.mark.parametrize("name", metrics.MEASURES)
def test_a_measure_grows_with_better_answers_where_higher_is_better(name: str, partition: str) -> None:
    labels = torch.arange(40) % 2
    signs = (2.0 * labels - 1.0)[:, None]
    logits = signs if partition == "binary" else torch.cat([-signs, signs], dim=1)
    right, wrong = (metrics.evaluate(factor * 9.0 * logits, labels, partition)[name] for factor in (1.0, -1.0))
    assert (right > wrong) == metrics.MEASURES[name].higher_is_better


def test_logits_between_0_and_1_are_not_taken_for_probabilities() -> None:
    values = metrics.evaluate(torch.tensor([[0.2], [0.4]]), torch.tensor([1, 1]), "binary")
    assert values["accuracy"] == 1.0
    assert values["ece"] == pytest.approx(1 - (1 / (1 + math.exp(-0.2)) + 1 / (1 + math.exp(-0.4))) / 2)


def test_loss_weighs_each_picture_by_its_class() -> None:
    logits, labels = torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([1, 1, 0])
    weights = torch.tensor([0.5, 3.0])
    by_hand = (3 * math.log1p(math.exp(-2)) + 3 * math.log1p(math.exp(1)) + 0.5 * math.log1p(math.exp(0.5))) / 3
    assert metrics.loss(logits, labels, "binary", weights).item() == pytest.approx(by_hand)
    # One logit z says the same as the two logits (0, z).
    two = torch.cat([torch.zeros(3, 1), logits], dim=1)
    assert metrics.loss(two, labels, "multi", weights).item() == pytest.approx(by_hand)
    assert metrics.loss(two, labels, "multi").item() == pytest.approx(F.cross_entropy(two, labels).item())


def test_loss_can_be_differentiated() -> None:
    logits = torch.zeros(4, 3, requires_grad=True)
    metrics.loss(logits, torch.tensor([0, 1, 2, 0]), "multi", torch.tensor([1.0, 2.0, 0.0])).backward()
    assert logits.grad is not None
    assert logits.grad[2].abs().sum() == 0


def test_probabilities_sum_to_one_and_keep_small_ones() -> None:
    shares = metrics.probabilities(torch.tensor([[40.0], [-700.0]]), "binary")
    assert shares.dtype == torch.float64
    assert shares.sum(1) == pytest.approx([1.0, 1.0])
    assert shares[0, 0].item() == pytest.approx(math.exp(-40), rel=1e-6, abs=0)
    assert 0 < shares[1, 1].item() < 1e-300


@pytest.mark.filterwarnings("error")
def test_a_class_without_pictures_counts_in_no_mean() -> None:
    # Class 2 never occurs, yet is answered once.
    logits = torch.tensor([[3.0, -1, 0], [3, 1, 0], [0, 3, 0], [0, 0, 3]])
    values = metrics.evaluate(logits, torch.tensor([0, 0, 1, 1]), "multi")
    assert values["balanced_accuracy"] == 0.75
    assert values["auroc"] == pytest.approx(np.mean([1.0, 0.75]))
    assert all(math.isfinite(value) for value in values.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("partition", ["binary", "multi"])
def test_with_one_class_auroc_is_left_out(partition: str) -> None:
    logits = torch.ones(5, 1) if partition == "binary" else torch.eye(5)[:, :3]
    values = metrics.evaluate(logits, torch.ones(5, dtype=torch.long), partition)
    assert set(values) == set(metrics.MEASURES) - {"auroc"}
    assert all(math.isfinite(value) for value in values.values())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_a_sentence(bad: float) -> None:
    with pytest.raises(CitycamError, match=r"diverged.*smaller optimizer\.lr") as caught:
        metrics.evaluate(torch.tensor([[bad], [0.0]]), torch.tensor([0, 1]), "binary")
    assert caught.value.exit_code == 1


def test_per_class_in_numbers() -> None:
    rows = metrics.per_class(np.array([[3, 1, 0], [0, 0, 0], [2, 0, 0]]), ("a", "b", "c"))
    assert rows == [
        metrics.ClassRow("a", 4, 5, 0.6, 0.75),
        metrics.ClassRow("b", 0, 1, 0.0, None),
        metrics.ClassRow("c", 2, 0, None, 0.0),
    ]
