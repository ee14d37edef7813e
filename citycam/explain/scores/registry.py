"""The scores by name: the direction of each, what it needs, and what it does not show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citycam.explain.scores.subject import Drawn, Subject

Array = NDArray[np.floating]
# From what is explained and the maps of a method to a number for each picture (N,), NaN where there is none.
Formula = Callable[[Subject, Drawn], Array]
HIGHER, LOWER = "higher", "lower"
# What a score costs beside the maps: nothing, the tail, maps of another class, passes of the whole network, maps of
# noisy copies, pixels that are known to matter.
NEEDS = ("maps", "tail", "rivals", "passes", "copies", "truth")


@dataclass(frozen=True, slots=True)
class Score:
    """A number for each map of a picture.

    Attributes:
        name: as a user types it.
        title: as tables print it.
        better: whether ``higher`` or ``lower`` is better.
        needs: one of `NEEDS`.
        hides: a sentence that says what the score does not show.
        formula: see `Formula`.
    """

    name: str
    title: str
    better: str
    needs: str
    hides: str
    formula: Formula

    @property
    def of_picture(self) -> bool:
        """Whether the score holds a map against its picture, so that a map dealt to another picture can lose by it."""
        return self.needs not in ("maps", "rivals", "copies")


SCORES: dict[str, Score] = {}


def score(name: str, title: str, *, better: str, needs: str, hides: str) -> Callable[[Formula], Formula]:
    """Register a formula as a score; the arguments are the attributes of `Score`."""

    def register(formula: Formula) -> Formula:
        SCORES[name] = Score(name, title, better, needs, hides, formula)
        return formula

    return register
