"""A test part is evaluated once, after training, with the last and the best weights, and shown where accuracies are."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from citycam.inference.new_pictures import find_pictures
from citycam.inference.predict import predict
from citycam.inference.runs import find_run
from citycam.statistics import judge
from tests.conftest import Outcome

Train = Callable[..., Outcome]
KINDS = {
    "features kept": (),
    "features not kept": ("bank.enabled=false",),
    "fine-tuned": ("backbone.finetune=conv_head", "optimizer.lr=0.01"),
    "binary": ("partition=binary",),
    "walks": ("data.group=level:1", "split.val=0.25"),
}


def record(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", KINDS)
def test_both_weights_are_evaluated_on_pictures_that_nothing_else_saw(kind: str, train: Train, cities: Path) -> None:
    outcome = train("split.test=0.25", "epochs=3", "explain=none", *KINDS[kind])
    assert outcome.code == 0, outcome.err
    (run,) = outcome.runs
    content, rows = record(run), table(run / "test_predictions.csv")
    parts = {row["path"]: row for row in table(run / "split.csv")}
    assert {parts[row["path"]]["part"] for row in rows} == {"test"}
    assert len(rows) == sum(row["part"] == "test" for row in parts.values()) == content["final"]["n_test"]
    classes = content["classes"]
    labels, answers = ([classes.index(row[column]) for row in rows] for column in ("label", "predicted"))
    groups = [parts[row["path"]]["group"] for row in rows] if kind == "walks" else None
    assert content["final"]["test_accuracy"] == pytest.approx(sum(map(int.__eq__, labels, answers)) / len(rows))
    judgement = judge(answers, labels, groups).as_dict("test")
    assert {name: content["final"][name] for name in judgement} == judgement
    for weights in ("last", "best"):
        ours = predict(find_run(run, weights), find_pictures(cities))
        answered = {name: ours.classes[number] for name, number in zip(ours.names, ours.predicted, strict=True)}
        right = [answered[row["path"]] == row["label"] for row in rows]
        metrics = content["final" if weights == "last" else "best"]
        assert metrics["test_accuracy"] == pytest.approx(sum(right) / len(rows)), weights
    assert content["seconds"]["test"] >= 0


def test_features_kept_or_not_give_the_same_answers(train: Train) -> None:
    asked = ("split.test=0.25", "explain=none")
    (kept,) = train(*asked, "hydra.run.dir=multirun/s/kept").runs
    before = (kept / "test_predictions.csv").read_bytes()
    train(*asked, "bank.enabled=false", "hydra.run.dir=multirun/s/passed")
    assert (kept.parent / "passed" / "test_predictions.csv").read_bytes() == before


def test_training_goes_on_from_the_weights_that_were_there(train: Train) -> None:
    """Evaluating the best weights leaves the last ones in place for whatever follows."""
    (run,) = train("split.test=0.25", "epochs=3", "optimizer.lr=0.05").runs
    states = [torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("last", "best")]
    assert states[0]["epoch"] == 2
    maps = (run / "explain" / "maps.npz").read_bytes()
    (alone,) = train("split.test=0.25", "epochs=3", "optimizer.lr=0.05", "sweep.name=again").results.parent.glob(
        "again/*/run.json"
    )
    assert (alone.parent / "explain" / "maps.npz").read_bytes() == maps


def test_it_stands_in_the_table_the_csv_and_the_page(train: Train) -> None:
    outcome = train("split.test=0.25", "seed=0,1", "explain=none", multirun=True)
    assert "test [95 %]" in outcome.out
    assert "test [95 %]" in (outcome.results / "comparison.md").read_text()
    rows = table(outcome.results / "comparison.csv")
    assert all(float(row["test_accuracy"]) >= 0 and float(row["best_test_accuracy"]) >= 0 for row in rows)
    assert '"n_test":' in (outcome.results / "comparison.html").read_text()


def test_without_a_test_part_nothing_is_said_of_one(train: Train) -> None:
    outcome = train("explain=none")
    (run,) = outcome.runs
    assert not (run / "test_predictions.csv").exists()
    assert not [name for name in record(run)["final"] if "test" in name]
    assert "test [95 %]" not in (outcome.results / "comparison.md").read_text()
