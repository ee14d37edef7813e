"""A run that was killed goes on where it stopped, and ends with the numbers of one that was left alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT, TINY, Outcome, small_settings

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
    "tables": ("citycam.train.run:write_results", 1),
    "the comparison": ("citycam.report.comparison:write_comparison", 1),
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


@pytest.mark.parametrize(
    "moment",
    ["a step", *(pytest.param(name, marks=pytest.mark.slow) for name in (MOMENTS | MORE_MOMENTS) if name != "a step")],
)
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
        assert "resumes after epoch" in again.err


@pytest.mark.slow
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
    assert "restarts, since it was started by other versions (torch 1.0 then, " in again.err
    assert json.loads(half.read_text())["resumed_after"] is None


@pytest.mark.slow
def test_a_damaged_checkpoint_starts_anew_and_says_so(
    train: Train, tmp_path: Path, cities: Path, tiny_weights: Path
) -> None:
    kill(*MOMENTS["a step"], tmp_path, cities, tiny_weights)
    for checkpoint in (tmp_path / "multirun" / "s").glob("*/checkpoints/last.ckpt"):
        if json.loads((checkpoint.parents[1] / "run.json").read_text())["status"] == "running":
            checkpoint.write_bytes(checkpoint.read_bytes()[:-500])
    again = train(*SETTINGS, multirun=True)
    assert again.code == 0, again.err
    assert "restarts, since " in again.err
    assert "is no whole checkpoint" in again.err


def half_done(sweep: Path) -> Path:
    """The one run that was being trained."""
    (found,) = [path.parent for path in sweep.glob("*/run.json") if read(path.parent)["status"] == "running"]
    return found


def read(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


@pytest.mark.slow
def test_a_run_whose_pictures_changed_meanwhile_starts_anew_and_says_so(
    train: Train, tmp_path: Path, cities: Path, tiny_weights: Path
) -> None:
    own = Path(shutil.copytree(cities, tmp_path / "own"))
    kill("citycam.model.module:CityModule.training_step", 3, tmp_path, own, tiny_weights)
    half = half_done(tmp_path / "multirun" / "s")
    some = next(own.rglob("*.png"))
    some.with_name("new.png").write_bytes(some.read_bytes()[:-1] + b"x")
    again = train(*SETTINGS, f"data.root={own}", multirun=True)
    assert again.code == 0, again.err
    sentence = f"{half.name} restarts, since pictures were added, changed or removed after it started."
    assert sentence in again.err
    assert {"code": "started_anew", "sentence": sentence} in read(half)["warnings"]


@pytest.mark.slow
def test_a_sweep_is_gone_on_with_from_anywhere_by_its_folder_alone(
    train: Train, tmp_path: Path, cities: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(*MOMENTS["a step"], tmp_path, cities, tiny_weights)
    sweep = tmp_path / "a sweep, moved=yes"
    (tmp_path / "multirun" / "s").rename(sweep)
    half = half_done(sweep)
    (half / "checkpoints" / ".last.ckpt.1@elsewhere.abc.part").write_bytes(b"half a checkpoint")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = train(f"sweep.resume='{sweep}'", multirun=True, small=False)
    assert again.code == 0, again.err
    assert "2 runs, 1 of them done before" in again.err
    assert f"{half.name} resumes after epoch 1." in again.err
    assert read(half)["resumed_after"] == 1
    runs = sorted(path.parent for path in sweep.glob("*/run.json"))
    assert_equal(runs, undisturbed(train, tmp_path / "calm"))
    assert not list(sweep.rglob("*.part"))
    assert not list((tmp_path / "elsewhere").iterdir())
    once_more = train(f"sweep.resume='{sweep}'", *SETTINGS, multirun=True, small=False)
    assert (once_more.code, "2 runs, 2 of them done before" in once_more.err) == (0, True), once_more.err
    assert read(half)["attempts"] == 2


def test_relative_paths_lead_from_where_the_sweep_was_asked_for(
    train: Train, tmp_path: Path, cities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").symlink_to(cities)
    begun = train("data.root=photos", "explain=none", multirun=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = train("sweep.resume=../multirun/s", multirun=True, small=False)
    assert (again.code, "1 run, 1 of them done before" in again.err) == (0, True), again.err
    assert len(begun.runs) == 1


def test_going_on_with_other_settings_is_refused_with_what_differs(train: Train) -> None:
    begun = train("epochs=1,2", "explain=none", multirun=True)
    (one, _) = begun.runs
    for more, what in (("epochs=1,3", "epochs=3"), ("batch_size=16", "batch_size=16")):
        refused = train(f"sweep.resume={begun.results}", more, multirun=True, small=False)
        assert refused.code == 2
        assert what in refused.err
        assert "is not part of it; give the same settings or none" in refused.err
    # As after a new version whose default differs: the same overrides mean another run.
    content = json.loads((begun.results / "sweep.json").read_text())
    for row in content["jobs"].values():
        row["hash"] = "00000000"
    (begun.results / "sweep.json").write_text(json.dumps(content))
    (one / "config.yaml").write_text((one / "config.yaml").read_text().replace("batch_size: 32", "batch_size: 8"))
    refused = train(f"sweep.resume={begun.results}", multirun=True, small=False)
    assert refused.code == 2
    assert f"{one.name} started with batch_size=8 (now 32)" in refused.err
    assert len(begun.runs) == 2


@pytest.mark.slow
def test_a_run_that_goes_on_on_another_kind_of_device_says_so(
    train: Train, tmp_path: Path, cities: Path, tiny_weights: Path
) -> None:
    kill(*MOMENTS["a step"], tmp_path, cities, tiny_weights)
    sweep = tmp_path / "multirun" / "s"
    half = half_done(sweep)
    content = json.loads((sweep / "sweep.json").read_text())
    for resolved in content["resolved"].values():
        resolved["device"] = "cuda:0"
    (sweep / "sweep.json").write_text(json.dumps(content))
    (half / "run.json").write_text(json.dumps(read(half) | {"device": "cuda:0"}))
    again = train(*SETTINGS, "trainer.accelerator=cpu", multirun=True)
    assert again.code == 0, again.err
    assert "This sweep started on cuda and resumes on cpu" in again.err
    assert read(half)["device"] == "cpu"
    (sentence,) = [one["sentence"] for one in read(half)["warnings"] if one["code"] == "begun_elsewhere"]
    assert sentence.startswith("It started on cuda (threads=1) and resumes on cpu (threads=1)")


@pytest.mark.slow
def test_several_commands_of_a_sweep_are_all_gone_on_with(train: Train) -> None:
    for command in (("epochs=1", "explain=none"), ("epochs=1,2", "optimizer=sgd", "explain=none")):
        assert train(*command, multirun=True).code == 0
    gone = train("epochs=1,2", "optimizer=sgd", "explain=none", multirun=True).runs[0]
    kept = {
        run: (run / "run.json").read_bytes() for run in gone.parent.glob("*/") if run != gone and "epochs" in run.name
    }
    shutil.rmtree(gone)
    again = train(f"sweep.resume={gone.parent}", multirun=True, small=False)
    assert again.code == 0, again.err
    assert "3 runs, 2 of them done before" in again.err
    assert read(gone)["status"] == "completed"
    assert kept == {run: (run / "run.json").read_bytes() for run in kept}
    assert len(json.loads((gone.parent / "sweep.json").read_text())["commands"]) == 2


@pytest.mark.parametrize("multirun", [pytest.param(True, marks=pytest.mark.slow), False])
def test_runs_with_the_long_names_of_older_versions_are_skipped_and_resumed(
    multirun: bool, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from citycam.model.module import CityModule

    real = CityModule.training_step

    def stopped(self: Any, batch: Any, index: int) -> Any:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return real(self, batch, index)

    monkeypatch.setattr(CityModule, "training_step", stopped)
    asked = [("epochs=1", "explain=none"), ("epochs=3", "explain=none")]
    first, second = (train(*words, multirun=multirun) for words in asked)
    assert (first.code, second.code) == (0, 130)
    monkeypatch.setattr(CityModule, "training_step", real)
    sweep = first.results
    text = (sweep / "sweep.json").read_text()
    for run in [path.parent for path in sweep.glob("*/run.json")]:
        name = f"{run.name[:-9]}-name{TINY}-strides_32_16_8-weightstiny.saf{run.name[-9:]}"
        text = text.replace(run.name, name)
        run.rename(run.with_name(name))
    (sweep / "sweep.json").write_text(text)
    before = {path.parent.name: read(path.parent) for path in sweep.glob("*/run.json")}
    for words in asked:
        again = train(*words, multirun=multirun)
        assert again.code == 0, again.err
    after = {path.name: read(path) for path in again.runs}
    assert after.keys() == before.keys()
    for name, record in before.items():
        assert (after[name] == record) is (record["status"] == "completed")
        assert (after[name]["status"], after[name]["resumed_after"] == 1) == ("completed", after[name] != record)


def test_a_completed_run_stands_where_sweep_json_is_gone(train: Train) -> None:
    one, other = train("epochs=1,2", "explain=none", multirun=True).runs
    before = {path: path.read_bytes() for path in one.rglob("*") if path.is_file()}
    shutil.rmtree(other)
    (one.parent / "sweep.json").unlink()
    again = train("epochs=1,2", "explain=none", multirun=True)
    assert again.code == 0, again.err
    assert before == {path: path.read_bytes() for path in one.rglob("*") if path.is_file()}
    assert read(other)["status"] == "completed"


def test_runs_of_other_versions_beside_new_ones_are_named(train: Train) -> None:
    (one,) = train("epochs=1", "explain=none", multirun=True).runs
    content = read(one)
    content["versions"]["torch"] = "1.0"
    (one / "run.json").write_text(json.dumps(content))
    again = train("epochs=1,2", "explain=none", multirun=True)
    assert "Other runs of this sweep were trained by other versions (torch 1.0 then, " in again.err
    (other,) = set(again.runs) - {one}
    assert "other_versions" in {warning["code"] for warning in read(other)["warnings"]}
    assert "trained by other versions" in (again.results / "comparison.md").read_text()
