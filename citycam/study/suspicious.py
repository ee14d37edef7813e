"""Elements that may be no things of the city: of one walk or camera, at one place of the frame, or of drawings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from citycam import progress
from citycam.data.photographs import unlike_photograph
from citycam.study.describe import Stage
from citycam.study.subject import Pictures, Subject
from citycam.words import decimal

Array = NDArray[np.floating]
# An element of one walk has at least this share of its pictures there, and the walk has not most of the city's.
_ONE_WALK = 0.8
# The spread of an element's places, on both axes, as a share of the spread of even places.
_NARROW = 0.25
# Detections of fewer pictures say nothing on where they sit.
_FEWEST = 5
# Pictures of an element that are no photographs: at least so many, such a share of them, and so many times the city's.
_DRAWN, _DRAWN_SHARE, _DRAWN_LIFT = 3, 0.3, 3


def reasons(
    stage: Stage, cells: NDArray[np.int64], walks: Sequence[Hashable], drawn: NDArray[np.bool_], its: NDArray[np.int64]
) -> list[str]:
    """Return sentences on why an element may be none, empty where nothing speaks against it.

    Args:
        cells: the highest cell of each picture of the city that has it (M,).
        walks: of all pictures of the city (N,).
        drawn: which of them are like no photographs, bool (N,).
        its: which of them have the element, positions (M,).
    """
    own = [walks[place] for place in its.tolist()]
    every = (_one_walk(own, walks), _one_place(stage, cells), _drawn(drawn[its], drawn))
    return [reason for reason in every if reason]


def drawn_pictures(subject: Subject, some: Pictures) -> NDArray[np.bool_]:
    """Return which pictures are like maps, drawings or logos, and not like photographs, bool (N,)."""
    root = subject.run.inputs.catalog.root
    result = np.zeros(len(some), dtype=bool)
    with progress.bar("photographs", len(some)) as advance:
        for place, name in enumerate(some.names):
            result[place] = unlike_photograph(root / name) > 1
            advance(1)
    return result


def _one_walk(walks: Sequence[Hashable], all_walks: Sequence[Hashable]) -> str:
    if len(set(all_walks)) < 2 or not walks:
        return ""
    walk, count = Counter(walks).most_common(1)[0]
    share, usual = count / len(walks), Counter(all_walks)[walk] / len(all_walks)
    if share < _ONE_WALK or usual > _ONE_WALK / 2:
        return ""
    return f"{share:.0%} of its pictures are of one walk or camera ({walk}), which has {usual:.0%} of the city's."


def _one_place(stage: Stage, cells: NDArray[np.int64]) -> str:
    """Where detections sit at one place on both axes; paving sits low too, but anywhere along the street."""
    if len(cells) < _FEWEST:
        return ""
    rows, columns = np.divmod(cells, len(stage.cells.columns))
    places = np.array(stage.cells.rows)[rows], np.array(stage.cells.columns)[columns]
    spread = [float(np.std(place) * np.sqrt(12)) for place in places]  # 1 for places that are even over the picture
    if max(spread) > _NARROW:
        return ""
    down, right = (decimal(float(np.mean(place)), 2) for place in places)
    return (
        f"It sits at one place of the frame ({right} from the left, {down} from the top), as a mark or a caption does."
    )


def _drawn(own: NDArray[np.bool_], every: NDArray[np.bool_]) -> str:
    count = int(own.sum())
    if count < _DRAWN or own.mean() < max(_DRAWN_SHARE, _DRAWN_LIFT * every.mean()):
        return ""
    return (
        f"{count} of its {len(own)} pictures are like maps, drawings or logos, not like photographs (of all tested "
        f"pictures of the city {every.mean():.0%})."
    )
