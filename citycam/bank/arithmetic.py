"""How a frozen backbone computes: precision and memory format."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from citycam.config import Precision

FORMATS = {"channels_last": torch.channels_last, "nchw": torch.contiguous_format}


@dataclass(frozen=True)
class Arithmetic:
    """``memory_format`` is a name in `FORMATS`."""

    precision: Precision = Precision.fp32
    memory_format: str = "channels_last"

    @property
    def torch_format(self) -> torch.memory_format:
        """What `torch.Tensor.to` takes."""
        return FORMATS[self.memory_format]
