"""Activations for maps: the shared ones of a frozen body equal those that a run computes for itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from citycam.data.inputs import PlannedRun
from citycam.explain.activations import noisy_activations, plain_activations
from citycam.explain_config import ExplainConfig
from tests.bank.test_frozen import body, setting

__all__ = ["setting"]


def training(run: PlannedRun) -> PlannedRun:
    """The same run with a body that trains, so that it shares no activations."""
    return dataclasses.replace(run, resolved=dataclasses.replace(run.resolved, finetune="all"))


def test_shared_activations_equal_those_of_an_own_body(setting: PlannedRun, tiny_weights: Path) -> None:
    setting.config.explain = ExplainConfig(methods=["smoothgradcampp"], samples=3)
    indices, own = setting.inputs.val[:5], body(tiny_weights)
    plain = plain_activations(training(setting), own, indices)
    noisy = noisy_activations(training(setting), own, indices)
    np.testing.assert_allclose(plain_activations(setting, own, indices), plain, atol=1e-5)
    np.testing.assert_allclose(noisy_activations(setting, own, indices), noisy, atol=1e-5)
    assert noisy.shape == (3, 5, 1280, 1, 1)
    assert plain.shape == (5, 1280, 8, 8)


def test_a_body_that_trains_is_unchanged(setting: PlannedRun, tiny_weights: Path) -> None:
    setting.config.explain = ExplainConfig(methods=["smoothgradcampp"], samples=1)
    mine = body(tiny_weights)
    mine.freeze("all")
    mine.train()
    modes = [module.training for module in mine.modules()]
    before = {key: value.clone() for key, value in mine.state_dict().items()}
    plain_activations(training(setting), mine, setting.inputs.val[:2])
    noisy_activations(training(setting), mine, setting.inputs.val[:2])
    assert [module.training for module in mine.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in mine.state_dict().items())


def test_noise_does_not_depend_on_the_other_pictures(setting: PlannedRun, tiny_weights: Path) -> None:
    setting.config.explain = ExplainConfig(methods=["smoothgradcampp"], samples=2, noise=0.3)
    run, own = training(setting), body(tiny_weights)
    both = noisy_activations(run, own, setting.inputs.val[:2])
    alone = noisy_activations(run, own, setting.inputs.val[1:2])
    np.testing.assert_allclose(both[:, 1:], alone, atol=1e-6)
    assert np.abs(both[0] - both[1]).max() > 1e-3
