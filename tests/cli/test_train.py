"""citycam train and citycam explain are train.py and explain.py by another name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from citycam import cli
from tests.conftest import ROOT, Outcome, small_settings
from tests.sweeps import Ended, caller

Citycam = Callable[..., Ended]


@pytest.fixture
def citycam(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Citycam:
    monkeypatch.chdir(tmp_path)
    return caller(cli, "citycam", monkeypatch, capsys)


@pytest.mark.slow
def test_a_sweep_of_one_door_is_resumed_by_the_other(
    citycam: Citycam, train: Callable[..., Outcome], cities: Path, tiny_weights: Path
) -> None:
    small = small_settings(cities, tiny_weights)
    first = citycam("train", *small, "explain=none", "epochs=1,2", "-m")
    assert first.code == 0, first.err
    sweep = Path("multirun/s")
    runs = sorted(sweep.glob("*/run.json"))
    assert len(runs) == 2
    (line,) = json.loads((sweep / "sweep.json").read_text())["commands"]
    assert line.startswith("python train.py -m data=folder ")  # in files the command is the same, whatever the door
    assert all(json.loads(run.read_text())["command"].startswith("python train.py data=folder ") for run in runs)
    shutil.rmtree(runs[0].parent)
    second = train(f"sweep.resume={sweep}", small=False)
    assert second.code == 0, second.err
    shutil.rmtree(runs[1].parent)
    third = citycam("train", f"sweep.resume={sweep}")
    assert third.code == 0, third.err
    assert all(run.exists() for run in runs)
    assert json.loads((sweep / "sweep.json").read_text())["commands"] == [line]


def test_sentences_name_the_door_that_people_use(
    citycam: Citycam, train: Callable[..., Outcome], cities: Path, tiny_weights: Path
) -> None:
    assert "see citycam train --help." in citycam("train", "--fast").err
    assert "see python train.py --help." in train("--fast").err
    assert "see citycam explain --help." in citycam("explain", "--fast").err
    failed = ["optimizer=sgd", "optimizer.lr=1e30", "explain=none", "epochs=1"]
    outcome = citycam("train", *small_settings(cities, tiny_weights), *failed)
    assert outcome.code == 1
    assert "Again: citycam train " in " ".join(outcome.out.split())
    (run,) = Path("multirun/s").glob("*/run.json")
    assert "finish it with citycam train " in citycam("explain", f"run={run.parent}").err


def test_explain_has_its_help(citycam: Citycam) -> None:
    outcome = citycam("explain", "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert "  citycam explain run=multirun/NAME/RUN " in outcome.out


def test_the_commands_help_lists_every_command(citycam: Citycam) -> None:
    outcome = citycam("--help")
    assert outcome.code == 0
    for name in ("train", "explain", "compare", "predict", "export", "bank", "doctor"):
        assert f"\n    {name} " in outcome.out
    assert "invalid choice: 'trian'" in citycam("trian").err


def test_help_of_the_command_loads_nothing_slow() -> None:
    code = (
        "import sys; sys.argv = ['citycam', '--help']\nfrom citycam import cli\n"
        "try: cli.main()\nexcept SystemExit: print(*{'torch', 'numpy', 'hydra', 'rich'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed.splitlines()[-1] == ""
