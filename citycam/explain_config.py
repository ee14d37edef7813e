"""The settings of maps (the group ``explain``), checked before any work starts. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from citycam.errors import AUTO, CitycamError, check_known, check_positive, check_within


class ExplainTarget(Enum):
    """What the maps explain; ``auto`` is the contrast for methods that pass whole pictures, and the city for others."""

    auto = "auto"
    city = "city"
    predicted = "predicted"
    true = "true"
    runner_up = "runner_up"
    difference = "difference"
    contrast = "contrast"


class ExplainWeights(Enum):
    """Weights of which epoch the maps are made with."""

    last = "last"
    best = "best"


# Names that registries in explain/ must equal; tests hold them together.
CELL_METHODS = (
    "cam", "gradcam", "smoothgradcampp", "gradcampp", "hirescam", "layercam", "xgradcam", "elementwise", "eigengradcam",
    "finercam", "shapleycam",
)  # fmt: skip
PICTURE_METHODS = ("integrated", "occlusion")
METHODS = CELL_METHODS + PICTURE_METHODS
BASELINES = ("blur_fine", "blur", "blur_coarse", "mean")
SCORES = (
    "removal", "removal_order", "sparseness", "contrast", "stability", "deletion_blur", "insertion_blur",
    "deletion_mean", "insertion_mean", "road", "pointing", "energy", "pixel_auc", "effect_order",
)  # fmt: skip
STRIDES = (32, 16, 8)
LAST = "last"


@dataclass(kw_only=True, slots=True)
class ExplainConfig:
    """Maps when training ends. ``pictures``: at most so many validation pictures of the target city. ``stride``: output
    stride of the map's grid. ``layer``: last, or a stage whose activations are read instead. ``noise``: standard
    deviation as a share of the input's range, in ``samples`` copies. ``baselines``, ``steps``: of each path of
    integrated gradients. ``scores``: of the maps."""

    methods: list[str] = field(default_factory=list)
    pictures: int = 100
    seed: int = 0
    stride: Any = AUTO  # as in citycam.config
    layer: str = LAST
    target: ExplainTarget = ExplainTarget.auto
    weights: ExplainWeights = ExplainWeights.last
    noise: float = 0.1
    samples: int = 8
    baselines: list[str] = field(default_factory=lambda: ["blur_fine", "blur_coarse"])
    steps: int = 2
    scores: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _check_names("methods", self.methods, METHODS)
        _check_names("baselines", self.baselines, BASELINES)
        _check_names("scores", self.scores, SCORES)
        if not self.baselines:
            raise CitycamError(f"explain.baselines=[] leaves integrated no path; name some of {', '.join(BASELINES)}.")
        check_positive("explain.pictures", self.pictures)
        check_positive("explain.samples", self.samples)
        check_within("explain.noise", self.noise, 0.001, 1.0)
        check_within("explain.steps", self.steps, 1, 1000)
        if self.stride != AUTO and self.stride not in STRIDES:
            raise CitycamError(f"explain.stride={self.stride} is not known; it is auto, 32, 16 or 8.")
        if self.layer != LAST and self.stride != AUTO:
            raise CitycamError(
                f"explain.layer={self.layer} has the grid of its own stage; leave explain.stride={self.stride} out."
            )


def _check_names(setting: str, names: list[str], known: tuple[str, ...]) -> None:
    for name in names:
        check_known(f"explain.{setting}", name, known)
    if len(set(names)) != len(names):
        raise CitycamError(f"explain.{setting}={list(names)} names one twice; name each once.")
