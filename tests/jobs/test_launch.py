"""Several jobs at a time: the same numbers, a device each, and what is left when one of them goes down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from citycam.processes import is_gone
from tests.conftest import ROOT, Outcome, small_settings

Train = Callable[..., Outcome]
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
# Read by every Python that starts: a job of a launcher's process kills one, once, and would stay for ever.
KILLS_ONCE = """
import multiprocessing, os, pathlib, signal
import citycam.jobs.job
begin, once = citycam.jobs.job._train, pathlib.Path({once!r})
def killing(attempt):
    if attempt.config.epochs == 2 and not once.exists():
        once.touch()
        os.kill({victim}, signal.{signal})
        signal.pause()
    begin(attempt)
citycam.jobs.job._train = killing
"""
ITSELF, ITS_PARENT = "os.getpid()", "multiprocessing.parent_process().pid"


def read(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


def tables(runs: list[Path]) -> dict[str, tuple[bytes, bytes]]:
    return {run.name: ((run / "metrics.csv").read_bytes(), (run / "predictions.csv").read_bytes()) for run in runs}


def test_joblib_gives_the_numbers_of_the_basic_launcher_and_each_job_a_share_of_the_machine(
    train: Train, tmp_path: Path
) -> None:
    asked = ("optimizer=sgd,adam", "partition=binary,multi", "explain=none")
    together = train(*asked, *JOBLIB, multirun=True)
    assert together.code == 0, together.err
    train(*asked, f"hydra.sweep.dir={tmp_path / 'alone'}", multirun=True)
    assert tables(together.runs) == tables(sorted(path.parent for path in (tmp_path / "alone").glob("*/run.json")))
    assert len(together.runs) == 4
    for run in together.runs:
        assert (read(run)["device"], read(run)["devices"], read(run)["threads"]) == ("cpu", ["cpu"], 1)


def test_a_job_that_fails_leaves_the_others_and_is_listed_with_its_log_and_command(train: Train) -> None:
    outcome = train("optimizer=sgd", "optimizer.lr=0.01,1e30,0.02", "explain=none", *JOBLIB, multirun=True)
    assert outcome.code == 1
    states = {run: read(run)["status"] for run in outcome.runs}
    (failed,) = [run for run, state in states.items() if state == "failed"]
    assert sorted(states.values()) == ["completed", "completed", "failed"]
    printed = " ".join(outcome.out.split())
    assert f"Log: {failed / 'run.log'}".replace(" ", "") in printed.replace(" ", "")
    assert "optimizer.lr=1e+30" in read(failed)["command"]
    assert "Again: python train.py" in printed
    assert "citycam: 3 runs: 2 done, 1 failed; the same command resumes" in outcome.err
    again = train("optimizer=sgd", "optimizer.lr=0.01,1e30,0.02", "explain=none", multirun=True)
    assert f"{failed.name} failed before (" in again.err
    assert (again.code, read(failed)["attempts"]) == (1, 2)


def test_after_a_failure_fail_fast_starts_no_further_job(train: Train) -> None:
    asked = ("optimizer=sgd", "optimizer.lr=1e30,0.01", "explain=none", "sweep.fail_fast=true")
    outcome = train(*asked, multirun=True)
    assert outcome.code == 1
    assert [read(run)["status"] for run in outcome.runs] == ["failed"]
    assert "1 failed, 1 missing" in outcome.err
    assert "is not started, since another job has failed (sweep.fail_fast=true)." in outcome.err
    assert "It never started." in outcome.out
    # An earlier failure stops nothing: the rest has its chance first.
    again = train("optimizer=sgd", "optimizer.lr=0.01,1e30", "explain=none", "sweep.fail_fast=true", multirun=True)
    assert sorted(read(run)["status"] for run in again.runs) == ["completed", "failed"]


@pytest.fixture
def sweep_that_kills(
    tmp_path: Path, cities: Path, tiny_weights: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A sweep of four as a process; in its first call a job kills the given process."""

    def call(victim: str, signal: str = "SIGKILL") -> subprocess.CompletedProcess[str]:
        site = tmp_path / "site"
        site.mkdir(exist_ok=True)
        text = KILLS_ONCE.format(once=str(tmp_path / "done"), victim=victim, signal=signal)
        (site / "sitecustomize.py").write_text(text)
        arguments = ["-m", *small_settings(cities, tiny_weights), "epochs=1,2,3,4", "explain=none", *JOBLIB]
        # Ends when all have ended that write to its pipes: also the processes of the launcher.
        return subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def done(sweep: Path) -> dict[str, bytes]:
    """run.json of the completed runs."""
    records = {path.parent.name: path.read_bytes() for path in sweep.glob("*/run.json")}
    return {name: content for name, content in records.items() if json.loads(content)["status"] == "completed"}


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_that_was_done(
    tmp_path: Path, sweep_that_kills: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    sweep, first = tmp_path / "multirun" / "s", sweep_that_kills(ITSELF)
    assert first.returncode == 1, first.stderr
    assert "Hydra's launcher failed (TerminatedWorkerError" in first.stderr
    assert "run the same command again for the rest" in first.stderr
    assert "Traceback" not in first.stderr
    jobs, completed = json.loads((sweep / "sweep.json").read_text())["jobs"], done(sweep)
    assert len(jobs) == 4
    assert {name for name, row in jobs.items() if row["state"] == "done"} == set(completed)
    assert {row["state"] for row in jobs.values()} - {"done"} <= {"interrupted", "missing"}
    assert all(name in (sweep / "comparison.csv").read_text() for name in jobs)
    second = sweep_that_kills(ITSELF)
    assert second.returncode == 0, second.stderr
    assert "leak" not in second.stderr  # what libraries say when a process takes them apart
    assert set(done(sweep)) == set(jobs)
    assert {name: done(sweep)[name] for name in completed} == completed
    claims = [path.name for path in Path(os.environ["CITYCAM_CACHE"]).rglob("slots/*/*")]
    assert claims == ["claims.lock"]


@pytest.mark.slow
def test_sigterm_to_a_worker_interrupts_the_sweep_like_ctrl_c(
    tmp_path: Path, sweep_that_kills: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    sweep, first = tmp_path / "multirun" / "s", sweep_that_kills(ITSELF, "SIGTERM")
    assert first.returncode == 143, first.stderr
    assert "Traceback" not in first.stderr
    assert "citycam: stopped; run the same command again to resume." in first.stderr
    states = {row["state"] for row in json.loads((sweep / "sweep.json").read_text())["jobs"].values()}
    assert {"interrupted"} <= states <= {"done", "interrupted", "missing"}
    second = sweep_that_kills(ITSELF, "SIGTERM")
    assert second.returncode == 0, second.stderr
    assert len(done(sweep)) == 4


@pytest.mark.slow
def test_sigterm_to_a_sweep_interrupts_all_that_its_workers_run(
    tmp_path: Path, sweep_that_kills: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    sweep, first = tmp_path / "multirun" / "s", sweep_that_kills(ITS_PARENT, "SIGTERM")
    assert first.returncode == 143, first.stderr
    assert "Traceback" not in first.stderr
    assert "citycam: stopped; run the same command again to resume." in first.stderr
    begun = [json.loads(path.read_text()) for path in sweep.glob("*/run.json")]
    assert {record["status"] for record in begun} in ({"interrupted"}, {"interrupted", "completed"})
    assert {record["error"] for record in begun} <= {"Stopped by SIGTERM.", None}
    assert all(is_gone(record["host"], record["pid"]) for record in begun)
    states = {row["state"] for row in json.loads((sweep / "sweep.json").read_text())["jobs"].values()}
    assert {"interrupted"} <= states <= {"done", "interrupted", "missing"}
    second = sweep_that_kills(ITS_PARENT, "SIGTERM")
    assert second.returncode == 0, second.stderr
    assert len(done(sweep)) == 4


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(
    tmp_path: Path, sweep_that_kills: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    sweep, first = tmp_path / "multirun" / "s", sweep_that_kills(ITS_PARENT)
    assert first.returncode == -9, first.stderr
    second = sweep_that_kills(ITS_PARENT)
    assert second.returncode == 0, second.stderr
    assert len(done(sweep)) == 4


@pytest.mark.parametrize("words", [("hydra.launcher.n_jobs=64",), ()])
def test_no_more_jobs_run_at_a_time_than_there_is_room_for(words: tuple[str, ...], train: Train) -> None:
    from citycam.devices import cpu_devices

    cores = len(cpu_devices())
    outcome = train("seed=0,1", "explain=none", f"threads={cores}", "hydra/launcher=joblib", *words, multirun=True)
    assert outcome.code == 0, outcome.err
    assert f"cpu, 1 job at a time, {cores} thread" in outcome.err
    assert ("hydra.launcher.n_jobs=64, but there is room for 1 at a time" in outcome.err) == bool(words)
