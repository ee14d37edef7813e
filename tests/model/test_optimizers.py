"""Optimizers follow the update rules of their papers, written out in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from citycam import config
from citycam.config import AdamConfig, OptimizerConfig, SgdConfig
from citycam.model.optimizers import OPTIMIZERS, make_optimizer, make_schedule

DECAY = 0.01


def sgd(w: Tensor, g: Tensor, state: dict[str, Tensor], _step: int) -> Tensor:
    g = g + DECAY * w
    state["v"] = 0.9 * state["v"] + g if "v" in state else g
    return w - 0.001 * state["v"]


def adam(w: Tensor, g: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    return _adam(w, g + DECAY * w, state, step)


def adamw(w: Tensor, g: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    return _adam(w * (1 - 0.001 * DECAY), g, state, step)


def _adam(w: Tensor, g: Tensor, state: dict[str, Tensor], step: int) -> Tensor:
    state["m"] = 0.9 * state.get("m", torch.zeros_like(g)) + 0.1 * g
    state["v"] = 0.999 * state.get("v", torch.zeros_like(g)) + 0.001 * g * g
    m, v = state["m"] / (1 - 0.9**step), state["v"] / (1 - 0.999**step)
    return w - 0.001 * m / (v.sqrt() + 1e-8)


Rule = Callable[[Tensor, Tensor, dict[str, Tensor], int], Tensor]
CASES: list[tuple[OptimizerConfig, Rule]] = [
    (SgdConfig(weight_decay=DECAY), sgd),
    (AdamConfig(weight_decay=DECAY), adam),
    (AdamConfig(kind="adamw", weight_decay=DECAY), adamw),
]


def test_registry_equals_the_names_of_config() -> None:
    assert set(OPTIMIZERS) == set(config.OPTIMIZERS) == {case.kind for case, _ in CASES}


@pytest.mark.parametrize(("settings", "rule"), CASES, ids=[case.kind for case, _ in CASES])
def test_steps_follow_the_paper(settings: OptimizerConfig, rule: Rule) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 4, generator=generator)
    parameter = nn.Parameter(start.clone())
    optimizer = make_optimizer(settings, [parameter])
    expected, state = start.double(), {}
    for step in range(1, 6):
        gradient = torch.randn(5, 4, generator=generator)
        parameter.grad = gradient.clone()
        optimizer.step()
        expected = rule(expected, gradient.double(), state, step)
    torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [case for case, _ in CASES], ids=[case.kind for case, _ in CASES])
def test_one_kernel_updates_all_parameters(settings: OptimizerConfig) -> None:
    assert make_optimizer(settings, nn.Linear(2, 2).parameters()).defaults["fused"] is True


def test_frozen_parameters_are_not_in_the_optimizer() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    network[0].requires_grad_(False)
    optimizer = make_optimizer(AdamConfig(), network.parameters())
    assert [id(p) for group in optimizer.param_groups for p in group["params"]] == [
        id(p) for p in network[1].parameters()
    ]


def test_the_learning_rate_decays_in_steps() -> None:
    settings = SgdConfig(lr=1.0, decay_every=2, decay_factor=0.1)
    optimizer = make_optimizer(settings, nn.Linear(2, 2).parameters())
    schedule = make_schedule(settings, optimizer)
    assert schedule is not None
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01])


def test_no_decay_by_default() -> None:
    settings = SgdConfig()
    assert make_schedule(settings, make_optimizer(settings, nn.Linear(2, 2).parameters())) is None
