"""The scores of maps of comparison.html, from run.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from citycam.statistics import FEW_GROUPS
from citycam.sweep.numbers import is_number
from citycam.sweep.runs import RunRow
from citycam.words import decimal

# Runs with scores on the page.
_RUNS = 50
_ABOUT = ("title", "better", "hides")


def gather_scores(rows: Sequence[RunRow]) -> dict[int, dict[str, Any]]:
    """Return the scores of the first 50 runs that have some, by the index in ``rows``.

    Returns:
        ``about``: name, title, direction and limits of each score. ``rows``: for each method and control its name,
        whether it is a control, and a cell for each score: mean and interval in words, pictures, walks, and the names
        that it is significantly better and worse than. Entries that are not scores are left out.
    """
    gathered: dict[int, dict[str, Any]] = {}
    for index, row in enumerate(rows):
        if len(gathered) == _RUNS:
            break
        scores, about = (_mapping(row.record.explained.get(key)) for key in ("scores", "about_scores"))
        names = [name for name in about if isinstance(about[name], Mapping)]
        if names and scores:
            methods = _mapping(row.record.explained.get("methods"))
            gathered[index] = {
                "about": [[name, *(str(about[name].get(key, "")) for key in _ABOUT)] for name in names],
                "rows": [
                    [method, method not in methods, [_cell(_mapping(its).get(name)) for name in names]]
                    for method, its in scores.items()
                ],
                "few": FEW_GROUPS,
            }
    return gathered


def _cell(entry: Any) -> dict[str, Any] | None:
    its = _mapping(entry)
    numbers = {key: value for key, value in its.items() if is_number("", value)}
    if not {"mean", "n"} <= set(numbers):
        return None
    both = {"low", "high"} <= set(numbers)
    return {
        "mean": decimal(numbers["mean"]),
        "between": f"[{decimal(numbers['low'], 2)}, {decimal(numbers['high'], 2)}]" if both else "",
        **{key: numbers.get(key) for key in ("n", "excluded", "groups")},
        **{key: _names(its.get(key)) for key in ("better_than", "worse_than")},
    }


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
