"""Several devices for one model, here processes on the CPU: the numbers of one device, one folder, none left behind."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from citycam.files import read_csv
from citycam.processes import Child
from tests.conftest import ROOT, Outcome, small_settings
from tests.sweeps import caller

Train = Callable[..., Outcome]

# Of 39 pictures to train on, the last batch is one picture, and of 9 to validate on the only batch is not full.
SETTINGS = ("batch_size=19", "epochs=2", "explain.pictures=3", "optimizer=sgd", "optimizer.lr=0.05")
# What python runs first in every process: rank 1 does something when a step of the second epoch begins.
AT_A_STEP = """
import os, signal
if os.environ.get("RANK") == "{rank}":
    from citycam.model.module import CityModule
    real = CityModule.training_step
    def step(self, chunk, number):
        if self.current_epoch == 1:
            {what}
        return real(self, chunk, number)
    CityModule.training_step = step
"""


def rank_does(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch, rank: int = 1) -> None:
    (folder / "first").mkdir()
    (folder / "first" / "sitecustomize.py").write_text(AT_A_STEP.format(what=what, rank=rank))
    monkeypatch.setenv("PYTHONPATH", str(folder / "first"))


def record(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    content: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
    return content


def numbers(path: Path) -> tuple[list[str], np.ndarray]:
    """Column names and what is a number in a table, row by row."""
    rows = read_csv(path)
    values = []
    for row in rows:
        for cell in row.values():
            with contextlib.suppress(ValueError):
                values.append(float(cell))
    return list(rows[0]), np.array(values)


def assert_like(run: Path, one: Path) -> None:
    """Same weights, metrics and predictions, up to rounding."""
    for name in ("last", "best"):
        own, wanted = weights(run, name), weights(one, name)
        assert own.keys() == wanted.keys()
        for key, value in wanted.items():
            torch.testing.assert_close(own[key], value, rtol=1e-4, atol=1e-5)
    for name in ("metrics.csv", "predictions.csv"):
        (columns, values), (same, others) = numbers(run / name), numbers(one / name)
        assert columns == same
        np.testing.assert_allclose(values, others, rtol=1e-4, atol=1e-5)
    assert [row["path"] for row in read_csv(run / "predictions.csv")] == [
        row["path"] for row in read_csv(one / "predictions.csv")
    ]


@pytest.mark.slow
def test_a_sweep_by_two_devices_is_like_one_by_one_device(train: Train, tmp_path: Path) -> None:
    import_module("citycam.train.run")  # libraries may set variables when they are imported
    before = dict(os.environ)
    sweep = (*SETTINGS, "partition=binary,multi")
    both = train(*sweep, "trainer=ddp", multirun=True)
    assert both.code == 0, both.err
    assert dict(os.environ) == before
    alone = train(*sweep, f"hydra.sweep.dir={tmp_path / 'alone'}", multirun=True)
    assert alone.code == 0, alone.err
    singles = sorted(path.parent for path in (tmp_path / "alone").glob("*/run.json"))
    assert len(both.runs) == len(singles) == 2
    for run, one in zip(both.runs, singles, strict=True):
        assert_like(run, one)
        assert torch.get_num_threads() == 1
        content, single = record(run), record(one)
        assert content["status"] == "completed"
        assert (content["device"], content["devices"]) == ("cpu", ["cpu", "cpu"])
        assert single["devices"] == ["cpu"]
        assert content["pid"] == os.getpid()
        assert content["explained"].keys() == single["explained"].keys()
        assert content["final"]["val_accuracy"] == single["final"]["val_accuracy"]
        assert {"data", "model", "bank", "train", "maps", "files", "total"} <= content["seconds"].keys()
        # One process writes: the same files, once.
        names = [sorted(path.name.split(".")[0] for path in folder.iterdir()) for folder in (run, one)]
        assert names[0] == names[1]
    assert {record(run)["classes"][0] for run in both.runs} == {"arden", "rest"}


@pytest.mark.slow
def test_a_killed_rank_fails_the_job_and_one_device_goes_on(
    train: Train, children: list[Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_does("os.kill(os.getpid(), signal.SIGKILL)", tmp_path, monkeypatch)
    killed = train(*SETTINGS, "explain=none", "trainer=ddp")
    assert killed.code == 1
    assert "Process 2 of 2 that trained this model, on cpu, failed (killed by SIGKILL" in killed.err
    assert len(children) == 2
    assert all(child.code is not None for child in children)
    (run,) = killed.runs
    assert record(run)["status"] == "failed"
    assert "bank" in record(run)["seconds"]
    assert not list(run.rglob("*.part"))
    again = train(*SETTINGS, "explain=none")
    assert again.code == 0, again.err
    assert record(run)["resumed_after"] == 1
    alone = train(*SETTINGS, "explain=none", f"hydra.run.dir={tmp_path / 'alone' / 'run'}")
    assert alone.code == 0, alone.err
    assert_like(run, tmp_path / "alone" / "run")


@pytest.mark.slow
def test_sigterm_to_a_rank_interrupts_the_run(
    train: Train, children: list[Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_does("os.kill(os.getpid(), signal.SIGTERM)", tmp_path, monkeypatch)
    stopped = train(*SETTINGS, "explain=none", "trainer=ddp")
    assert stopped.code == 143, stopped.err
    assert all(child.code is not None for child in children)
    (run,) = stopped.runs
    assert (record(run)["status"], record(run)["error"]) == ("interrupted", "Stopped by SIGTERM.")


def test_a_loss_that_is_no_number_is_named_at_its_step(train: Train) -> None:
    outcome = train(*SETTINGS[:1], "epochs=2", "explain=none", "optimizer=sgd", "optimizer.lr=0.05,1e30", multirun=True)
    assert outcome.code == 1
    runs = {record(run)["status"]: run for run in outcome.runs}
    assert runs.keys() == {"completed", "failed"}
    assert_diverged(runs["failed"], runs["completed"])


def assert_diverged(run: Path, other: Path) -> None:
    """The first step of 1e30 leads away, so the loss of the second is none; both runs saw the same batches."""
    error = record(run)["error"]
    assert error.startswith("Training has diverged in epoch 1, step 2 of 3: the loss is ")
    assert "try a smaller optimizer.lr (it is 1e+30)." in error
    assert error in (run / "run.log").read_text()
    rows = read_csv(run / "diverged.csv")
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "2")] * 19
    known = {row["path"] for row in read_csv(run / "split.csv") if row["part"] == "train"}
    names = [row["picture"] for row in rows]
    assert len(set(names)) == 19
    assert set(names) <= known
    lost = [row["picture"] for row in rows if not np.isfinite(float(row["loss"]))]
    assert ", ".join(lost[:3]) in error
    assert f"and {len(lost) - 3} more pictures" in error
    assert not (other / "diverged.csv").exists()


@pytest.mark.slow
def test_ranks_name_the_same_step_and_pictures_as_one_device(train: Train, tmp_path: Path) -> None:
    settings = (SETTINGS[0], "epochs=2", "explain=none", "optimizer=sgd", "optimizer.lr=1e30")
    both, alone = train(*settings, "trainer=ddp"), train(*settings, f"hydra.run.dir={tmp_path / 'alone' / 'run'}")
    assert both.code == alone.code == 1
    one = tmp_path / "alone" / "run"
    assert_diverged(both.runs[0], tmp_path)
    assert record(both.runs[0])["error"] == record(one)["error"]
    tables = [read_csv(run / "diverged.csv") for run in (both.runs[0], one)]
    assert [row["picture"] for row in tables[0]] == [row["picture"] for row in tables[1]]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_what_a_rank_raises_is_the_jobs_failure_with_its_traceback(
    rank: int,
    train: Train,
    children: list[Child],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rank_does("raise KeyError('the roof fell in')", tmp_path, monkeypatch, rank)
    outcome = train(*SETTINGS, "explain=none", "trainer=ddp")
    assert outcome.code == 1
    (run,) = outcome.runs
    assert "KeyError: 'the roof fell in'" in record(run)["error"]
    assert "sitecustomize.py" in (run / "run.log").read_text()
    assert all(child.code is not None for child in children)


@pytest.mark.slow
@pytest.mark.parametrize("more", [("bank.enabled=false",), ("epochs=3", "batch_size=2")])
def test_other_ways_of_training_are_like_one_device_too(more: tuple[str, ...], train: Train, tmp_path: Path) -> None:
    given = {override.partition("=")[0] for override in more}
    settings = [item for item in (*SETTINGS, "explain=none") if item.partition("=")[0] not in given]
    both = train(*settings, *more, "trainer=ddp", "trainer.devices=2")
    alone = train(*settings, *more, f"hydra.run.dir={tmp_path / 'alone' / 'run'}")
    assert both.code == alone.code == 0, both.err
    assert_like(both.runs[0], tmp_path / "alone" / "run")


@pytest.mark.slow
def test_killed_ranks_that_go_on_end_with_the_very_numbers_of_undisturbed_ones(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_does("os.kill(os.getpid(), signal.SIGKILL)", tmp_path, monkeypatch, 0)
    assert train(*SETTINGS, "trainer=ddp").code == 1
    monkeypatch.delenv("PYTHONPATH")
    again = train(*SETTINGS, "trainer=ddp")
    assert again.code == 0, again.err
    (run,) = again.runs
    assert record(run)["resumed_after"] == 1
    calm = tmp_path / "calm" / "run"
    assert train(*SETTINGS, "trainer=ddp", f"hydra.run.dir={calm}").code == 0
    for name in ("metrics.csv", "predictions.csv"):
        assert (run / name).read_bytes() == (calm / name).read_bytes()
    own, wanted = weights(run), weights(calm)
    assert all(torch.equal(own[key], wanted[key]) for key in wanted)


@pytest.mark.slow
def test_an_interrupted_run_of_one_device_goes_on_by_three(
    train: Train, tmp_path: Path, cities: Path, tiny_weights: Path
) -> None:
    code = AT_A_STEP.format(what="os.kill(os.getpid(), signal.SIGKILL)", rank="0")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nimport train; sys.exit(train.main())"
    arguments = [*small_settings(cities, tiny_weights), *SETTINGS, "explain=none"]
    child = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, env=os.environ | {"RANK": "0"}, check=False
    )
    assert child.returncode == -9
    again = train(*SETTINGS, "explain=none", "trainer=ddp", "trainer.devices=3")
    assert again.code == 0, again.err
    (run,) = again.runs
    assert record(run)["resumed_after"] == 1
    alone = train(*SETTINGS, "explain=none", f"hydra.run.dir={tmp_path / 'alone' / 'run'}")
    assert alone.code == 0, alone.err
    assert_like(run, tmp_path / "alone" / "run")


@pytest.mark.slow
def test_batch_norms_that_train_on_cpus_are_warned_of_and_all_ranks_validate_what_is_kept(
    train: Train, cities: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from citycam import cli

    outcome = train(*SETTINGS, "explain=none", "backbone.finetune=blocks.5", "trainer=ddp")
    assert outcome.code == 0, outcome.err
    (run,) = outcome.runs
    codes = [warning["code"] for warning in record(run)["warnings"]]
    assert codes.count("batch_norm_per_device") == 1
    again = caller(cli, "citycam", monkeypatch, capsys)("predict", run, cities)
    assert again.code == 0, again.err
    rows = {row["path"]: row for row in csv.DictReader(io.StringIO(again.out))}
    for row in read_csv(run / "predictions.csv"):
        shares = [[float(one[key]) for key in row if key.startswith("p_")] for one in (row, rows[row["path"]])]
        np.testing.assert_allclose(*shares, atol=1e-5)


@pytest.mark.slow
def test_a_fine_tuned_body_without_batch_norms_is_like_one_device(train: Train, tmp_path: Path) -> None:
    settings = [*SETTINGS, "explain=none", "backbone.finetune=all", "backbone.name=convnext_atto"]
    settings += ["backbone.weights=random", "backbone.strides=[32]"]
    both = train(*settings, "trainer=ddp")
    alone = train(*settings, f"hydra.run.dir={tmp_path / 'alone' / 'run'}")
    assert both.code == alone.code == 0, both.err
    assert_like(both.runs[0], tmp_path / "alone" / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_ranks_end_with_the_process_that_started_them(
    name: str, tmp_path: Path, cities: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A rank says that it is there, and ends its parent; then it waits for ever.
    what = (
        f"print(os.getpid(), file=open('pid', 'w'), flush=True); os.kill(os.getppid(), signal.{name}); signal.pause()"
    )
    rank_does(what, tmp_path, monkeypatch)
    arguments = [*small_settings(cities, tiny_weights), *SETTINGS, "explain=none", "trainer=ddp"]
    job = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=tmp_path,
        # Ctrl-C is ignored where tests run in the background of a shell.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        check=False,
    )
    assert job.returncode == {"SIGKILL": -signal.SIGKILL, "SIGINT": 130}[name]
    pid = int((tmp_path / "pid").read_text())
    if name == "SIGKILL":  # nobody is left to wait for it
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            fd = os.pidfd_open(pid)
            import select

            assert select.select([fd], [], [], 60)[0], "the rank is still there"
    else:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        (run,) = (path.parent for path in (tmp_path / "multirun" / "s").glob("*/run.json"))
        assert record(run)["status"] == "interrupted"
