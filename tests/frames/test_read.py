"""Frames hold what the files hold, the examples of the docs run, and what is missing is one sentence."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import citycam
from citycam.errors import CitycamError
from citycam.files import read_csv
from citycam.report.stored_maps import read_maps as read_stored
from tests.conftest import ROOT, Outcome
from tests.report.page_runs import make_run

pandas = pytest.importorskip("pandas", reason="the extra frames is not installed")
Train = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "sweep" / "a")


def test_the_example_of_the_docs_runs(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = train("optimizer=sgd,adam", "explain.methods=[gradcam,integrated]", multirun=True)
    assert outcome.code == 0
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/notebook.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    with pandas.option_context("display.max_columns", None, "display.width", 1000):
        exec("\n".join(blocks).replace("multirun/NAME", "multirun/s"), {})
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("sgd", "adam", "val_accuracy", "integrated", "removal", "brill"))


def test_a_row_for_each_run_with_the_columns_of_the_comparison(train: Train) -> None:
    outcome = train("optimizer=sgd,adam", "explain=none", multirun=True)
    frame, written = citycam.read_runs(outcome.results), read_csv(outcome.results / "comparison.csv")
    assert list(frame.columns) == list(written[0])
    assert frame["run"].tolist() == [row["run"] for row in written]
    assert frame["val_accuracy"].tolist() == [float(row["val_accuracy"]) for row in written]
    one = citycam.read_runs(outcome.runs[0])
    assert one["run"].tolist() == [outcome.runs[0].name]


def test_answers_have_their_walks(train: Train) -> None:
    (run,) = train("explain=none", "data.group=level:1").runs
    frame, written = citycam.read_answers(run), read_csv(run / "predictions.csv")
    assert frame["picture"].tolist() == [row["path"] for row in written]
    assert frame["correct"].tolist() == [row["label"] == row["predicted"] for row in written]
    shares = [float(row[f"p_{row['predicted']}"]) for row in written]
    np.testing.assert_allclose(frame["probability"].astype(float), shares)
    assert all(
        f"/{walk.rpartition('/')[2]}/" in picture for picture, walk in zip(frame["picture"], frame["walk"], strict=True)
    )
    assert citycam.read_epochs(run)["epoch"].tolist() == [1]


def test_maps_are_those_that_are_shown(run: Path) -> None:
    frame, stored = citycam.read_maps(run), read_stored(run)
    assert len(frame) == len(stored.methods) * len(stored.digests)
    for (method, digest), its in frame.groupby(["method", "digest"]):
        (shown,) = its["map"]
        np.testing.assert_array_equal(shown, stored.methods[method].smoothed(stored.digests.index(digest)))


@pytest.mark.parametrize("name", citycam.__all__)
def test_what_is_missing_or_damaged_is_one_sentence(name: str, run: Path, tmp_path: Path) -> None:
    read = getattr(citycam, name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CitycamError, match="hold"):
        read(tmp_path / "empty")
    for path in run.rglob("*"):
        if path.is_file() and path.name != "run.json":
            path.write_bytes(b"\x00\xff not ours")
    if name != "read_runs":  # which shows a damaged run as one
        with pytest.raises(CitycamError, match=r"cannot be read|holds no"):
            read(run)


def test_without_pandas_it_says_what_to_install(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(CitycamError, match=r"citycam\[frames\]"):
        citycam.read_maps(run)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="read_everything"):
        citycam.read_everything  # noqa: B018
