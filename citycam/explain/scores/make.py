"""The scores of a run's maps: of every method, and of the controls beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from citycam.explain.scores import cause, curves, removal, road, shape
from citycam.explain.scores.controls import DEALT, dealt_maps
from citycam.explain.scores.registry import SCORES
from citycam.explain.scores.subject import Drawn, Subject

Array = NDArray[np.floating]
# What fills the registry.
FILES = (removal, shape, curves, road, cause)


def score_maps(
    subject: Subject,
    methods: Sequence[Drawn],
    controls: Sequence[Drawn],
    names: Sequence[str],
    cities: Sequence[str],
    *,
    progress: Callable[[int], None] | None = None,
) -> dict[str, dict[str, Array]]:
    """Score the maps of methods and controls, and of each method's maps dealt to other pictures.

    Args:
        names: of scores, in `SCORES`; the columns.
        cities: N, of the pictures: maps are dealt within a city.
        progress: called with the number of maps scored since the last call.

    Returns:
        For each method, control and dealt method, and each score, a number for each picture, float64 (N,), NaN for a
        blank map and where the score is not defined.
    """
    everything = [*methods, *controls, *(dealt_maps(drawn, cities, subject.seed) for drawn in methods)]
    scores: dict[str, dict[str, Array]] = {drawn.name: {} for drawn in everything}
    for drawn in everything:
        for name in names:
            scores[drawn.name][name] = _score(name, subject, drawn)
            if progress is not None:
                progress(len(subject))
    return scores


def _score(name: str, subject: Subject, drawn: Drawn) -> Array:
    its = SCORES[name]
    if drawn.name.startswith(DEALT) and not its.of_picture:
        return np.full(len(subject), np.nan)
    values = np.asarray(its.formula(subject, drawn), dtype=np.float64)
    return np.where(drawn.blank, np.nan, values)
