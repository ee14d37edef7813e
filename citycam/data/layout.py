"""City, part of a split, walk and time of pictures, from their paths and from a table beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from citycam.data.catalog import plain, qualified
from citycam.errors import CitycamError, near_matches
from citycam.files import read_csv, read_header
from citycam.words import counted

PARTS = {"train": "train", "training": "train"}
PARTS |= {"val": "val", "valid": "val", "validation": "val"}
PARTS |= {"test": "test", "testing": "test"}
COLUMNS = ("path", "city", "group", "time")

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """A picture's path, taken apart: its city, its part of a split (or None), and the path below both."""

    city: str
    part: str | None
    below: PurePosixPath


def locate(names: Sequence[str]) -> dict[str, Place]:
    """Return city, part and the rest of the path of each name that lies in a city's folder.

    Folders named train, val or test (also training, valid, validation, testing) count as parts of a split only if all
    pictures lie in such folders: either above the cities (train/paris/…) or directly below them (paris/train/…).
    """
    paths = {name: PurePosixPath(name).parts for name in names if "/" in name}
    above = all(parts[0].lower() in PARTS for parts in paths.values())
    below = not above and all(len(parts) > 2 and parts[1].lower() in PARTS for parts in paths.values())
    places = {}
    for name, parts in paths.items():
        if above and len(parts) > 2:
            places[name] = Place(plain(parts[1]), PARTS[parts[0].lower()], PurePosixPath(*parts[2:]))
        elif below:
            places[name] = Place(plain(parts[0]), PARTS[parts[1].lower()], PurePosixPath(*parts[2:]))
        elif not above:
            places[name] = Place(plain(parts[0]), None, PurePosixPath(*parts[1:]))
    return places


def like_parts(names: Sequence[str], places: Mapping[str, Place], rows: Mapping[str, Row] | None) -> list[str]:
    """Return a warning if folders are named like parts of a split, but count as cities or as folders below them."""
    if any(place.part is not None for place in places.values()):
        return []
    known = "train, val and test (also training, valid, validation, testing)"
    warnings = []
    if rows is None or not any(row.get("city") for row in rows.values()):
        cities = sorted({place.city for place in places.values()})
        parts = [city for city in cities if PARTS.keys() & set(re.split(r"[\W\d_]+", city.lower()))]
        if parts:
            warnings.append(
                f"Folders named like parts of a split count as cities: {', '.join(parts)} (all: {', '.join(cities)}). "
                f"They are parts only if all pictures lie in folders named {known}; rename or move the others."
            )
    below = sorted({name for name in names if name.count("/") > 1 and name.split("/")[1].lower() in PARTS})
    if below:
        warnings.append(
            f"A split that the data bring along is not used, since only {counted(len(below), 'picture')} of "
            f"{len(names):,} lie in folders named {known} (first: {below[0]}); move the others into such folders."
        )
    return warnings


def city_of(name: str, places: Mapping[str, Place], rows: Mapping[str, Row] | None) -> str:
    """Return the city that the table names, else that of the folder, else an empty string."""
    named = rows[name].get("city") if rows is not None else None
    if named and named.strip():
        return plain(named)
    return places[name].city if name in places else ""


def read_table(table: Path, root: Path, names: Sequence[str]) -> dict[str, Row]:
    """Return the rows of ``data.table`` by picture name.

    Raises:
        CitycamError: the table cannot be read, its columns are unknown, or it lacks a picture or lists one twice.
    """
    try:
        header, rows = read_header(table), read_csv(table)
    except (OSError, ValueError) as error:
        raise CitycamError(f"data.table={table} cannot be read ({error}); give a CSV file in UTF-8.") from error
    if "path" not in header or not rows:
        raise CitycamError(
            f"data.table={table} has no column path, or no rows; give it the columns path and, if known, city, group, "
            "time, separated by commas."
        )
    for number, row in enumerate(rows, start=2):
        if None in row:
            raise CitycamError(
                f"data.table={table}, line {number} has more cells than there are columns; correct that line."
            )
    for column in header:
        if column not in COLUMNS:
            raise CitycamError(f"data.table={table} has an unknown column {column!r}; {near_matches(column, COLUMNS)}")
        if header.count(column) > 1:
            raise CitycamError(f"data.table={table} has two columns {column}; keep one of them.")
    by_name: dict[str, Row] = {}
    for number, row in enumerate(rows, start=2):
        name = PurePosixPath(row["path"] or "").as_posix()
        if name in by_name:
            raise CitycamError(f"data.table={table}, line {number}: {name} is listed twice; keep one of the two.")
        by_name[name] = row
    known = set(names)
    unknown = [name for name in by_name if name not in known]
    if unknown:
        raise CitycamError(
            f"data.table={table} lists {counted(len(unknown), 'path')} without a picture below {root} (first: "
            f"{unknown[0]}); write paths relative to data.root, with slashes."
        )
    missing = [name for name in names if name not in by_name]
    if missing:
        raise CitycamError(
            f"data.table={table} lacks {counted(len(missing), 'picture')} of {root} (first: {missing[0]}); add a row "
            "for each, or move them out of data.root."
        )
    return by_name


def grouping(
    setting: str | None, places: Mapping[str, Place], rows: Mapping[str, Row] | None
) -> Callable[[str, str], str | None]:
    """Return the function from a picture's name and city to its group, by the table, else by ``data.group``.

    Args:
        setting: ``data.group``: ``level:N``, a regular expression, or None.
        places: the paths of all pictures.
        rows: the table's rows by name, or None.

    Raises:
        CitycamError: the setting is malformed; the function raises it if a picture has no group.
    """
    if rows is not None:
        return lambda name, city: qualified(city, rows[name]["group"]) if rows[name].get("group") else None
    if setting is None:
        return lambda _name, _city: None
    if setting.startswith("level:"):
        return _by_level(setting, places)
    return _by_pattern(setting, places)


def _by_level(setting: str, places: Mapping[str, Place]) -> Callable[[str, str], str]:
    number = setting.removeprefix("level:")
    if not re.fullmatch("0*[1-9][0-9]{0,3}", number):
        raise CitycamError(f"data.group={setting} needs a level of 1 or more, for example data.group=level:1.")
    level = int(number)

    def group(name: str, city: str) -> str:
        folders = places[name].below.parts[:-1]
        if len(folders) < level:
            raise CitycamError(
                f"data.group={setting}, but {name} lies only {counted(len(folders), 'folder')} below its city; "
                "choose a lower level, or move that picture into a folder of its walk."
            )
        return qualified(city, "/".join(folders[:level]))

    return group


def _by_pattern(setting: str, places: Mapping[str, Place]) -> Callable[[str, str], str]:
    try:
        pattern = re.compile(setting)
    except re.error as error:
        raise CitycamError(
            f"data.group={setting} is neither level:N (such as level:1) nor a regular expression ({error})."
        ) from error

    def group(name: str, city: str) -> str:
        match = pattern.search(places[name].below.as_posix())
        named = match and (match.group(1) if pattern.groups else match.group(0))
        if not named:
            raise CitycamError(
                f"data.group={setting} finds no group in {places[name].below} of {city}; change it so that it matches "
                "the path below the city of every picture."
            )
        return qualified(city, named)

    return group


def time_of(name: str, rows: Mapping[str, Row] | None) -> float | None:
    """Return the seconds within the walk, or None if the table does not give them.

    Raises:
        CitycamError: the table's time is not a finite number.
    """
    text = (rows[name].get("time") or "").strip() if rows is not None else ""
    if not text:
        return None
    try:
        time = float(text)
    except ValueError:
        time = math.nan
    if not math.isfinite(time):
        raise CitycamError(f"data.table: the time {text!r} of {name} is not a number; give seconds, for example 12.5.")
    return time
