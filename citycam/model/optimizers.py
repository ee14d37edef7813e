"""Optimizers by name, and step decay of the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

from citycam.config import AdamConfig, OptimizerConfig, SgdConfig

# Devices on which torch can update all parameters in one kernel, which takes two thirds of the time for Adam on a head.
_FUSED_DEVICES = ("cpu", "cuda")


def make_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that ``config`` names, over those of ``parameters`` that train.

    Raises:
        ValueError: no parameter trains.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    fused = all(p.device.type in _FUSED_DEVICES and p.is_floating_point() for p in trainable)
    return OPTIMIZERS[config.kind](
        config, trainable, {"lr": config.lr, "weight_decay": config.weight_decay, "fused": fused}
    )


def make_schedule(config: OptimizerConfig, optimizer: torch.optim.Optimizer) -> StepLR | None:
    """Return the step decay, to be stepped once per epoch; None if ``config.decay_every`` is null."""
    if config.decay_every is None:
        return None
    return StepLR(optimizer, step_size=config.decay_every, gamma=config.decay_factor)


def _sgd(config: OptimizerConfig, parameters: list[nn.Parameter], common: dict[str, Any]) -> torch.optim.Optimizer:
    assert isinstance(config, SgdConfig)
    return torch.optim.SGD(parameters, momentum=config.momentum, **common)


def _adam(config: OptimizerConfig, parameters: list[nn.Parameter], common: dict[str, Any]) -> torch.optim.Optimizer:
    assert isinstance(config, AdamConfig)
    return torch.optim.Adam(parameters, betas=(config.beta1, config.beta2), **common)


def _adamw(config: OptimizerConfig, parameters: list[nn.Parameter], common: dict[str, Any]) -> torch.optim.Optimizer:
    assert isinstance(config, AdamConfig)
    return torch.optim.AdamW(parameters, betas=(config.beta1, config.beta2), **common)


OPTIMIZERS: dict[str, Callable[[OptimizerConfig, list[nn.Parameter], dict[str, Any]], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
}
