"""Published faults: each is what it says, and not its right form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from citycam.explain.maps import explain, find_blank
from citycam.explain.methods import METHODS
from citycam.explain.tail import Tail
from citycam.selfcheck.faulty import FAULTY, Inputs, first_linear, last_noisy, sigmoid
from tests.explain.tails import C, make_activations, make_noisy, make_tail, mean_pool


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def inputs_of(tail: Tail, target: int = 1) -> Inputs:
    activations = make_activations()
    noisy = make_noisy(activations)
    return Inputs(tail, activations, noisy, noisy[-1], target)


def test_the_first_linear_layer_shows_a_hidden_unit() -> None:
    tail = make_tail()
    inputs = inputs_of(tail)
    layer = tail.head[0]  # type: ignore[index]
    maps = first_linear(inputs)
    assert maps is not None
    # The mean of the map and the bias are what the hidden unit of that number reads, before its ReLU.
    unit = layer(mean_pool(inputs.activations))[:, 1] - layer.bias[1]
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), unit.detach().numpy(), rtol=1e-5)


def test_a_head_of_one_layer_has_no_wrong_layer() -> None:
    tail = Tail(mean_pool, nn.Linear(C, 3), pool_kind="mean").eval()
    assert first_linear(inputs_of(tail)) is None


def test_no_weight_belongs_to_a_channel_behind_another_pool() -> None:
    assert first_linear(inputs_of(make_tail("linear"))) is None


def test_the_sigmoid_vanishes_where_the_network_is_sure() -> None:
    tail = make_tail()
    inputs = inputs_of(tail)
    right = explain("gradcam", tail, inputs.activations, 1).raw
    wrong = sigmoid(inputs)
    assert wrong is not None
    factors = wrong / right
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1], factors.shape), rtol=1e-4)
    with torch.no_grad():
        tail.head[3].bias += 40.0  # type: ignore[index]
    sure = sigmoid(inputs_of(tail))
    assert sure is not None
    assert not sure.any()
    assert not find_blank(explain("gradcam", tail, inputs.activations, 1).raw).any()


def test_the_last_noisy_copy_is_painted_with_the_right_weights() -> None:
    tail = make_tail()
    inputs = inputs_of(tail)
    right = explain("smoothgradcampp", tail, inputs.activations, 1, noisy=inputs.noisy).raw
    wrong = last_noisy(inputs)
    assert wrong is not None
    assert not np.allclose(wrong, right)
    clean = last_noisy(Inputs(tail, inputs.activations, inputs.noisy, inputs.activations, 1))
    assert clean is not None
    np.testing.assert_allclose(clean, right, rtol=1e-5, atol=1e-7)


def test_titles_say_that_they_are_faults_and_no_method_has_their_name() -> None:
    for name, variant in FAULTY.items():
        assert any(word in variant.title for word in ("(faulty)", "(not class-specific)"))
        assert name not in METHODS
        assert variant.right in METHODS
