"""Every ``auto`` becomes a value here, once for a sweep; jobs and later runs of the same sweep reuse it."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from citycam.bank.arithmetic import Arithmetic
from citycam.bank.measure import choose
from citycam.config import AUTO, Config, Precision
from citycam.data.inputs import Inputs
from citycam.errors import CitycamError
from citycam.jobs.sharing import choose_device
from citycam.jobs.slots import cpu_devices
from citycam.model.backbone import Backbone, check_backbone, grid, strides
from citycam.model.weights import WeightsSource
from citycam.train.lesson import Say, find_body, shared_body

# Fewer cells than this say little more than left, right, top and bottom.
_CELLS = 7


@dataclass(frozen=True)
class Resolved:
    """What a job runs with.

    ``device`` stands for its kind: which of several is a job's own is decided when it starts.  ``threads``: of a job.
    ``precision``, ``memory_format``: of the body.  ``finetune`` is ``all`` where weights are random.  ``stride`` is the
    maps'.  ``rate``: pictures per second of the body's forward, as measured when it was resolved.
    """

    device: str
    threads: int
    precision: str
    rate: float
    batch: int
    split: str
    leaky: bool | None
    target: str
    stride: int
    finetune: str
    weights_origin: str
    weights_path: str | None
    weights_digest: str | None
    weights_note: str
    data_digest: str
    warnings: dict[str, str]
    memory_format: str = "channels_last"

    @property
    def arithmetic(self) -> Arithmetic:
        """How the body computes features."""
        return Arithmetic(Precision[self.precision], self.memory_format)

    @property
    def frozen(self) -> bool:
        """Whether the whole body is frozen, so that its features can be kept."""
        return self.finetune == "none"

    @property
    def source(self) -> WeightsSource:
        """The body's weights."""
        path = Path(self.weights_path) if self.weights_path is not None else None
        return WeightsSource(self.weights_origin, path, self.weights_digest, self.weights_note)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for sweep.json."""
        return dataclasses.asdict(self)


def check(config: Config) -> None:
    """The heavy gate's part that needs no data: network, sizes, stage and stride.

    Raises:
        CitycamError: one of them cannot be.
    """
    check_backbone(config.backbone, config.image_size)
    if config.explain.methods and config.explain.stride != AUTO:
        known = strides(config.backbone, config.image_size)
        if config.explain.stride not in known:
            raise CitycamError(
                f"explain.stride={config.explain.stride} is not to be had from {config.backbone.name} at "
                f"image_size={config.image_size}, which allows {', '.join(map(str, known))}; choose one of them."
            )


def resolve(config: Config, inputs: Inputs, say: Say) -> Resolved:
    """Turn every ``auto`` of a run into a value; trains the body where no weights can be had.

    Raises:
        CitycamError: what was asked for cannot be had on this machine.
    """
    device = choose_device(config.trainer.accelerator)
    threads = all_threads(config)
    torch.set_num_threads(threads)
    source, warnings = find_body(config, inputs, say)
    backbone = shared_body(config, source, str(device))
    choice = choose(backbone, config.image_size, config.precision, threads=threads)
    stride = map_stride(config)
    if config.explain.methods and stride != backbone.strides[0]:
        _check_grid(backbone, stride)
    finetune = "all" if source.origin == "random" else config.backbone.finetune
    return Resolved(
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


def all_threads(config: Config) -> int:
    """Threads of work that is done once for all jobs, while none of them runs: as many as there are cores, if not
    given."""
    return int(config.threads) if config.threads != AUTO else len(cpu_devices())


@functools.lru_cache(maxsize=8)
def _check_grid(backbone: Backbone, stride: int) -> None:
    """Refuse a grid that is not exact, before any training."""
    backbone.dense_body(stride)


def map_stride(config: Config) -> int:
    """The coarsest stride with at least 7 x 7 cells that the backbone allows; its finest where none has as many."""
    if config.explain.stride != AUTO:
        return int(config.explain.stride)
    known = strides(config.backbone, config.image_size)
    enough = [stride for stride in known if min(grid(config.backbone, config.image_size, stride)) >= _CELLS]
    return max(enough, default=min(known))
