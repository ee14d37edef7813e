"""What every pixel of a picture shows, where a data source knows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The labels of a picture: ``pixels`` uint8 (H, W), positions in ``names``."""

    pixels: np.ndarray
    names: tuple[str, ...]
