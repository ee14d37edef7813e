"""citycam compare, called as people do: on sweeps, runs and whatever else lies in a folder of results."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from citycam import cli, files
from tests.conftest import Outcome
from tests.report.made import answers, make_run

FILES = ["comparison.md", "comparison.csv", "comparison.html", "curves.png", "overlays.png"]


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``compare(folder)``: exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["citycam", "compare", *map(str, arguments)])
        capsys.readouterr()
        code = cli.main()
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A sweep of two runs."""
    make_run(tmp_path / "pair" / "0", answers(40, 2), overrides=["epochs=2"])
    make_run(tmp_path / "pair" / "1", answers(40, 20), overrides=["epochs=1"])
    return tmp_path / "pair"


@pytest.mark.slow
def test_the_end_of_a_sweep_and_the_command_write_the_same(train: Callable[..., Outcome], compare: Any) -> None:
    outcome = train("optimizer=sgd,adam", multirun=True)
    assert outcome.code == 0, outcome.err
    made = {name: (outcome.results / name).read_bytes() for name in FILES}
    for name in FILES:
        (outcome.results / name).unlink()
    code, out, _ = compare(outcome.results)
    assert code == 0
    assert {name: (outcome.results / name).read_bytes() for name in FILES} == made
    assert "majority" in out
    page = outcome.results / "comparison.html"
    last = f"Open {page} in a browser; beside it are comparison.md, comparison.csv, curves.png, overlays.png."
    assert out.splitlines()[-1] == last
    assert outcome.out.splitlines()[-1] == last


def test_a_sweep_in_which_all_fail_has_a_comparison(
    train: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    from citycam.train import run

    def fail(*_: object) -> None:
        raise RuntimeError("No.")

    monkeypatch.setattr(run, "make_datamodule", fail)
    outcome = train("seed=0,1", multirun=True)
    assert outcome.code == 1
    assert "RuntimeError: No." in (outcome.results / "comparison.md").read_text()
    assert (outcome.results / "comparison.html").exists()


@pytest.mark.slow
def test_after_ctrl_c_the_files_tell_what_was_done(
    train: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    from citycam.model.module import CityModule

    step = CityModule.training_step

    def stop_in_the_second_run(self: Any, *arguments: Any) -> Any:
        if self.trainer.max_epochs == 2:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(CityModule, "training_step", stop_in_the_second_run)
    outcome = train("epochs=1,2", multirun=True)
    assert outcome.code == 130
    rows = files.read_csv(outcome.results / "comparison.csv")
    assert sorted(row["status"] for row in rows) == ["completed", "interrupted"]
    jobs = json.loads((outcome.results / "sweep.json").read_text())["jobs"].values()
    assert sorted(job["state"] for job in jobs) == ["done", "interrupted"]
    assert "interrupted: Stopped by Ctrl-C." in outcome.out


def test_a_sweep_does_not_start_where_its_comparison_could_not_be_written(train: Callable[..., Outcome]) -> None:
    files.write_text(Path("multirun/s/curves.png"), "mine")
    outcome = train("epochs=1", multirun=True)
    assert outcome.code == 2
    assert "curves.png was not written by a comparison" in outcome.err
    assert not outcome.runs


def test_several_sweeps_go_beside_the_first_and_a_folder_of_sweeps_into_it(
    pair: Path, tmp_path: Path, compare: Any
) -> None:
    make_run(tmp_path / "other" / "0", answers(40, 4), overrides=["epochs=2"])
    assert compare(pair, tmp_path / "other")[0] == 0
    text = (tmp_path / "comparison-pair-other" / "comparison.md").read_text()
    assert "| sweep |" in text.replace("| # ", "")
    assert "| pair/1 |" in text
    assert compare(tmp_path)[0] == 0
    assert (tmp_path / "comparison.md").read_text() == text


def test_a_runs_own_folder_is_left_as_it_is(pair: Path, compare: Any) -> None:
    before = {path.name for path in (pair / "0").iterdir()}
    assert compare(pair / "0")[0] == 0
    assert {path.name for path in (pair / "0").iterdir()} == before
    assert (pair / "comparison-0" / "comparison.csv").exists()
    code, _, err = compare(pair, "--out", pair / "1")
    assert code == 2
    assert "is a run's own folder; give --out FOLDER" in err


@pytest.mark.parametrize("name", FILES)
def test_what_is_not_ours_is_not_written_over(pair: Path, compare: Any, name: str) -> None:
    (pair / name).write_text("mine")
    code, _, err = compare(pair)
    assert code == 2
    assert f"{pair / name} was not written by a comparison and is not written over" in err
    assert sorted(path.name for path in pair.iterdir()) == ["0", "1", name]
    assert (pair / name).read_text() == "mine"


def test_a_folder_without_runs_is_a_sentence(tmp_path: Path, pair: Path, compare: Any) -> None:
    (tmp_path / "empty").mkdir()
    for folder, words in ((tmp_path / "empty", "holds no run"), (tmp_path / "none", "is no folder")):
        code, _, err = compare(pair, folder)
        assert code == 2
        assert err == f"citycam: {folder} {words}; give the folder of a run, of a sweep, or of several sweeps.\n"
    assert not (pair / "comparison.md").exists()


def test_damaged_and_foreign_runs_stay_as_rows(pair: Path, compare: Any) -> None:
    make_run(pair / "newer", answers(40, 3), overrides=["epochs=3"], schema=9)
    make_run(pair / "foreign", answers(40, 3), data="x", final={"val_accuracy": "high"}, split=[1])
    foreign = json.loads((pair / "foreign" / "run.json").read_text())
    files.write_json(pair / "foreign" / "run.json", foreign | {"classes": 5, "seed": "a", "overrides": [7, "x"]})
    make_run(pair / "cut", answers(40, 3))
    record = (pair / "cut" / "run.json").read_bytes()
    (pair / "cut" / "run.json").write_bytes(record[: len(record) // 2])
    make_run(pair / "list", answers(40, 3))
    files.write_json(pair / "list" / "run.json", [1])
    files.write_text(pair / "begun" / ".hydra" / "overrides.yaml", "- epochs=9\n")
    for place in ("0", "newer"):
        (pair / place / "metrics.csv").write_bytes(b"\xff\xfe")
    files.write_text(pair / "0" / "explain" / "maps.npz", "no archive")
    (pair / "1" / "predictions.csv").unlink()
    code, out, err = compare(pair)
    assert code == 0, err
    for words in (
        "written by a newer citycam (schema 9; this one knows 1)",
        "(cut) unreadable: run.json cannot be read",
        "(list) unreadable: run.json was not written by citycam",
        "(begun) interrupted: The run stopped before it wrote run.json.",
        "could not be tested against 1: predictions.csv is missing",
    ):
        assert words in " ".join(out.split())
    rows = files.read_csv(pair / "comparison.csv")
    assert {row["run"] for row in rows} == {"0", "1", "newer", "foreign", "cut", "list", "begun"}
    assert {row["run"]: row["val_accuracy"] for row in rows}["cut"] == "0.925"
    assert {row["run"]: row["epochs"] for row in rows}["begun"] == "9"


def test_what_can_be_compared_is_told_in_the_files(pair: Path, compare: Any) -> None:
    make_run(pair / "2", answers(40, 3), overrides=["epochs=2", "seed=1"], seed=1)
    make_run(pair / "3", answers(40, 5), classes=["rest", "brill"])
    shutil.copytree(pair / "0", pair / "0seed0")
    (pair / "0" / "run.json").unlink()
    shutil.rmtree(pair / "0")
    code, out, _ = compare(pair)
    assert code == 0
    told = {row["run"]: row for row in files.read_csv(pair / "comparison.csv")}
    assert told["0seed0"]["row"] == told["2"]["row"] == "1"
    assert told["2"]["seeds"] == "2"
    assert float(told["2"]["row_accuracy"]) == pytest.approx(0.9375)
    assert [told[name]["rank"] for name in ("2", "1", "3")] == ["best", "below", ""]
    assert told["3"]["compared_among"].startswith("brill against the rest")
    words = " ".join(out.split())
    assert "1 is significantly above every row tested against it" in words
    assert "(paired test over the same 40 validation pictures, level 5 %)." in words
    assert "accuracy is their mean, and its interval covers other seeds (Student's) and other pictures" in words
    assert "Runs with different data, classes or split are in separate tables" in words


def test_comparing_needs_no_torch(pair: Path) -> None:
    code = (
        "import sys; from citycam.cli import main; sys.argv = ['citycam', 'compare', sys.argv[1]]; main()\n"
        "print({'torch', 'pytorch_lightning', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, pair], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert json.loads((pair / "0" / "run.json").read_text())["status"] == "completed"


def test_few_walks_are_said_in_the_run_and_in_the_comparison(train: Callable[..., Outcome]) -> None:
    outcome = train("optimizer=sgd,adam", "data.group='level:1'", "explain.methods=[]", multirun=True)
    assert outcome.code == 0, outcome.err
    for run in outcome.runs:
        record = json.loads((run / "run.json").read_text())
        assert (record["final"]["groups"], record["final"]["effective_groups"]) == (3, 3)
        assert "few_groups" in [warning["code"] for warning in record["warnings"]]
    rows = files.read_csv(outcome.results / "comparison.csv")
    assert [row["rank"] for row in rows] == ["best", "too few walks to tell"]
    assert all("few_groups" in row["marks"].split() for row in rows)
    assert "vary as 3.0 of equal size" in outcome.out.replace("\n", " ")
