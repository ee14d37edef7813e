"""Which parts of a network train, and what is refused before any does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import TINY, Outcome

Train = Callable[..., Outcome]


def record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return content


@pytest.mark.parametrize("finetune", ["all", "blocks.5"])
def test_finetuning_trains_what_it_says_and_nothing_else(finetune: str, train: Train, tiny_weights: Path) -> None:
    from safetensors.torch import load_file

    run = train(f"backbone.finetune={finetune}", "epochs=2", "explain.methods=[cam,smoothgradcampp]").runs[0]
    assert record(run)["backbone"]["finetune"] == finetune
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    given = load_file(tiny_weights)
    moved = {key for key, value in given.items() if not torch.equal(state[f"network.backbone.net.{key}"], value)}
    assert any(key.startswith("blocks.5") for key in moved)
    before = ("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4")
    assert any(key.startswith(before) for key in moved) is (finetune == "all")


@pytest.mark.parametrize(
    ("settings", "fitting"),
    [
        (("batch_size=19",), "batch_size=20"),  # of 39
        (("batch_size=1",), "batch_size=3"),
        (("batch_size=2", "trainer=ddp", "trainer.devices=2"), "batch_size=5"),
    ],
)
def test_a_step_of_one_picture_that_batch_norms_refuse_is_refused_before(
    settings: tuple[str, ...], fitting: str, train: Train
) -> None:
    outcome = train(*settings, "backbone.finetune=blocks.5", "image_size=32", "explain=none")
    assert (outcome.code, outcome.runs) == (2, []), outcome.err
    assert f"a step of 39 training pictures is left with one picture, and the batch norms of {TINY}" in outcome.err
    assert f"use {fitting}." in outcome.err


def test_a_step_of_one_picture_is_trained_where_that_is_possible(train: Train) -> None:
    assert train("batch_size=19", "backbone.finetune=blocks.5", "explain=none").code == 0


@pytest.mark.parametrize("finetune", ["blocks.5", "none", "'none'"])
def test_random_weights_with_a_part_that_trains_are_refused(finetune: str, train: Train) -> None:
    outcome = train("backbone.weights=random", f"backbone.finetune={finetune}")
    assert outcome.code == 2
    name = finetune.strip("'")
    assert f"backbone.finetune={name} keeps random weights as they are, but backbone.weights=random" in outcome.err
    assert not outcome.results.exists()


@pytest.mark.parametrize("finetune", [[], ["backbone.finetune=all"]])
def test_random_weights_train_the_whole_network(finetune: list[str], train: Train) -> None:
    run = train("backbone.weights=random", *finetune).runs[0]
    found = record(run)["backbone"]
    assert (found["weights"]["origin"], found["finetune"]) == ("random", "all")
