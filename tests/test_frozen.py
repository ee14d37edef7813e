"""What all models share is what each would have computed alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from citycam.bank.extract import Extractor
from citycam.config import BackboneConfig, Config, ExplainConfig, Precision
from citycam.frozen import FrozenBody, explained_activations
from citycam.gate import read_request
from citycam.inputs import Inputs, load_inputs
from citycam.model.backbone import Backbone, make_backbone
from citycam.model.weights import load_weights
from citycam.resolve import Resolved
from tests.conftest import TINY


@pytest.fixture
def setting(cities: Path, tiny_weights: Path) -> tuple[Config, Inputs, Resolved]:
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
    return config, inputs, resolved


def body(tiny_weights: Path) -> Backbone:
    backbone = make_backbone(BackboneConfig(name=TINY, strides=[32, 16, 8]), 64, 0)
    load_weights(backbone, tiny_weights)
    return backbone


def test_shared_activations_are_those_of_a_body_of_ones_own(
    setting: tuple[Config, Inputs, Resolved], tiny_weights: Path
) -> None:
    config, inputs, resolved = setting
    config.explain = ExplainConfig(methods=["smoothgradcampp"], samples=3)
    indices = inputs.val[:5]
    shared = FrozenBody(config, inputs, resolved)
    plain, noisy = explained_activations(body(tiny_weights), config, inputs, resolved, indices)
    np.testing.assert_allclose(shared.activations(indices), plain, atol=1e-5)
    assert noisy is not None
    np.testing.assert_allclose(shared.noisy(indices, config.explain), noisy, atol=1e-5)
    assert noisy.shape == (3, 5, 1280, 1, 1)
    assert plain.shape == (5, 1280, 8, 8)


def test_explaining_a_trainable_body_leaves_it_as_it_was(
    setting: tuple[Config, Inputs, Resolved], tiny_weights: Path
) -> None:
    config, inputs, resolved = setting
    mine = body(tiny_weights)
    mine.freeze("all")
    mine.train()
    modes = [module.training for module in mine.modules()]
    before = {key: value.clone() for key, value in mine.state_dict().items()}
    explained_activations(mine, config, inputs, resolved, inputs.val[:2])
    assert [module.training for module in mine.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in mine.state_dict().items())


@pytest.mark.parametrize("count", [1, 5, 8, 11])
def test_a_pictures_features_do_not_depend_on_how_many_come_along(count: int, tiny_weights: Path) -> None:
    backbone = body(tiny_weights)
    backbone.freeze("none")
    extractor = Extractor(backbone, precision=Precision.fp32, batch=8)
    pictures = torch.randn(11, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(extractor.pictures(pictures[:count]), extractor.pictures(pictures)[:count])


def test_noise_does_not_depend_on_the_other_pictures(
    setting: tuple[Config, Inputs, Resolved], tiny_weights: Path
) -> None:
    config, inputs, resolved = setting
    config.explain = ExplainConfig(methods=["smoothgradcampp"], samples=2, noise=0.3)
    both = explained_activations(body(tiny_weights), config, inputs, resolved, inputs.val[:2])[1]
    alone = explained_activations(body(tiny_weights), config, inputs, resolved, inputs.val[1:2])[1]
    assert both is not None
    assert alone is not None
    np.testing.assert_allclose(both[:, 1:], alone, atol=1e-6)
    assert np.abs(both[0] - both[1]).max() > 1e-3
