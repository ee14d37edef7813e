"""A sweep of citycam 0.1: every door reads it, gives the numbers that it gave then, and finishes what was interrupted.

tests/fixtures/README.md says what the archive holds.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import math
import platform
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sweeps import Ended, caller, only, read

ARCHIVE = Path(__file__).parent / "fixtures" / "sweep-0.1.tar.xz"
SWEEP = Path("multirun/old")
METHODS = ("gradcampp", "layercam", "hirescam")

Door = Callable[..., Ended]


def unpack(place: Path) -> Path:
    """The archive, as if ``place`` and this machine were where it was trained."""
    # Python 3.11.0 to 3.11.3 know no filters.
    trusted: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(place, **trusted)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    change(place / SWEEP / "sweep.json", working_folder=str(place))
    change(only(place / SWEEP, "epochs3") / "run.json", pid=ended.pid, host=platform.node())
    return place


def completed(partition: str) -> Path:
    return only(SWEEP, f"epochs2-linear-sgd-{partition}")


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, for tests that only read it."""
    return unpack(tmp_path_factory.mktemp("fixture"))


@pytest.fixture
def here(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the archive's folder: what it names is relative to it."""
    monkeypatch.chdir(unpacked)


@pytest.fixture
def citycam(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Door:
    from citycam import cli

    return caller(cli, "citycam", monkeypatch, capsys)


def same(cell: str, before: str, tolerance: float) -> bool:
    """Whether two cells of tables are equal, numbers up to ``tolerance``."""
    try:
        return math.isclose(float(cell), float(before), rel_tol=tolerance, abs_tol=tolerance)
    except ValueError:
        return cell == before


@pytest.mark.usefixtures("here")
def test_compare_gives_the_same_table(citycam: Door, tmp_path: Path) -> None:
    outcome = citycam("compare", SWEEP, "--out", tmp_path)
    assert outcome.code == 0, outcome.err
    rows, before = read(tmp_path / "comparison.csv"), read(Path("by_old/compare/comparison.csv"))
    assert len(before) == 3
    for row, old in zip(rows, before, strict=True):
        old.pop("error")  # it names the process that is gone
        assert {name: row[name] for name in old if not same(row[name], old[name], 1e-6)} == {}, row["run"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("partition", ["binary", "multi"])
def test_predict_gives_the_same_answers(partition: str, citycam: Door) -> None:
    outcome = citycam("predict", completed(partition), "cities")
    assert outcome.code == 0, outcome.err
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    before = read(Path(f"by_old/predict-{partition}.csv"))
    assert len(before) == 36
    for row, old in zip(rows, before, strict=True):
        # Another processor rounds otherwise.
        assert {name: row[name] for name in old if not same(row[name], old[name], 1e-4)} == {}, row["path"]


@pytest.mark.usefixtures("here")
def test_explain_gives_the_same_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import explain as door

    run, methods = completed("multi"), ",".join(METHODS)
    settings = [f"explain.methods=[{methods}]", "explain.target=predicted", f"out={tmp_path / 'out'}"]
    outcome = caller(door, "explain.py", monkeypatch, capsys)(f"run={run}", *settings)
    assert outcome.code == 0, outcome.err
    with np.load(tmp_path / "out" / "maps.npz") as maps, np.load("by_old/explain/maps.npz") as before:
        for name in ("names", "targets", "predicted", *(f"{method}_blank" for method in METHODS)):
            assert maps[name].tolist() == before[name].tolist(), name
        for method in METHODS:
            peaks = np.abs(before[method]).max(axis=(1, 2), keepdims=True)
            np.testing.assert_allclose(maps[method] / peaks, before[method] / peaks, atol=1e-3, err_msg=method)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_export_writes_the_network(citycam: Door, tmp_path: Path) -> None:
    has_onnx = all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "onnxscript")))
    outcome = citycam("export", completed("multi"), "--out", tmp_path)
    assert outcome.code == (0 if has_onnx else 1), outcome.err
    assert (tmp_path / "model.safetensors").is_file()
    assert ("same logits as PyTorch" in outcome.out) is has_onnx


def test_a_resumed_sweep_keeps_what_is_done_and_restarts_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import train as door

    monkeypatch.chdir(unpack(tmp_path))
    interrupted = only(SWEEP, "epochs3")
    done = [run for run in SWEEP.glob("*epochs*") if run != interrupted]
    assert len(done) == 2
    before = {path: path.read_bytes() for run in done for path in run.rglob("*") if path.is_file()}
    outcome = caller(door, "train.py", monkeypatch, capsys)("-m", f"sweep.resume={SWEEP}")
    assert outcome.code == 0, outcome.err
    assert {path: path.read_bytes() for run in done for path in run.rglob("*") if path.is_file()} == before
    record = json.loads((interrupted / "run.json").read_text())
    assert (record["status"], record["resumed_after"], record["attempts"]) == ("completed", None, 2)
    assert len(read(interrupted / "metrics.csv")) == 3
    sentence = next(warning["sentence"] for warning in record["warnings"] if warning["code"] == "started_anew")
    assert "citycam 0.1.0+e737138e then" in sentence
    assert sentence in outcome.err
    assert {row["status"] for row in read(SWEEP / "comparison.csv")} == {"completed"}
