"""Nominate elements of cities, on the training walks alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citycam.study.prevalence import Shares, mean_share, shares
from citycam.study.subject import FEWEST, Pictures

# A city shares an element if it has it at least this often, compared with the city that has it most.
_SHARES = 0.5
# An element that more cities share than this part of them is no mark of any. (Of toytown's nominations that 3 of 8
# towns share two in three are planted things, of those that 4 share one in three, counted on training walks.)
_MOST_SHARERS = 0.4
_WALKS = 2
_KEY = 10
LIFT, _DIFFERENCE = 1.5, 0.05


@dataclass(frozen=True)
class Nomination:
    """An element of a city: ``sharers`` are the cities that have it, the city among them; ``finding`` how often its
    training pictures have it; ``key`` names the element by these pictures."""

    element: int
    key: str
    city: int
    sharers: tuple[int, ...]
    finding: Shares


def nominate(detected: NDArray[np.bool_], some: Pictures, cities: int) -> list[Nomination]:
    """Return the pairs of an element and a city that are worth a test: at least 4 pictures of 2 walks, 1.5 times as
    often as elsewhere, and by 0.05 more.

    Args:
        detected: whether each training picture has each element, bool (N, E).
        some: the training pictures.
        cities: their number.
    """
    nominations = []
    for element in range(detected.shape[1]):
        rates = np.array([mean_share(detected[:, element], some.walks, some.cities == city) for city in range(cities)])
        sharers = tuple(int(city) for city in np.flatnonzero(rates >= max(_SHARES * rates.max(), 1e-12)))
        if not 0 < len(sharers) <= max(1, int(_MOST_SHARERS * cities)):
            continue
        others = ~np.isin(some.cities, sharers)
        for city in sharers:
            own = some.cities == city
            its = own & detected[:, element]
            walks = {some.walks[place] for place in np.flatnonzero(its).tolist()}
            if its.sum() < FEWEST or len(walks) < _WALKS or not others.any():
                continue
            finding = shares(detected[:, element], some.walks, own, others)
            if finding.lift >= LIFT and finding.difference >= _DIFFERENCE:
                nominations.append(Nomination(element, _key(detected[:, element], some), city, sharers, finding))
    return nominations


def _key(detected: NDArray[np.bool_], some: Pictures) -> str:
    """Return a key of the training pictures that have an element: its number changes with any other element."""
    digests = sorted(some.digests[place] for place in np.flatnonzero(detected).tolist())
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:_KEY]
