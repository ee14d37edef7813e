"""The network of a trained run on this machine, from the run's folder and its sweep's bodies."""

from __future__ import annotations

import torch

from citycam.bank.body import load_body, shared_body
from citycam.config import Accelerator
from citycam.devices import choose_device, cores
from citycam.errors import AUTO, CitycamError
from citycam.explain.grid import map_stride
from citycam.files import to_dict
from citycam.inference.runs import TrainedRun
from citycam.model.checkpoint import ABOUT, load_checkpoint, read_checkpoint
from citycam.model.head import make_head
from citycam.model.network import Network
from citycam.resolved import Resolved, WeightsSource


def resolve_here(run: TrainedRun) -> Resolved:
    """Return what a trained run uses on this machine.

    It keeps its own arithmetic, and its body's weights come from the sweep's folder. The device is the best one here,
    or the CPU if the run asked for it.
    """
    record, config = run.record, run.config
    weights = record.backbone.weights
    on_cpu = config.trainer.accelerator is Accelerator.cpu
    return Resolved(
        device=str(choose_device(Accelerator.cpu if on_cpu else Accelerator.auto)),
        threads=cores() if config.threads == AUTO else int(config.threads),
        precision=str(record.precision),
        memory_format=record.memory_format or "channels_last",  # older runs did not record it
        rate=0.0,
        batch=run.batch,
        split=record.split.kind,
        leaky=record.split.leaky,
        target=run.target,
        stride=map_stride(config),
        finetune=record.backbone.finetune,
        weights_origin="file",
        weights_path=None if run.body is None else str(run.body.resolve()),
        weights_digest=weights.digest,
        weights_note=weights.note,
        data_digest=record.data.digest,
        warnings={},
    )


def load_network(run: TrainedRun, resolved: Resolved) -> Network:
    """Return the trained network in eval mode, frozen, on its device; runs of a process share a frozen body.

    Raises:
        CitycamError: the checkpoint or the body is missing, damaged, or of other classes or another network.
    """
    config = run.config
    _check_settings(run)
    if resolved.frozen:
        backbone = shared_body(config, resolved.source, resolved.device)
    else:
        backbone = load_body(config.backbone, config.image_size, WeightsSource("random", None, None, ""), config.seed)
    outputs = 1 if config.partition.name == "binary" else len(run.classes)
    network = Network(backbone, make_head(config.head, backbone.num_features, outputs, config.seed))
    load_checkpoint(run.checkpoint, network, run.classes)
    network.requires_grad_(False)
    network.backbone.freeze("none")
    network.eval()
    return network.to(torch.device(resolved.device))


def _check_settings(run: TrainedRun) -> None:
    """Refuse settings that are not those of the checkpoint, before a network is made of them.

    Raises:
        CitycamError: they differ, or the checkpoint is missing or damaged.
    """
    config, said = run.config, read_checkpoint(run.checkpoint)[ABOUT]
    own = {"partition": config.partition.name, "head": to_dict(config.head), "image_size": config.image_size}
    for name, value in own.items():
        if said[name] != value:
            raise CitycamError(
                f"{run.checkpoint} is of {name}={said[name]} and its run of {value}; put the run's own checkpoint and "
                "config.yaml back."
            )
