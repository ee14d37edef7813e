"""Pass pictures through a frozen backbone in batches of one fixed size, so that the features of a picture do not depend
on the number of other pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from citycam.config import Precision
from citycam.data.views import normalise
from citycam.model.backbone import Backbone
from citycam.model.fold import folded
from citycam.processes import remember
from citycam.resolved import Arithmetic

TORCH_FORMATS = {"channels_last": torch.channels_last, "nchw": torch.contiguous_format}


class Extractor:
    """Returns what a frozen backbone makes of pictures: features (B, D) or activations (B, C, h, w), float32.

    Args:
        backbone: frozen, on its device.
        arithmetic: precision and memory format.
        batch: pictures per pass; short batches are filled up, because other batch sizes may round differently.
        stride: output stride of the activations' grid; None for features.
    """

    def __init__(self, backbone: Backbone, arithmetic: Arithmetic, *, batch: int, stride: int | None = None) -> None:
        self._backbone, self._arithmetic, self.batch = backbone, arithmetic, batch
        self._device = next(backbone.parameters()).device
        self.passes = 0
        self._cut: Callable[[Tensor], Tensor]
        ready = prepared(backbone, arithmetic) if backbone.frozen else backbone
        if stride is None:
            self._cut = ready
        else:
            self._cut = ready.body if stride == backbone.strides[0] else backbone.dense_body(stride)

    @property
    def on_cpu(self) -> bool:
        """Whether the backbone computes on the same cores as decoding."""
        return self._device.type == "cpu"

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the values of ``inputs``: `views` if they are uint8, else normalised `pictures`."""
        return self.views(inputs) if inputs.dtype == np.uint8 else self.pictures(torch.from_numpy(inputs))

    def views(self, views: np.ndarray) -> np.ndarray:
        """Return the values of uint8 views (B, S, S, 3)."""
        batch = torch.from_numpy(views).to(self._device)
        return self.pictures(normalise(batch, self._backbone.mean, self._backbone.std))

    def pictures(self, pictures: Tensor) -> np.ndarray:
        """Return the values of normalised pictures (B, 3, S, S)."""
        parts = [self._pass(pictures[start : start + self.batch]) for start in range(0, len(pictures), self.batch)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @torch.inference_mode()
    def _pass(self, pictures: Tensor) -> np.ndarray:
        count = len(pictures)
        self.passes += count
        pictures = filled_up(pictures, self.batch).to(self._device)
        pictures = pictures.contiguous(memory_format=TORCH_FORMATS[self._arithmetic.memory_format])
        bf16 = self._arithmetic.precision is Precision.bf16
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=bf16):
            values = self._cut(pictures)[:count]
        return values.float().contiguous().cpu().numpy()


def filled_up(rows: Tensor, batch: int) -> Tensor:
    """Return ``rows`` (B, ...) with the last one repeated up to ``batch`` rows, if there are fewer."""
    missing = max(0, batch - len(rows))
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows


@remember(2, on_device=True)
def prepared(backbone: Backbone, arithmetic: Arithmetic) -> Backbone:
    """Return a copy of a frozen backbone that is fast in an arithmetic: its batch norms are folded, it has the memory
    format, and for bf16 it has the weights that autocast would otherwise cast in every pass."""
    made = folded(backbone)
    if arithmetic.precision is Precision.bf16:
        for module in made.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.bfloat16)
    return made.to(memory_format=TORCH_FORMATS[arithmetic.memory_format])
