"""The one way in which a frozen backbone sees pictures: batches of one fixed size, so that a picture's features do not
depend on how many others came along."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from citycam.config import Precision
from citycam.data.views import normalise
from citycam.model.backbone import Backbone


class Extractor:
    """Pictures through a frozen backbone, cut at ``features`` (B, D) or ``activations`` (B, C, h, w), float32.

    Args:
        backbone: frozen, on its device.
        precision: fp32, or bf16 autocast.
        batch: pictures a pass; short batches are filled up, because other batch sizes may round differently.
        stride: output stride of the activations' grid; None for features.
    """

    def __init__(self, backbone: Backbone, *, precision: Precision, batch: int, stride: int | None = None) -> None:
        self._backbone, self._precision, self._batch = backbone, precision, batch
        self._device = next(backbone.parameters()).device
        self.passes = 0
        self._cut: Callable[[Tensor], Tensor] = backbone
        if stride is not None:
            self._cut = backbone.body if stride == backbone.strides[0] else backbone.dense_body(stride)
        self.batch = batch

    def views(self, views: np.ndarray) -> np.ndarray:
        """Values of uint8 views (B, S, S, 3)."""
        return self.pictures(normalise(torch.from_numpy(views), self._backbone.mean, self._backbone.std))

    def pictures(self, pictures: Tensor) -> np.ndarray:
        """Values of normalised pictures (B, 3, S, S)."""
        parts = [self._pass(pictures[start : start + self._batch]) for start in range(0, len(pictures), self._batch)]
        return np.concatenate(parts)

    @torch.inference_mode()
    def _pass(self, pictures: Tensor) -> np.ndarray:
        count = len(pictures)
        self.passes += count
        if count < self._batch:
            filling = pictures[-1:].expand(self._batch - count, -1, -1, -1)
            pictures = torch.cat([pictures, filling])
        pictures = pictures.to(self._device).contiguous(memory_format=torch.channels_last)
        bf16 = self._precision is Precision.bf16
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=bf16):
            values = self._cut(pictures)[:count]
        return values.float().contiguous().cpu().numpy()
