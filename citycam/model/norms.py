"""Batch norms that train: what they need of a batch, and how several processes share them."""

from __future__ import annotations

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from citycam.config import Config
from citycam.errors import CitycamError
from citycam.model.backbone import reference
from citycam.model.stages import stage_units
from citycam.processes import remember
from citycam.resolved import Resolved


def check_batches(config: Config, resolved: Resolved, pictures: int) -> None:
    """Check that every step of training has more than one picture, where batch norms that train need that.

    Args:
        pictures: in the training part.

    Raises:
        CitycamError: a step has one picture only, for one of the processes that train the model.
    """
    ranks = config.trainer.devices
    joined = ranks > 1 and resolved.device.startswith("cuda")  # their norms see the whole batch
    if resolved.frozen or joined or _smallest_share(pictures, config.batch_size, ranks) > 1:
        return
    name = str(config.backbone.name)
    if not needs_two_pictures(name, config.image_size, resolved.finetune):
        return
    larger = range(config.batch_size + 1, pictures + 1)
    fitting = next((size for size in larger if _smallest_share(pictures, size, ranks) > 1), None)
    way_out = "add pictures, or use backbone.finetune=none" if fitting is None else f"use batch_size={fitting}"
    raise CitycamError(
        f"With batch_size={config.batch_size}, a step of {pictures:,} training pictures is left with one picture, and "
        f"the batch norms of {name} at image_size={config.image_size} need two; {way_out}."
    )


def _smallest_share(pictures: int, batch: int, ranks: int) -> int:
    """Return the fewest pictures that a process has in a step of an epoch."""
    return min(min(batch, pictures), pictures % batch or batch) // ranks


@remember(8)
def needs_two_pictures(name: str, image_size: int, finetune: str) -> bool:
    """Return whether a network cannot train on one picture, tried on torch's meta device, without values.

    A batch norm needs two values of a channel. It has one of a single picture where the grid has one cell, or behind
    the pool.
    """
    net, _ = reference(name, image_size)
    net.train()
    units = stage_units(net)
    stages = list(units)
    for stage in stages[: stages.index(finetune)] if finetune in stages else []:
        for path in units[stage]:
            net.get_submodule(path).eval()
    try:
        with torch.no_grad():
            net(torch.empty(1, 3, image_size, image_size, device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        return True
    return False


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
