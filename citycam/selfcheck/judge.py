"""The statistics of the check: effects of marks, shares of maps that point at them, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citycam.report.verdicts import BLIND, FINDS, NOT_USED, TOO_FEW, WEAK, Estimate
from citycam.selfcheck.planting import NEEDED
from citycam.statistics import clustered, mean_interval
from citycam.words import decimal

Values = NDArray[np.float64]

# A cue is used if its effect is at least this share of the contrast.
_USED = 0.5
# A method finds if the interval of its share lies above the first, and is blind if it lies below the second.
_FINDS, _BLIND = 0.5, 0.2
# A mean rank correlation with the maps of a random network from which on maps hardly changed.
UNCHANGED = 0.5


@dataclass(frozen=True)
class Pointed:
    """Where the maps of one method lie, over pictures and roles; a blank map points nowhere and has no energy.

    Attributes:
        cue, decoy: whether the highest point lies in the mark, 0 or 1 (N,).
        energy: share of the positive mass in the cue (N,).
        null_cue, null_energy: the same for the null twin (N,).
        blank: maps that show nothing.
    """

    cue: Values
    decoy: Values
    energy: Values
    null_cue: Values
    null_energy: Values
    blank: int


def share(hits: Values, groups: Sequence[Hashable]) -> Estimate:
    """Return a share with its Wilson interval; answers of a group (a walk, or a picture in two roles) vary together."""
    low, high = clustered(hits, groups)
    return Estimate(float(hits.mean()), low, high)


def mean(values: Values, groups: Sequence[Hashable]) -> Estimate:
    """Return a mean with its interval over groups.

    Raises:
        ValueError: there is only one group.
    """
    low, high = mean_interval(values, groups)
    if math.isnan(low):
        raise ValueError("one group has no variance")
    return Estimate(float(values.mean()), low, high)


def is_used(effect: Values, contrast: Values) -> bool:
    """Return whether pasting the original pixels back over a cue takes at least half of the contrast, on average."""
    return bool(contrast.mean() > 0 and effect.mean() >= _USED * contrast.mean())


def strongly_used(effect: Values, contrast: Values) -> NDArray[np.bool_]:
    """Return for which pictures (N,) the effect is more than half of their own contrast."""
    strong: NDArray[np.bool_] = (contrast > 0) & (effect > _USED * contrast)
    return strong


def verdict(
    method: Pointed,
    controls: Mapping[str, Pointed],
    groups: Sequence[Hashable],
    *,
    pictures: int,
    used: bool,
    unchanged: float | None,
) -> tuple[str, str]:
    """Return the verdict on a method, one of `citycam.report.verdicts.VERDICTS`, and what decided it.

    Args:
        controls: maps that know no class, of the same pictures.
        groups: of the pictures (N,).
        pictures: how many different ones there are.
        used: whether the network uses a cue at all.
        unchanged: the rank correlation of its maps with those of a random network; None where it was not measured.
    """
    if not used:
        return NOT_USED, "pasting the original pixels back takes less than half of the contrast"
    if pictures < NEEDED:
        return TOO_FEW, f"{pictures} pictures, and {NEEDED} are needed"
    cue = share(method.cue, groups)
    where = f"on the mark in {decimal(cue.value, 2)} [{decimal(cue.low, 2)}, {decimal(cue.high, 2)}]"
    if cue.high <= _BLIND:
        return BLIND, where
    if cue.low < _FINDS:
        return WEAK, where
    better = [(name, what) for name, other in controls.items() for what in _not_better(method, other, groups)]
    if better:
        name, what = better[0]
        return WEAK, f"{where}, but its {what} is not above that of {name}, which knows no class"
    if unchanged is not None and unchanged >= UNCHANGED:
        return WEAK, f"{where}, but its maps hardly change with the weights (rank correlation {decimal(unchanged, 2)})"
    return FINDS, where


def _not_better(method: Pointed, control: Pointed, groups: Sequence[Hashable]) -> list[str]:
    """Return in what a method does not beat a control, by paired t intervals over groups."""
    differences = {
        "energy": method.energy - control.energy,
        "pointing at cue over decoy": (method.cue - method.decoy) - (control.cue - control.decoy),
    }
    return [what for what, difference in differences.items() if mean(difference, groups).low <= 0]
