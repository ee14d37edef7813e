"""The plan: which pictures get which marks.

Every planted picture of the city has two marks: red and blue. In one role red is the cue, which no other city has, and
blue the decoy, which equally many pictures of all cities have; in the other role the colours are swapped. In the null
twin both marks are planted alike in all cities. So the explained pictures are the same in both roles and in the twin,
and a map that knows no class cannot tell these apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from citycam import seeds
from citycam.config import Config
from citycam.data.inputs import Inputs, load_inputs
from citycam.errors import CitycamError
from citycam.selfcheck.marks import COLOURS, Mark, Mask, Pixels, corners, mask_at, stamp
from citycam.words import counted, say

# Of each city's training pictures.
SHARE = 0.7
# Pictures that a verdict needs, and that are explained at most.
NEEDED, MOST = 60, 100
# Shares of the pictures that are held out where the settings hold out too few.
_SHARES = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
# Numbers of the planted views of a picture: the marks that they have.
PLAIN, FIRST, SECOND, BOTH = 0, 1, 2, 3
_MARKS = {PLAIN: (), FIRST: (0,), SECOND: (1,), BOTH: (0, 1)}


@dataclass(frozen=True, slots=True)
class Role:
    """Which mark is the cue. ``cue`` and ``decoy``: positions in `COLOURS`."""

    cue: int
    decoy: int

    @property
    def colour(self) -> str:
        """The colour of the cue."""
        return tuple(COLOURS)[self.cue]

    @property
    def without_cue(self) -> int:
        """The number of the view that has the decoy alone."""
        return (FIRST, SECOND)[self.decoy]

    @property
    def without_decoy(self) -> int:
        """The number of the view that has the cue alone."""
        return (FIRST, SECOND)[self.cue]


ROLES = (Role(0, 1), Role(1, 0))


@dataclass(frozen=True)
class Plan:
    """Where marks are planted.

    Attributes:
        planted: catalog rows of training pictures, of all cities, that have marks, int64 (N,).
        explained: catalog rows of the city's validation pictures, which all have both marks, int64 (M,).
    """

    mark: Mark
    city: str
    seed: int
    planted: NDArray[np.int64]
    explained: NDArray[np.int64]

    def views_of(self, inputs: Inputs, role: Role | None) -> NDArray[np.int64]:
        """Return the number of the view of each row of ``inputs.train`` (N,); None is the null twin."""
        planted = np.isin(inputs.train, self.planted)
        if role is None:
            return np.where(planted, BOTH, PLAIN)
        of_city = np.array([inputs.catalog.pictures[row].city == self.city for row in inputs.train.tolist()])
        return np.where(planted, np.where(of_city, BOTH, role.without_cue), PLAIN)


def enough_held_out(config: Config) -> tuple[Config, Inputs]:
    """Return the settings with a ``split.val`` that leaves the city at least `NEEDED` pictures, and their inputs.

    Raises:
        CitycamError: no share does.
    """
    inputs = load_inputs(config)
    held_out = len(_held_out(inputs))
    if held_out >= NEEDED:
        return config, inputs
    total = inputs.catalog.counts()[inputs.target]
    for share in _SHARES:
        if share > config.split.val and share * total >= NEEDED:
            wider = replace(config, split=replace(config.split, val=share, test=0.0))
            dealt = load_inputs(wider)
            if len(_held_out(dealt)) >= NEEDED:
                say(
                    f"note: {inputs.target} has {counted(total, 'picture')}; split.val={share:g} instead of "
                    f"{config.split.val:g} holds out the {NEEDED} that a verdict needs."
                )
                return wider, dealt
    raise _too_few(inputs, held_out)


def make_plan(inputs: Inputs, mark: Mark, seed: int) -> Plan:
    """Choose the pictures that marks are planted in, by the seed and their digests alone.

    Raises:
        CitycamError: the mark is larger than the picture, or the city has too few held-out pictures.
    """
    mark.side(inputs.plain_spec.image_size)
    held_out = _held_out(inputs)
    if len(held_out) < NEEDED:
        raise _too_few(inputs, len(held_out))
    planted: list[int] = []
    for city in inputs.catalog.cities:
        own = [row for row in inputs.train.tolist() if inputs.catalog.pictures[row].city == city]
        planted += _ordered(inputs, own, seed, "planted")[: round(SHARE * len(own))]
    explained = sorted(_ordered(inputs, held_out, seed, "checked")[:MOST])
    return Plan(mark, inputs.target, seed, np.array(sorted(planted)), np.array(explained))


def plant(view: Pixels, mark: Mark, digest: str, seed: int, number: int) -> Pixels:
    """Return a copy of a view, uint8 (S, S, 3), with the marks that the view ``number`` has."""
    planted = view.copy()
    places = corners(mark, len(view), digest, seed)
    for which in _MARKS[number]:
        stamp(planted, mark, tuple(COLOURS)[which], places[which])
    return planted


def masks(mark: Mark, picture: int, digest: str, seed: int) -> Mask:
    """Return the pixels of the two marks of a picture, bool (2, S, S), in the order of `COLOURS`."""
    return np.stack([mask_at(mark, picture, corner) for corner in corners(mark, picture, digest, seed)])


def _held_out(inputs: Inputs) -> list[int]:
    """The city's validation pictures, each digest once: copies of a picture have the same marks."""
    rows = {inputs.catalog.pictures[row].digest: row for row in reversed(inputs.val.tolist())}
    return sorted(row for row in rows.values() if inputs.catalog.pictures[row].city == inputs.target)


def _ordered(inputs: Inputs, rows: list[int], seed: int, what: str) -> list[int]:
    pictures = inputs.catalog.pictures
    return sorted(rows, key=lambda row: (seeds.derive(seed, what, pictures[row].digest), pictures[row].name))


def _too_few(inputs: Inputs, held_out: int) -> CitycamError:
    counts = inputs.catalog.counts()
    total = counts[inputs.target]
    most = max(counts, key=lambda city: counts[city])
    other = f", or choose data.target={most}, which has {counts[most]}" if counts[most] > total else ""
    return CitycamError(
        f"{inputs.target} has {counted(total, 'picture')} in {inputs.catalog.root}, of which the split holds out "
        f"{held_out}, and a verdict needs {NEEDED} that have marks and did not train the head; add pictures, hold out "
        f"more by split.val{other}."
    )
