"""What the numbers of a run can be, by their names: a number out of its range is damage and is never shown."""

from __future__ import annotations

import math
import re
from typing import Any

from citycam.words import is_text

_SHARE = re.compile(r"(.*_)?(accuracy|f1|auroc|ece|chance)")
_LOSS = re.compile(r"(.*_)?loss")
_COUNT = re.compile(r"n_(train|val|test)|epoch")
# Sums of float32 may end a little outside the range.
_ROUNDING = 1e-6
# More epochs or pictures than any run has.
_MOST = 10**12


def number(value: Any) -> float:
    """Return ``value``, which is a finite number.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(value)
    return value


def is_metric(name: str, value: Any) -> bool:
    """Return whether ``value`` can be the metric ``name``: a number in its range, an interval [low, high], or, for
    ``interval_over``, words."""
    if name.endswith("interval_over"):
        return is_text(value)
    if name.endswith("_interval"):
        return isinstance(value, list) and len(value) == 2 and all(map(_is_bound, value)) and value[0] <= value[1]
    return is_number(name, value)


def _is_bound(value: Any) -> bool:
    # Some intervals of shares reach beyond 0 or 1, though never far.
    return is_number("", value) and -1 <= value <= 2


def is_number(name: str, value: Any) -> bool:
    """Return whether ``value`` is a number that the metric ``name`` can be."""
    try:
        known = number(value)
    except (TypeError, OverflowError):
        return False
    if _SHARE.fullmatch(name):
        return -_ROUNDING <= known <= 1 + _ROUNDING
    if _COUNT.fullmatch(name):
        return 1 <= known <= _MOST and known == int(known)
    return known >= 0 if _LOSS.fullmatch(name) else True
