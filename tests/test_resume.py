"""A run that was killed goes on where it stopped, and ends with the numbers of one that was left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT, Outcome, small_settings

Train = Callable[..., Outcome]

# A sweep as a process that kills itself when a function is called for the n-th time.
CHILD = """
import importlib, os, signal, sys
sys.path.insert(0, {root!r})
path, _, names = {function!r}.partition(":")
owner = importlib.import_module(path)
*parents, name = names.split(".")
for parent in parents:
    owner = getattr(owner, parent)
real, left = getattr(owner, name), {call}
def dying(*args, **kwargs):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)
setattr(owner, name, dying)
import train
sys.argv = ["train.py", *{arguments!r}]
sys.exit(train.main())
"""
SETTINGS = ("epochs=3", "optimizer=sgd,adam", "optimizer.decay_every=2", "explain.pictures=3")
MOMENTS = {
    "a step": ("citycam.model.module:CityModule.training_step", 5),
    "a checkpoint": ("citycam.model.checkpoint:write_bytes", 4),
    "maps": ("citycam.explain.callback:MapCallback.on_fit_end", 2),
}
MORE_MOMENTS = {
    "the bank": ("citycam.bank.extract:Extractor.views", 2),
    "the first step": ("citycam.model.module:CityModule.training_step", 1),
    "metrics": ("citycam.model.module:CityModule.on_validation_epoch_end", 2),
    "tables": ("citycam.run:write_results", 1),
    "the comparison": ("citycam.summary:write_comparison", 1),
}


def kill(function: str, call: int, folder: Path, cities: Path, tiny_weights: Path, *more: str) -> None:
    arguments = ["-m", *small_settings(cities, tiny_weights), *SETTINGS, *more]
    code = CHILD.format(root=str(ROOT), function=function, call=call, arguments=arguments)
    child = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert child.returncode == -9, child.stderr


def tables(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in ("metrics.csv", "predictions.csv", "confusion.csv")}


def weights(run: Path, name: str) -> dict[str, torch.Tensor]:
    content: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"]
    return content


def assert_equal(runs: list[Path], undisturbed: list[Path]) -> None:
    assert [run.name for run in runs] == [run.name for run in undisturbed]
    for run, other in zip(runs, undisturbed, strict=True):
        assert tables(run) == tables(other)
        for name in ("last.ckpt", "best.ckpt"):
            found, wanted = weights(run, name), weights(other, name)
            assert found.keys() == wanted.keys()
            assert all(torch.equal(found[key], wanted[key]) for key in wanted), (run.name, name)
        maps, same = (torch.from_numpy(_maps(one)) for one in (run, other))
        assert torch.equal(maps, same)


def _maps(run: Path) -> Any:
    import numpy as np

    with np.load(run / "explain" / "maps.npz") as arrays:
        return arrays["gradcam"]


def undisturbed(train: Train, folder: Path, *more: str) -> list[Path]:
    """The same sweep, left alone, in a folder of its own."""
    outcome = train(*SETTINGS, *more, f"hydra.sweep.dir={folder}", multirun=True)
    assert outcome.code == 0, outcome.err
    return sorted(path.parent for path in folder.glob("*/run.json"))


@pytest.mark.parametrize("moment", [*MOMENTS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_MOMENTS)])
def test_a_killed_sweep_ends_like_one_that_was_left_alone(
    moment: str, train: Train, tmp_path: Path, cities: Path, tiny_weights: Path
) -> None:
    # Views that nobody has passed yet: the bank is there to be killed.
    more = ("augment.seed=7",) if moment == "the bank" else ()
    kill(*(MOMENTS | MORE_MOMENTS)[moment], tmp_path, cities, tiny_weights, *more)
    again = train(*SETTINGS, *more, multirun=True)
    assert again.code == 0, again.err
    assert_equal(again.runs, undisturbed(train, tmp_path / "calm", *more))
    assert not list(again.results.rglob("*.part"))
    if moment in MOMENTS:
        went_on = [json.loads((run / "run.json").read_text())["resumed_after"] for run in again.runs]
        assert [epochs for epochs in went_on if epochs], went_on
        assert "goes on after epoch" in again.err


def test_other_versions_start_anew_and_say_so(train: Train, tmp_path: Path, cities: Path, tiny_weights: Path) -> None:
    kill(*MOMENTS["a step"], tmp_path, cities, tiny_weights)
    (half,) = [
        path
        for path in (tmp_path / "multirun" / "s").glob("*/run.json")
        if json.loads(path.read_text())["status"] == "running"
    ]
    content = json.loads(half.read_text())
    content["versions"]["torch"] = "1.0"
    half.write_text(json.dumps(content))
    again = train(*SETTINGS, multirun=True)
    assert again.code == 0, again.err
    assert "starts anew, since it was begun by other versions (torch 1.0 then, " in again.err
    assert json.loads(half.read_text())["resumed_after"] is None


def test_a_damaged_checkpoint_starts_anew_and_says_so(
    train: Train, tmp_path: Path, cities: Path, tiny_weights: Path
) -> None:
    kill(*MOMENTS["a step"], tmp_path, cities, tiny_weights)
    for checkpoint in (tmp_path / "multirun" / "s").glob("*/checkpoints/last.ckpt"):
        if json.loads((checkpoint.parents[1] / "run.json").read_text())["status"] == "running":
            checkpoint.write_bytes(checkpoint.read_bytes()[:-500])
    again = train(*SETTINGS, multirun=True)
    assert again.code == 0, again.err
    assert "starts anew:" in again.err
