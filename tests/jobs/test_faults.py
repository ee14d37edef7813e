"""What ends a job or a sweep badly, for real: exceptions, exits, kills, Ctrl-C, locks, full and read-only disks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT, Outcome, small_settings

Train = Callable[..., Outcome]


def record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return content


ENDS: dict[str, tuple[BaseException, str]] = {
    "raise": (RuntimeError("the roof fell in"), "RuntimeError: the roof fell in"),
    "exit 0": (SystemExit(0), "The job ended itself (exit code 0)."),
    "exit 3": (SystemExit(3), "The job ended itself (exit code 3)."),
    "memory": (MemoryError(), "Memory ran out"),
    "device memory": (torch.OutOfMemoryError("CUDA out of memory"), "Memory of the device ran out"),
}


@pytest.mark.parametrize("end", ENDS)
def test_one_job_that_ends_badly_is_a_row_and_the_others_go_on(
    end: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from citycam.train import run

    error, sentence = ENDS[end]
    real = run.make_datamodule

    def failing(planned: Any, network: Any) -> Any:
        if planned.config.seed == 1:
            raise error
        return real(planned, network)

    monkeypatch.setattr(run, "make_datamodule", failing)
    outcome = train("seed=0,1,2", "explain=none", multirun=True)
    assert outcome.code == 1
    records = {record(folder)["seed"]: record(folder) for folder in outcome.runs}
    assert {seed: one["status"] for seed, one in records.items()} == {0: "completed", 1: "failed", 2: "completed"}
    assert sentence in records[1]["error"]
    printed = " ".join((outcome.out + outcome.err).split())
    assert sentence.split(" (")[0] in printed
    assert "seed=1" in printed
    if end == "raise":
        (folder,) = [one for one in outcome.runs if record(one)["seed"] == 1]
        assert "Traceback" in (folder / "run.log").read_text()
    monkeypatch.setattr(run, "make_datamodule", real)
    again = train("seed=0,1,2", "explain=none", multirun=True)
    assert again.code == 0
    assert "2 of them done before" in again.err
    assert record(next(f for f in again.runs if record(f)["seed"] == 1))["attempts"] == 2


def test_training_that_diverges_is_a_sentence(train: Train) -> None:
    outcome = train("optimizer=sgd", "optimizer.lr=1e30", "epochs=3", "explain=none")
    assert outcome.code == 1
    assert "try a smaller optimizer.lr" in outcome.err


CHILD = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background of a shell
sys.path.insert(0, {root!r})
from citycam.model import module
real = module.CityModule.training_step
def step(self, batch, index):
    if self.current_epoch == 1:
        os.kill(os.getpid(), signal.{signal})
    return real(self, batch, index)
module.CityModule.training_step = step
import train
sys.argv = ["train.py", *{arguments!r}]
sys.exit(train.main())
"""


@pytest.mark.parametrize(
    ("name", "code", "status"),
    [("SIGKILL", -9, "running"), ("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "interrupted")],
)
def test_a_killed_or_stopped_run_is_found_interrupted_and_the_same_command_goes_on(
    name: str, code: int, status: str, train: Train, tmp_path: Path, cities: Path, tiny_weights: Path
) -> None:
    arguments = ["-m", *small_settings(cities, tiny_weights), "explain=none", "epochs=1,2"]
    child = subprocess.run(
        [sys.executable, "-c", CHILD.format(root=str(ROOT), signal=name, arguments=arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == code, child.stderr
    results = tmp_path / "multirun" / "s"
    states = {record(path.parent)["status"] for path in results.glob("*/run.json")}
    assert states == {"completed", status}
    assert not list(results.rglob("*.part"))
    errors = [record(path.parent)["error"] for path in results.glob("*/run.json")]
    assert ("Stopped by SIGTERM." in errors) is (name == "SIGTERM")
    from citycam.sweep.runs import read_runs

    assert {row.status for row in read_runs(results)} == {"completed", "interrupted"}
    again = train("epochs=1,2", "explain=none", multirun=True)
    assert again.code == 0, again.err
    assert "1 of them done before" in again.err
    assert {record(folder)["status"] for folder in again.runs} == {"completed"}


def test_a_run_that_another_process_trains_is_left_alone(train: Train) -> None:
    first = train("explain=none")
    folder = first.runs[0]
    content = record(folder)
    (folder / "run.json").write_text(json.dumps(content | {"status": "running"}))
    lock = folder.parent / ".locks" / f"{folder.name}.lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import filelock, sys; held = filelock.FileLock(sys.argv[1]); held.acquire(); print('held', flush=True);"
            "sys.stdin.read()",
            str(lock),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        before = (folder / "run.json").read_bytes()
        outcome = train("explain=none")
        assert outcome.code == 1
        assert "is being trained by another process" in outcome.err
        assert (folder / "run.json").read_bytes() == before
    finally:
        holder.communicate("")
    assert train("explain=none").code == 0


def mounted(folder: Path, options: str) -> bool:
    folder.mkdir()
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode == 0


DISK = 32 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB."""
    folder = tmp_path / "small"
    if os.geteuid() != 0 or not mounted(folder, f"size={DISK}"):
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_sentence_before_any_job(train: Train, small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * (DISK - 4 * 2**20))
    outcome = train(f"hydra.run.dir={small_disk}/s/run", "explain=none")
    assert outcome.code == 2
    assert "MB are free" in outcome.err
    assert not list(small_disk.rglob("run.json"))


def test_a_disk_that_fills_up_on_the_way_ends_in_a_sentence(
    train: Train, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from citycam.jobs import announce

    monkeypatch.setattr(announce, "RUN_BYTES", 0)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (DISK - 3 * 2**20))
    outcome = train(f"hydra.run.dir={small_disk}/s/run", "explain=none")
    assert outcome.code in (1, 2)
    assert "is full" in outcome.err
    assert not list(small_disk.rglob("*.part"))
    ballast.unlink()
    assert train(f"hydra.run.dir={small_disk}/s/run", "explain=none").code == 0


def test_a_read_only_results_folder_is_one_sentence(train: Train, tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    if os.geteuid() != 0 or not mounted(folder, "ro"):
        pytest.skip("mounting a read-only file system needs root")
    try:
        outcome = train(f"hydra.run.dir={folder}/s/run")
        assert outcome.code == 2
        assert "cannot be written" in outcome.err
        assert outcome.err.count("\n") == 1
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_wrong_weights_file_starts_nothing(train: Train, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"no weights")
    outcome = train(f"backbone.weights={path}")
    assert outcome.code == 2
    assert str(path) in outcome.err
    assert not outcome.runs


def test_results_are_never_written_over(train: Train) -> None:
    folder = train("explain=none", "hydra.run.dir=multirun/s/mine").runs[0]
    before = (folder / "run.json").read_bytes()
    outcome = train("explain=none", "hydra.run.dir=multirun/s/mine", "seed=5")
    assert outcome.code == 2
    assert "holds a run with other settings" in outcome.err
    assert (folder / "run.json").read_bytes() == before


WRONG_DATA = {
    "data.root=nowhere": "nowhere",
    "data.target=bril": "did you mean brill?",
    "split=group": "data.group",
    "backbone.name=mobilenetv2_03": "did you mean",
    "backbone.finetune=layer9": "blocks.5",
    "explain.stride=16 backbone.strides=[32]": "explain.stride=16",
}


@pytest.mark.parametrize("line", WRONG_DATA)
def test_what_the_heavy_gate_refuses_is_one_sentence_and_no_run(line: str, train: Train) -> None:
    outcome = train(*line.split(), "seed=0,1", multirun=True)
    assert outcome.code == 2
    sentences = [text for text in outcome.err.splitlines() if text.startswith("citycam: ")]
    assert WRONG_DATA[line] in sentences[-1]
    assert not outcome.runs


def test_an_interrupted_run_is_not_resumed_under_other_settings(
    train: Train, tmp_path: Path, cities: Path, tiny_weights: Path
) -> None:
    arguments = [*small_settings(cities, tiny_weights), "explain=none", "epochs=3", "hydra.run.dir=multirun/s/mine"]
    child = subprocess.run(
        [sys.executable, "-c", CHILD.format(root=str(ROOT), signal="SIGKILL", arguments=arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -9, child.stderr
    folder = tmp_path / "multirun" / "s" / "mine"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    asked = ("epochs=3", "explain=none", "hydra.run.dir=multirun/s/mine")
    outcome = train(*asked, "optimizer.lr=0.5", "seed=7")
    assert outcome.code == 2
    assert "holds a run with other settings (optimizer.lr=0.001 (now 0.5), seed=0 (now 7))" in outcome.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert train(*asked).code == 0


def test_what_a_person_keeps_in_a_runs_folder_stays(train: Train, tmp_path: Path) -> None:
    train("epochs=1", "explain=none")
    folder = next((tmp_path / "multirun" / "s").glob("*/run.json")).parent
    content = record(folder)
    (folder / "run.json").write_text(json.dumps(content | {"status": "failed", "versions": {}}))
    own = ["checkpoints/mine.ckpt", "events.out.tfevents.1.mine", ".notes.part", "notes/.a.part", "hparams.yaml.mine"]
    for name in own:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("precious")
    assert train("epochs=1", "explain=none").code == 0
    assert record(folder)["attempts"] == 2
    assert {name: (folder / name).read_text() for name in own} == dict.fromkeys(own, "precious")


def test_the_folder_of_another_program_of_hydra_is_refused(train: Train, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    for name in (".hydra/overrides.yaml", "checkpoints/last.ckpt"):
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text("precious")
    outcome = train("explain=none", "hydra.run.dir=theirs")
    assert (outcome.code, "holds files of others" in outcome.err) == (2, True)
    assert {path.read_text() for path in theirs.rglob("*") if path.is_file()} == {"precious"}


FOREIGN = ["checkpoints/last.ckpt", "metrics.csv", "events.out.tfevents.1.mine", "hparams.yaml", ".notes.part", "a.txt"]


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("multirun", [False, True])
def test_a_folder_of_others_is_refused_and_left_as_it_is(
    name: str, multirun: bool, train: Train, tmp_path: Path
) -> None:
    path = tmp_path / "theirs" / "folder" / name
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    # A sweep's own file beside it, or the sweep would be refused for its folder already.
    place = ["hydra.sweep.dir=theirs", "hydra.sweep.subdir=folder"] if multirun else ["hydra.run.dir=theirs/folder"]
    if multirun:
        (tmp_path / "theirs" / "sweep.json").write_text('{"schema": 1}')
    outcome = train("explain=none", *place, multirun=multirun)
    assert outcome.code == 2
    assert f"{tmp_path / 'theirs' / 'folder'} holds files of others" in outcome.err
    assert [file for file in (tmp_path / "theirs" / "folder").rglob("*") if file.is_file()] == [path]
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["notes.txt", "multirun.yaml", "bodies/a", "0/.hydra/config.yaml"])
def test_a_sweep_does_not_write_into_a_folder_that_holds_files_of_others(
    name: str, train: Train, tmp_path: Path
) -> None:
    path = tmp_path / "theirs" / name
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    outcome = train("explain=none", "hydra.sweep.dir=theirs", multirun=True)
    assert outcome.code == 2
    assert f"{tmp_path / 'theirs'} holds files of others and no sweep of citycam" in outcome.err
    assert [file for file in (tmp_path / "theirs").rglob("*") if file.is_file()] == [path]
    assert path.read_text() == "precious"


@pytest.mark.parametrize("left", ["sweep.json", "a run", "a hidden file"])
def test_a_sweep_goes_into_a_folder_of_ours(left: str, train: Train, tmp_path: Path) -> None:
    place = ("explain=none", f"hydra.sweep.dir={tmp_path / 'ours'}")
    if left == "a hidden file":
        (tmp_path / "ours").mkdir()
        (tmp_path / "ours" / ".DS_Store").write_bytes(b"")
    else:
        assert train(*place, multirun=True).code == 0
        if left == "a run":
            (tmp_path / "ours" / "sweep.json").unlink()
    outcome = train(*place, "optimizer=sgd", multirun=True)
    assert outcome.code == 0, outcome.err
