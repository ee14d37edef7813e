"""Toytown: rendered street scenes of fictional towns, with label maps and masks of what is distinctive of each."""

from citycam.data.toytown.counterfactual import counterfactuals
from citycam.data.toytown.lessons import draw_lesson
from citycam.data.toytown.store import distinctive_mask, ensure, label_map
from citycam.data.toytown.towns import CLASSES, DEFAULT_TARGET, FEATURES, TOWNS

__all__ = [
    "CLASSES",
    "DEFAULT_TARGET",
    "FEATURES",
    "TOWNS",
    "counterfactuals",
    "distinctive_mask",
    "draw_lesson",
    "ensure",
    "label_map",
]
