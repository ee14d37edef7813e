"""The scores of real runs: the table, run.json, further maps that they need, and what is left out."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from citycam.explain.scores import others
from citycam.explain.scores.others import rival
from citycam.explain.targets import Contrast, Difference, LogitTarget, Negative, Target
from citycam.explain_config import SCORES
from tests.conftest import Outcome

Train = Callable[..., Outcome]
CONTROLS = ["random", "centred", "edges", "activation_norm"]
CHEAP = ["removal", "removal_order", "sparseness", "contrast"]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "explain/scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def explained(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "run.json").read_text())["explained"]
    return facts


def check(folder: Path, names: list[str], methods: list[str]) -> None:
    """The table has every map, and run.json the means of its columns."""
    rows, scores = table(folder), explained(folder)["scores"]
    maps = [*methods, *CONTROLS, *(f"dealt_{method}" for method in methods)]
    assert list(rows[0]) == ["picture", "digest", "method", *names]
    assert [row["method"] for row in rows[: len(maps)]] == maps
    assert list(scores) == maps
    pictures = list(dict.fromkeys(row["digest"] for row in rows))
    assert len(rows) == len(maps) * len(pictures)
    for method in maps:
        for name in names:
            values = [float(row[name]) for row in rows if row["method"] == method and row[name]]
            entry = scores[method][name]
            assert entry["n"] == len(values)
            assert entry["n"] + entry["excluded"] == len(pictures)
            assert entry["mean"] == (pytest.approx(np.mean(values)) if values else None)
    assert list(explained(folder)["about_scores"]) == names


def test_every_run_has_the_cheap_scores(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(others, "LEAST", 2)
    methods = ["cam", "layercam", "integrated"]
    run = train(f"explain.methods=[{','.join(methods)}]").runs[0]
    check(run, CHEAP, methods)
    scores = explained(run)["scores"]
    assert scores["cam"]["removal_order"]["mean"] > 0.9
    assert scores["integrated"]["contrast"]["n"] == 2  # its maps of the runner-up cost passes
    assert scores["layercam"]["contrast"]["n"] == 3
    assert "maps" in (run.parent / "comparison.html").read_text()


@pytest.mark.slow
def test_all_scores_of_a_run(train: Train) -> None:
    methods = ["gradcam", "smoothgradcampp", "integrated"]
    overrides = (f"explain.methods=[{','.join(methods)}]", f"explain.scores=[{','.join(SCORES)}]", "explain.samples=2")
    (run,) = train(*overrides).runs
    known = [name for name in SCORES if name not in ("pointing", "energy", "pixel_auc", "effect_order")]
    check(run, known, methods)
    scores = explained(run)["scores"]
    for name in known:
        assert [scores[method][name]["n"] for method in [*methods, *CONTROLS]] == [3] * 7, name
    assert scores["random"]["stability"]["mean"] == pytest.approx(1)
    assert scores["edges"]["stability"]["mean"] < 1
    (sentence,) = [
        warning["sentence"]
        for warning in json.loads((run / "run.json").read_text())["warnings"]
        if warning["code"] == "scores_left_out"
    ]
    assert "pointing, energy, pixel_auc, effect_order of explain.scores are left out" in sentence


def test_an_earlier_stage_is_scored_too(train: Train) -> None:
    scored = "explain.scores=[contrast,stability,removal]"
    outcome = train("explain.methods=[gradcam]", "explain.layer=blocks.2", scored, "explain.samples=1")
    scores = explained(outcome.runs[0])["scores"]
    assert all(scores["gradcam"][name]["n"] == 3 for name in ("contrast", "stability", "removal"))


def test_without_scores_there_is_no_table(train: Train) -> None:
    (run,) = train("explain.methods=[cam]", "explain.scores=[]").runs
    assert not (run / "explain/scores.csv").exists()
    assert "scores" not in explained(run)


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (LogitTarget(2), LogitTarget(1)),
        (LogitTarget(1), LogitTarget(3)),
        (Contrast(1), Contrast(3)),
        (Difference(1, 0), Difference(0, 1)),
    ],
)
def test_the_runner_up_is_the_highest_other(target: Target, wanted: Target) -> None:
    assert rival(target, torch.tensor([0.5, 4.0, 1.0, 2.0])) == wanted


def test_with_one_logit_the_runner_up_is_the_rest() -> None:
    assert rival(LogitTarget(0), torch.tensor([3.0])) == Negative(0)
    assert rival(Negative(0), torch.tensor([3.0])) == LogitTarget(0)
