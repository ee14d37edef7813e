"""Heads equal torch's own layers, with seeded initial weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from citycam import config
from citycam.config import HeadConfig
from citycam.model.head import HEADS, make_head


def test_registry_equals_the_names_of_config() -> None:
    assert set(HEADS) == set(config.HEADS)


def test_mlp_is_linear_relu_linear() -> None:
    head = make_head(HeadConfig(hidden=5), features=7, logits=3, seed=0)
    assert [type(module) for module in head] == [nn.Linear, nn.ReLU, nn.Linear]  # type: ignore[arg-type]
    x = torch.randn(4, 7)
    first, _, second = head  # type: ignore[misc]
    expected = (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(head(x), expected)


def test_linear_is_one_layer() -> None:
    head = make_head(HeadConfig(kind="linear"), features=7, logits=3, seed=0)
    assert isinstance(head, nn.Linear)
    assert head.weight.shape == (3, 7)


@pytest.mark.parametrize("kind", HEADS)
def test_logits_are_not_bounded(kind: str) -> None:
    head = make_head(HeadConfig(kind=kind), features=7, logits=3, seed=0)
    assert head(torch.randn(64, 7) * 1000).abs().max() > 10


@pytest.mark.parametrize("kind", HEADS)
def test_initial_weights_depend_on_the_seed_alone(kind: str) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = make_head(HeadConfig(kind=kind), 7, 3, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = make_head(HeadConfig(kind=kind), 7, 3, seed=0), make_head(HeadConfig(kind=kind), 7, 3, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_initial_weights_have_torchs_distribution() -> None:
    ours = make_head(HeadConfig(hidden=400), features=300, logits=200, seed=0)[0]  # type: ignore[index]
    torch.manual_seed(0)
    theirs = nn.Linear(300, 400)
    for name in ("weight", "bias"):
        a, b = getattr(ours, name).detach(), getattr(theirs, name).detach()
        assert a.abs().max() <= 300**-0.5
        assert float(a.std()) == pytest.approx(float(b.std()), rel=0.1)
        assert float(a.abs().max()) == pytest.approx(float(b.abs().max()), rel=0.01)
