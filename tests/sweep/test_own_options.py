"""A user's own folder of options is found, passes the same gate, and can set values only."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from citycam.errors import CitycamError
from citycam.sweep.command import Command
from citycam.sweep.gate import read_request
from tests.conftest import ROOT, Outcome

MINE = {
    "experiment/mine.yaml": "# @package _global_\ndefaults:\n  - override /optimizer: slow\nepochs: 2\n",
    "optimizer/slow.yaml": "defaults: [sgd, _self_]\nlr: 0.0001\n",
}
ROOT_OPTION = "# @package _global_\n"
SLOW = "defaults: [sgd, _self_]\n"
# File and content, what is asked for, and what is said.
WRONG = [
    ("optimizer/own.yaml", f"{SLOW}lerning_rate: 1", "optimizer.lerning_rate is no setting of optimizer=sgd"),
    ("optimizer/own.yaml", f"{SLOW}lr: much", "optimizer.lr cannot be: 'much' is no number."),
    ("optimizer/own.yaml", f"{SLOW}lr: -1", "optimizer.lr=-1.0 must be a positive number"),
    ("optimizer/own.yaml", "kind: sgd\nmomentum: 0.5", "start from one that has it, by 'defaults: [sgd, _self_]'."),
    ("optimizer/own.yaml", "- lr\n- 3", "is a list; an option is lines of NAME: VALUE."),
    ("optimizer/own.yaml", "lr: [", "is no YAML that can be read"),
    ("optimizer/own.yaml", f"# @package hydra.launcher\n{SLOW}", "must have no @package line"),
    (
        "optimizer/own.yaml",
        f"{SLOW}beta: {{deep: [{{_target_: os.system}}]}}",
        "names a _target_, which is code to run",
    ),
    ("optimizer/own.yaml", "defaults: [sgd, _self_, /hydra/launcher@hydra.launcher: joblib]", "lies below hydra"),
    ("optimizer/sgd.yaml", SLOW, "has the name of citycam's own optimizer=sgd; rename it."),
    ("experiment/own.yaml", f"{ROOT_OPTION}epochs: ten", "epochs cannot be: 'ten' is no whole number."),
    ("experiment/own.yaml", f"{ROOT_OPTION}epochs: 0", "epochs=0 must be a whole number of at least 1."),
    ("experiment/own.yaml", f"{ROOT_OPTION}epoch: 3", "epoch is no setting of citycam; did you mean epochs?"),
    ("experiment/own.yaml", "epochs: 3", "must have the line '# @package _global_' at its top"),
    ("experiment/own.yaml", f"{ROOT_OPTION}hydra: {{verbose: true}}", "sets what lies below hydra, which may run code"),
    ("experiment/own.yaml", f"{ROOT_OPTION}defaults: [override /hydra/launcher: joblib]", "lies below hydra"),
    ("experiment/own.yaml", f"{ROOT_OPTION}defaults: [override /optimzer: sgd]", "did you mean optimizer?"),
    (
        "experiment/own.yaml",
        f"{ROOT_OPTION}defaults: [override /optimizer: sdg]",
        "optimizer=sdg is not known; did you",
    ),
    ("experiment/own.yaml", f"{ROOT_OPTION}defaults: [/optimizer: sgd]", "optimizer is chosen twice"),
    ("own.yaml", "epochs: 3", "lies in no group's folder"),
    (".hidden/own.yaml", "epochs: 3", "lies in no group's folder"),
    ("optimzer/own.yaml", SLOW, "holds optimzer/, which is no group of settings; did you mean optimizer?"),
    ("hydra/launcher/own.yaml", "n_jobs: 2", "holds hydra/, which is no group of settings"),
]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with an experiment that chooses an optimizer of the same folder."""
    return write(tmp_path / "my options", MINE)


def test_own_options_are_chosen_like_those_of_conf(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    request = read_request(["experiment=mine", "--config-dir", mine.name, "sweep.name=s"])
    assert request is not None
    (job,) = request.jobs
    assert (job.config.epochs, job.config.optimizer.lr, job.config_dir) == (2, 0.0001, mine)
    same = read_request(["optimizer=sgd", "optimizer.lr=0.0001", "epochs=2"])
    assert same is not None
    assert job.hash == same.jobs[0].hash
    assert request.commands[0].words[:2] == ("--config-dir", str(mine))
    swept = read_request(["-m", "optimizer=glob(*)", "-cd", str(mine)])
    assert swept is not None
    assert len(swept.jobs) == 4


@pytest.mark.parametrize(("name", "content", "words"), WRONG, ids=[f"{row[0]}: {row[2][:30]}" for row in WRONG])
def test_a_wrong_option_is_one_sentence_and_no_job(
    name: str, content: str, words: str, tmp_path: Path, train: Callable[..., Outcome]
) -> None:
    folder = write(tmp_path / "own", {name: content})
    choice = f"{name.split('/')[0]}=own" if name.startswith(("experiment/own", "optimizer/own")) else "epochs=1"
    outcome = train("--config-dir", str(folder), choice, small=False)
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err
    assert outcome.err.startswith("citycam: ")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "multirun").exists()


def test_what_is_wrong_names_its_file(tmp_path: Path) -> None:
    folder = write(tmp_path, {"optimizer/own.yaml": f"{SLOW}lr: much"})
    with pytest.raises(CitycamError, match=f"^{tmp_path}/optimizer/own.yaml: optimizer.lr cannot be"):
        read_request(["--config-dir", str(folder), "optimizer=own"])


@pytest.mark.parametrize("word", ["--help", "--cfg=job", "epochs=1"])
def test_a_folder_that_is_not_there_is_one_sentence(word: str, tmp_path: Path) -> None:
    with pytest.raises(CitycamError, match=r"--config-dir /.*/nowhere cannot be read \(no such file or directory\)"):
        read_request(["--config-dir", str(tmp_path / "nowhere"), word])


def test_help_lists_own_options_too(mine: Path) -> None:
    words = [sys.executable, ROOT / "train.py", "--config-dir", mine, "--help"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "  experiment: mine, paper, photos, quick\n" in printed
    assert "  optimizer: adam, adamw, sgd, slow\n" in printed


@pytest.mark.slow
def test_jobs_run_with_own_options_and_a_sweep_of_them_is_resumed(mine: Path, train: Callable[..., Outcome]) -> None:
    words = ["--config-dir", str(mine), "experiment=mine", "epochs=1", "explain=none"]
    outcome = train("seed=0,1", *words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", multirun=True)
    assert outcome.code == 0, outcome.err
    records = [json.loads((run / "run.json").read_text()) for run in outcome.runs]
    assert len(records) == 2
    for run, record in zip(outcome.runs, records, strict=True):
        assert "lr: 0.0001" in (run / "config.yaml").read_text()
        assert Command.read(record["command"]).config_dir == mine
        assert "--config-dir" not in " ".join(record["overrides"])
    (line,) = json.loads((outcome.results / "sweep.json").read_text())["commands"]
    assert shlex.split(line)[:5] == ["python", "train.py", "--config-dir", str(mine), "-m"]

    lost = outcome.runs[0]
    shutil.rmtree(lost)
    again = train(f"sweep.resume={outcome.results}", small=False)
    assert again.code == 0, again.err
    assert (lost / "run.json").exists()

    moved = mine.rename(mine.with_name("elsewhere"))
    refused = train(f"sweep.resume={outcome.results}", small=False)
    assert (refused.code, "cannot be read (no such file or directory)" in refused.err) == (2, True)
    followed = train(f"sweep.resume={outcome.results}", "--config-dir", str(moved), small=False)
    assert followed.code == 0, followed.err
    assert "2 of them done before" in followed.err

    write(moved, {"optimizer/slow.yaml": f"{SLOW}lr: 0.5\n"})
    other = train(f"sweep.resume={outcome.results}", "--config-dir", str(moved), small=False)
    assert other.code == 2
    assert "optimizer.lr=0.0001 (now 0.5)" in other.err


def test_code_that_an_option_names_never_runs(tmp_path: Path) -> None:
    option = f"{ROOT_OPTION}hydra:\n  callbacks:\n    own: {{_target_: evil.Callback}}\n"
    folder = write(tmp_path / "own", {"experiment/own.yaml": option})
    write(tmp_path, {"evil.py": "import pathlib\npathlib.Path('ran').touch()\nclass Callback: pass\n"})
    for words in (["experiment=own"], ["experiment=own", "--cfg", "job"], ["experiment=own", "--help"]):
        ended = subprocess.run(
            [sys.executable, ROOT / "train.py", "--config-dir", folder, *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert not (tmp_path / "ran").exists()
