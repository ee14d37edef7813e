"""A study on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from citycam.report.elements import DISTINCTIVE, NEITHER, City, Element, Study
from citycam.words import counted, decimal, text_table

# Rows of a city.
_SHOWN = 5
_HEAD = [
    *("element", "verdict", "here", "elsewhere", "q", "costs more than", "the network loses", "shared with"),
    *("label", "suspicious"),
]


def study_text(study: Study, folder: Path) -> str:
    """Return what a study in ``folder`` found, what is suspicious first."""
    return "\n".join(_lines(study, folder))


def _lines(study: Study, folder: Path) -> Iterator[str]:
    yield from (f"suspicious: {sentence}" for sentence in study.suspicious)
    yield from (f"note: {note}" for note in study.notes)
    for city in study.cities:
        yield _heading(city, study)
        yield from (f"  {note}" for note in city.notes)
        shown = [element for element in city.elements if element.verdict != NEITHER][:_SHOWN]
        if shown:
            yield from (f"  {line}" for line in text_table([_HEAD, *map(_row, shown)]))
        else:
            yield "  Nothing that could be tested tells it from the others."
    count = sum(element.verdict == DISTINCTIVE for element in study.elements)
    yield f"{count} distinctive elements in {len(study.cities)} cities: {folder}"


def _heading(city: City, study: Study) -> str:
    tested = f"{counted(city.testing, 'picture')}{study.of_walks(city.walks)}"
    return f"{city.name}: {decimal(city.recall.value, 2)} of {tested} told right"


def _row(element: Element) -> list[str]:
    lost = element.loss
    interval = f" [{decimal(lost.low, 1)}, {decimal(lost.high, 1)}]" if lost.low is not None else ""
    label = f"{element.label} {decimal(element.label_share, 2)}" if element.label else ""
    above = element.superiority.value
    return [
        f"{element.number} {element.name}" if element.name else str(element.number),
        element.verdict,
        decimal(element.here.value, 2),
        decimal(element.elsewhere.value, 2),
        decimal(element.q, 4),
        "–" if above is None else f"{100 * above:.0f} % of places",
        f"{decimal(lost.value, 1)}{interval}",
        ", ".join(element.shared_with),
        label,
        " ".join(element.suspicious),
    ]
