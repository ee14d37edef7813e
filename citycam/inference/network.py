"""A trained run's network on this machine, from its folder and its sweep's bodies alone."""

from __future__ import annotations

import torch

from citycam.bank.body import load_body, shared_body
from citycam.config import AUTO, Accelerator
from citycam.devices import choose_device, cores
from citycam.errors import CitycamError
from citycam.explain.grid import map_stride
from citycam.inference.runs import TrainedRun
from citycam.model.checkpoint import load_checkpoint
from citycam.model.head import make_head
from citycam.model.network import Network
from citycam.resolved import Resolved, WeightsSource


def settled(run: TrainedRun) -> Resolved:
    """What the run runs with here: its own arithmetic, on the best device there is (the processor where it was asked
    for), with its body's weights from the sweep's folder."""
    record, config = run.record, run.config
    weights = record.backbone.weights
    on_cpu = config.trainer.accelerator is Accelerator.cpu
    return Resolved(
        device=str(choose_device(Accelerator.cpu if on_cpu else Accelerator.auto)),
        threads=cores() if config.threads == AUTO else int(config.threads),
        precision=str(record.precision),
        memory_format=record.memory_format or "channels_last",  # runs of before it was recorded
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
    """The trained network in eval mode, frozen, on its device; a frozen body is the one that all runs of the process
    share.

    Raises:
        CitycamError: the checkpoint or the body is missing, damaged, or of other classes or another network.
    """
    config = run.config
    if resolved.frozen:
        backbone = shared_body(config, resolved.source, resolved.device)
    else:
        backbone = load_body(config.backbone, config.image_size, WeightsSource("random", None, None, ""), config.seed)
    outputs = 1 if config.partition.name == "binary" else len(run.classes)
    network = Network(backbone, make_head(config.head, backbone.num_features, outputs, config.seed))
    said = load_checkpoint(run.checkpoint, network, run.classes)
    if said["partition"] != config.partition.name:
        raise CitycamError(
            f"{run.checkpoint} is of partition={said['partition']} and its run of {config.partition.name}; "
            "put the run's own checkpoint back."
        )
    network.requires_grad_(False)
    network.backbone.freeze("none")
    network.eval()
    return network.to(torch.device(resolved.device))
