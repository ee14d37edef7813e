"""Resolves every ``auto`` to a value, once for a sweep; its jobs and later requests reuse it."""

from __future__ import annotations

import torch

from citycam.bank.body import shared_body
from citycam.bank.measure import choose
from citycam.config import Config, Precision
from citycam.data.inputs import Inputs, PlannedRun
from citycam.devices import choose_device, cores
from citycam.errors import AUTO
from citycam.explain.grid import map_stride
from citycam.explain.lattice import describe_lattice, settle_stride
from citycam.explain.sample import validation_sample
from citycam.model.backbone import Backbone
from citycam.processes import remember
from citycam.resolved import Resolved
from citycam.train.lesson import Say, find_body

_UNDER_LOAD = (
    "precision=auto became {} while other programs used the same cores, and may become another one on an idle machine; "
    "give precision=fp32 or bf16 to compare runs."
)


def resolve(config: Config, inputs: Inputs, say: Say) -> Resolved:
    """Resolve every ``auto`` of a run; trains the body if no weights are available.

    Raises:
        CitycamError: this machine lacks what the settings ask for.
    """
    device = choose_device(config.trainer.accelerator)
    threads = all_threads(config)
    torch.set_num_threads(threads)
    source, warnings = find_body(config, inputs, say)
    backbone = shared_body(config, source, str(device))
    choice = choose(backbone, config.image_size, config.precision, threads=threads, say=say)
    if not choice.quiet and config.precision is Precision.auto:
        warnings = warnings | {"measured_under_load": _UNDER_LOAD.format(choice.arithmetic.precision.name)}
    stride = map_stride(config)
    if config.explain.methods and stride != backbone.strides[0]:
        _check_grid(backbone, stride)
    finetune = "all" if source.origin == "random" else config.backbone.finetune
    resolved = Resolved(
        device=str(device),
        threads=threads,
        precision=choice.arithmetic.precision.name,
        memory_format=choice.arithmetic.memory_format,
        rate=choice.rate,
        batch=choice.batch if config.bank.batch == AUTO else int(config.bank.batch),
        split=inputs.split.kind,
        leaky=inputs.split.leaky,
        target=inputs.target,
        stride=stride,
        finetune=finetune,
        weights_origin=source.origin,
        weights_path=str(source.path.resolve()) if source.path is not None else None,
        weights_digest=source.digest,
        weights_note=source.note,
        data_digest=inputs.catalog.digest,
        warnings=warnings,
    )
    return _settled(PlannedRun(config, inputs, resolved), backbone, say)


def _settled(run: PlannedRun, backbone: Backbone, say: Say) -> Resolved:
    """Settle the stride of the maps of a frozen body; one that trains is measured when its maps are made."""
    if not run.config.explain.methods or not run.resolved.frozen:
        return run.resolved
    resolved = settle_stride(run, backbone, validation_sample(run.config.explain, run.inputs)).resolved
    if resolved.lattice is not None:
        say(f"maps: {describe_lattice(resolved.lattice, resolved.stride, backbone.strides[0])}")
    return resolved


def all_threads(config: Config) -> int:
    """The number of threads for work shared by all jobs, while none runs: ``threads``, or all cores."""
    return int(config.threads) if config.threads != AUTO else cores()


@remember(2, on_device=True)
def _check_grid(backbone: Backbone, stride: int) -> None:
    """Refuse a grid that is not exact, before training."""
    backbone.dense_body(stride)
