"""Elements that may be no things of the city: of one walk or camera, or at one place of the frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from citycam.study.describe import Stage
from citycam.words import decimal

Array = NDArray[np.floating]
# An element of one walk has at least this share of its pictures there, and the walk has not most of the city's.
_ONE_WALK = 0.8
# The spread of an element's places, on both axes, as a share of the spread of even places.
_NARROW = 0.25
# Detections of fewer pictures say nothing on where they sit.
_FEWEST = 5


def reasons(
    stage: Stage, cells: NDArray[np.int64], walks: Sequence[Hashable], all_walks: Sequence[Hashable]
) -> list[str]:
    """Return sentences on why an element may be none, empty where nothing speaks against it.

    Args:
        cells: the highest cell of each picture of the city that has it (M,).
        walks: of these pictures (M,).
        all_walks: of all pictures of the city.
    """
    return [reason for reason in (_one_walk(walks, all_walks), _one_place(stage, cells)) if reason]


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
