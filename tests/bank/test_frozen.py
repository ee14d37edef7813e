"""What all models share is what each would have computed alone."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from citycam.bank import builder
from citycam.bank.extract import Extractor
from citycam.bank.frozen import FrozenBody
from citycam.config import BackboneConfig
from citycam.data.inputs import PlannedRun, load_inputs
from citycam.errors import CitycamError
from citycam.model.backbone import Backbone, make_backbone
from citycam.model.weights import load_weights
from citycam.processes import Child
from citycam.resolved import Arithmetic, Resolved
from citycam.shards import index_length
from citycam.sweep.gate import read_request
from tests.conftest import TINY


@pytest.fixture
def setting(cities: Path, tiny_weights: Path) -> PlannedRun:
    request = read_request(
        ["data=folder", f"data.root={cities}", "backbone=timm", f"backbone.name={TINY}", "backbone.strides=[32,16,8]"]
    )
    assert request is not None
    config = request.jobs[0].config
    inputs = load_inputs(config)
    resolved = Resolved(
        device="cpu",
        threads=1,
        precision="fp32",
        rate=1.0,
        batch=8,
        split="random",
        leaky=None,
        target="arden",
        stride=8,
        finetune="none",
        weights_origin="file",
        weights_path=str(tiny_weights),
        weights_digest="0" * 32,
        weights_note="",
        data_digest=inputs.catalog.digest,
        warnings={},
    )
    return PlannedRun(config, inputs, resolved)


def body(tiny_weights: Path) -> Backbone:
    backbone = make_backbone(BackboneConfig(name=TINY, strides=[32, 16, 8]), 64, 0)
    load_weights(backbone, tiny_weights)
    return backbone


@pytest.mark.parametrize("count", [1, 5, 8, 11])
def test_a_pictures_features_do_not_depend_on_how_many_come_along(count: int, tiny_weights: Path) -> None:
    backbone = body(tiny_weights)
    backbone.freeze("none")
    extractor = Extractor(backbone, Arithmetic(), batch=8)
    pictures = torch.randn(11, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(extractor.pictures(pictures[:count]), extractor.pictures(pictures)[:count])


def test_two_devices_build_what_one_does_each_row_once(
    setting: PlannedRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    inputs = setting.inputs
    features = []
    for devices in (["cpu"], ["cpu", "cpu"]):
        monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path / str(len(devices))))
        shared = FrozenBody(setting)
        assert shared.missing_features(2) == shared.fill_features(2, devices) == 2 * len(inputs.train) + len(inputs.val)
        assert "bank: " in capfd.readouterr().err
        assert shared.missing_features(2) == 0
        assert shared.fill_features(2, devices) == 0
        reader = shared.reader(training=True, epochs=2)
        features.append([reader(inputs.train, epoch).numpy() for epoch in range(2)])
        kept = (tmp_path / str(len(devices)) / "bank").glob("*/*.rows")
        assert sum(map(index_length, kept)) == 2 * len(inputs.train) + len(inputs.val)
    np.testing.assert_array_equal(features[0], features[1])


def test_a_builder_of_another_process_fills_the_same_store(
    setting: PlannedRun, tmp_path: Path, children: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    shared = FrozenBody(setting)
    plan = shared._plan([shared._part(training, 2) for training in (True, False)])
    with builder._others(plan, ["cpu"]):  # this process makes nothing
        assert children[0].wait() == 0
    assert shared.missing_features(2) == 0


def test_a_builder_that_fails_is_one_sentence(
    setting: PlannedRun, tmp_path: Path, children: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    shared = FrozenBody(setting)
    plan = shared._plan([shared._part(False, 1)])
    plan = dataclasses.replace(plan, paths=dict.fromkeys(plan.paths, tmp_path / "gone.png"))
    with builder._others(plan, ["cpu"]) as check:
        assert children[0].wait() == 2
        with pytest.raises(CitycamError, match=r"Building features on cpu failed \(.*gone\.png.*same command again"):
            check()


def test_no_builder_outlives_a_failure(setting: PlannedRun, children: list[Child]) -> None:
    shared = FrozenBody(setting)
    with pytest.raises(KeyboardInterrupt), builder._others(shared._plan([shared._part(False, 1)]), ["cpu"]):
        raise KeyboardInterrupt
    assert children[0].code == -signal.SIGKILL
