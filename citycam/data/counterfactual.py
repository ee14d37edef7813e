"""A picture that a data source draws again without one thing: the truth of what a network uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """A picture without one feature.

    Attributes:
        name: of the original, in the catalog.
        feature: the one that was taken out.
        picture: uint8 (H, W, 3).
        changed: bool (H, W), the pixels that differ from the original.
    """

    name: str
    feature: str
    picture: np.ndarray
    changed: np.ndarray
