"""names.csv of a study: what people call its elements. citycam invents no names, and never writes over it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from citycam.errors import CitycamError
from citycam.files import read_csv, reason_of, write_csv
from citycam.report.elements import NEITHER, City, Study

NAMES = "names.csv"
_HEADER = ["key", "number", "name"]
_LONGEST = 60


def read_names(folder: Path) -> dict[str, str]:
    """Return the names that people gave to elements, by key; none where there is no names.csv.

    Raises:
        CitycamError: it cannot be read, has not its columns, or names an element twice.
    """
    path = folder / NAMES
    try:
        rows = read_csv(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CitycamError(f"{path} cannot be read ({reason_of(error)}); save it as a CSV in UTF-8.") from error
    names: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        key, name = row.get("key"), row.get("name")
        if key is None or name is None:
            raise CitycamError(f"{path} has not the columns key and name in line {number}; remove it for a new one.")
        if not name.strip():
            continue
        if names.get(key, name.strip()) != name.strip():
            raise CitycamError(f"{path} gives {key} a second name in line {number}; keep one.")
        if len(name.strip()) > _LONGEST:
            raise CitycamError(f"{path} has a name of {len(name.strip())} characters in line {number}; {_LONGEST} fit.")
        names[key] = name.strip()
    return names


def write_names(folder: Path, study: Study) -> None:
    """Write names.csv with the elements that the page shows and no names, unless there is one already.

    Raises:
        OSError: it cannot be written.
    """
    if not (folder / NAMES).exists():
        shown = {element.key: element for element in study.elements if element.verdict != NEITHER}
        rows = [[key, element.number, ""] for key, element in sorted(shown.items(), key=lambda one: one[1].number)]
        write_csv(folder / NAMES, _HEADER, rows)


def named(study: Study, names: Mapping[str, str]) -> Study:
    """Return the study with names; those of elements that it has not are said in its notes."""
    unknown = [names[key] for key in names.keys() - {element.key for element in study.elements}]
    notes = study.notes
    if unknown:
        notes += (
            f"{NAMES} names elements that this study did not find: {', '.join(sorted(unknown))}. Other pictures, "
            "settings or weights make other elements.",
        )
    cities = tuple(_named(city, names) for city in study.cities)
    return dataclasses.replace(study, cities=cities, notes=notes)


def _named(city: City, names: Mapping[str, str]) -> City:
    elements = tuple(dataclasses.replace(element, name=names.get(element.key)) for element in city.elements)
    return dataclasses.replace(city, elements=elements)
