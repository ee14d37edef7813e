"""Batch norms of a model that several processes train, each on its share of every batch."""

from __future__ import annotations

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def trained_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of the stages that are not frozen."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in norms if any(weight.requires_grad for weight in norm.parameters())]


def average_norms(network: nn.Module) -> None:
    """Set running statistics to their mean over all processes, so that all validate the same network."""
    for norm in trained_norms(network):
        for running in (norm.running_mean, norm.running_var):
            if running is not None:
                with torch.no_grad():
                    distributed.all_reduce(running)
                    running /= distributed.get_world_size()
