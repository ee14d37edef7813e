"""What every ``auto`` of a run became: plain values, kept in sweep.json and used by every job. Imports no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citycam.config import Precision

MEMORY_FORMATS = ("channels_last", "nchw")


@dataclass(frozen=True)
class Arithmetic:
    """How a frozen backbone computes. ``memory_format`` is one of `MEMORY_FORMATS`."""

    precision: Precision = Precision.fp32
    memory_format: str = "channels_last"


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """Where the weights of a body come from.

    ``origin``: file, cache (a hub's local copy), hub (downloaded now), pretrained here, or random. ``digest``: first 32
    hex digits of the file's SHA-256. ``note``: one phrase for people.
    """

    origin: str
    path: Path | None
    digest: str | None
    note: str


@dataclass(frozen=True)
class Resolved:
    """What a run uses on this machine; see `citycam.jobs.resolve`.

    Attributes:
        device: its kind; which of several devices a job gets is decided when it starts.
        threads: of one job.
        precision, memory_format: of the body.
        rate: pictures per second of the body's forward, measured when this was resolved.
        batch: pictures per pass of the body.
        split, leaky: kind of the split, and whether it leaks (None: not known).
        target: city of the maps.
        stride: output stride of the maps.
        lattice: what was measured of a denser grid before ``stride`` was settled: its ``stride``, the ``share`` of
            variance (see `citycam.explain.lattice.lattice_share`), and the number of ``pictures``. None: not measured.
        finetune: ``none``, a stage, or ``all``, which it also is where weights are random.
        weights_origin, weights_path, weights_digest, weights_note: see `WeightsSource`.
        data_digest: of the catalog.
        warnings: {code: sentence}.
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
    lattice: dict[str, Any] | None = None

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
        """The weights of the body."""
        path = Path(self.weights_path) if self.weights_path is not None else None
        return WeightsSource(self.weights_origin, path, self.weights_digest, self.weights_note)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for sweep.json."""
        return dataclasses.asdict(self)
