"""citycam export: files that give other programs the run's own answers."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.sweeps import Ended, caller, copy_of, only, read, train_once

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")

Export = Callable[..., Ended]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, cities: Path, tiny_weights: Path) -> Path:
    """A binary and a multi run."""
    place = tmp_path_factory.mktemp("sweep")
    return train_once(place, cities, tiny_weights, "partition=binary,multi", "explain=none")


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Export:
    from citycam import cli

    call = caller(cli, "citycam", monkeypatch, capsys)
    return lambda *arguments: call("export", *arguments)


def described(model: Path) -> dict[str, Any]:
    """The description in an ONNX file."""
    (entry,) = onnx.load(model).metadata_props
    assert entry.key == "citycam"
    return dict(json.loads(entry.value))


def as_told(path: Path, told: dict[str, Any]) -> np.ndarray:
    """A plain RGB picture as the description says, float32 (3, S, S) in 0-1."""
    side = told["image_size"]
    small = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.float32).transpose(2, 0, 1) / 255


@pytest.mark.parametrize("word", ["binary", "multi"])
def test_onnx_gives_the_runs_probabilities_from_its_description_alone(
    word: str, export: Export, sweep: Path, cities: Path, tmp_path: Path
) -> None:
    run, out = only(sweep, word), tmp_path / "out"
    outcome = export(run, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert "same logits as PyTorch" in outcome.out
    assert "validation pictures" in outcome.out
    told, known = described(out / "model.onnx"), read(run / "predictions.csv")
    assert told["classes"] == json.loads((run / "run.json").read_text())["classes"]
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (len(known), 1):
        pictures = np.stack([as_told(cities / row["path"], told) for row in known[:count]])
        logits, shares = session.run(["logits", "probabilities"], {"pictures": pictures})
        wanted = [[float(row[f"p_{name}"]) for name in told["classes"]] for row in known[:count]]
        np.testing.assert_allclose(shares, wanted, atol=1e-4)
        assert logits.shape == (count, 1 if word == "binary" else 3)


def test_safetensors_hold_the_whole_network(export: Export, sweep: Path, cities: Path, tmp_path: Path) -> None:
    import safetensors.torch
    import timm
    import torch
    from torch import nn

    run = only(sweep, "multi")
    assert export(run, "--out", tmp_path).code == 0
    with safetensors.safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        told = json.loads(file.metadata()["citycam"])
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    body = timm.create_model(told["backbone"], num_classes=0).eval()
    body.load_state_dict({key[9:]: value for key, value in state.items() if key.startswith("backbone.")})
    head = nn.Sequential(nn.Linear(1280, 256), nn.ReLU(), nn.Linear(256, 3))
    head.load_state_dict({key[5:]: value for key, value in state.items() if key.startswith("head.")})
    row = read(run / "predictions.csv")[0]
    picture = torch.from_numpy(as_told(cities / row["path"], told))[None]
    mean, std = (torch.tensor(told[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        shares = torch.softmax(head(body((picture - mean) / std)), 1)[0]
    np.testing.assert_allclose(shares, [float(row[f"p_{name}"]) for name in told["classes"]], atol=1e-4)


@pytest.mark.slow
def test_equal_runs_give_equal_weights_and_another_models_are_not_written_over(
    export: Export, sweep: Path, tmp_path: Path
) -> None:
    run = only(copy_of(sweep, tmp_path), "multi")
    assert export(run).code == 0
    first = (run / "export" / "model.safetensors").read_bytes()
    assert export(run).code == 0
    assert (run / "export" / "model.safetensors").read_bytes() == first
    refused = export(only(sweep, "binary"), "--out", run / "export")
    assert (refused.code, "not written over" in refused.err) == (2, True)
    assert (run / "export" / "model.safetensors").read_bytes() == first


def test_without_the_extra_weights_are_written_all_the_same(
    export: Export, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name.startswith("onnx") else find(name, *rest)
    )
    outcome = export(only(sweep, "multi"), "--out", tmp_path)
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "pip install 'citycam[export]'" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_pictures_that_are_gone_are_said(export: Export, sweep: Path, tmp_path: Path) -> None:
    run = only(copy_of(sweep, tmp_path), "multi")
    record = json.loads((run / "run.json").read_text())
    record["data"]["root"] = str(tmp_path / "nowhere")
    (run / "run.json").write_text(json.dumps(record))
    outcome = export(run)
    assert (outcome.code, "pictures of noise" in outcome.out) == (0, True)


def test_no_pipe_is_opened(export: Export, sweep: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    outcome = export(only(sweep, "multi"), "--out", tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"{tmp_path / 'model.safetensors'} is of another model, which is not written over" in outcome.err


def test_onnx_with_other_logits_is_not_written(
    export: Export, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = onnxruntime.InferenceSession.run
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", lambda *given: [run(*given)[0] + 2e-4])
    outcome = export(only(sweep, "multi"), "--out", tmp_path)
    assert (outcome.code, "other logits" in outcome.err) == (1, True)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.slow
def test_networks_of_tokens_take_any_number_of_pictures(export: Export, cities: Path, tmp_path: Path) -> None:
    weights = ["backbone.name=vit_tiny_patch16_224", "backbone.weights=random", "backbone.strides=[16]"]
    sweep = train_once(tmp_path, cities, Path("none"), *weights, "explain=none", "epochs=1")
    (run,) = [path.parent for path in sweep.glob("*/run.json")]
    assert export(run).code == 0
    told, known = described(run / "export" / "model.onnx"), read(run / "predictions.csv")
    session = onnxruntime.InferenceSession(run / "export" / "model.onnx", providers=["CPUExecutionProvider"])
    pictures = np.stack([as_told(cities / row["path"], told) for row in known[:3]])
    (shares,) = session.run(["probabilities"], {"pictures": pictures})
    wanted = [[float(row[f"p_{name}"]) for name in told["classes"]] for row in known[:3]]
    np.testing.assert_allclose(shares, wanted, atol=1e-4)
