"""The table of all pictures, the same for every data source: the city, walk and moment of each."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from citycam.seeds import derive
from citycam.words import counted

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Picture:
    """A row of the catalog.

    Attributes:
        name: path below the root, with slashes.
        digest: first 32 hex digits of the SHA-256 of the file's bytes.
        city: its label.
        group: the walk or video, unique over all cities; None if unknown.
        time: seconds within the group; None if unknown.
        part: train, val or test if the data come with a split, else None.
    """

    name: str
    digest: str
    city: str
    group: str | None = None
    time: float | None = None
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file with a picture's suffix that was skipped, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Catalog:
    """All pictures of a data source, sorted by name.

    Attributes:
        kind: the name of the source, as in ``data=NAME``.
        root: the folder that the pictures' names are relative to.
        pictures: a row for each picture that can be read.
        skipped: files that cannot be read.
        target: the city of ``partition=binary`` and of the maps, or None if none is given.
        warnings: sentences for people.
    """

    kind: str
    root: Path
    pictures: tuple[Picture, ...]
    skipped: tuple[Skipped, ...] = ()
    target: str | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def cities(self) -> tuple[str, ...]:
        """The names of the cities, sorted."""
        return tuple(sorted({picture.city for picture in self.pictures}))

    @cached_property
    def groups_known(self) -> bool:
        """Whether the group of every picture is known."""
        return all(picture.group is not None for picture in self.pictures)

    @cached_property
    def digest(self) -> str:
        """32 hex digits over all rows (name, digest, city, group, time, part); they do not depend on the root."""
        rows = [[p.name, p.digest, p.city, p.group, p.time, p.part] for p in self.pictures]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]

    def path(self, picture: Picture) -> Path:
        """Return the picture's file."""
        return self.root / picture.name

    def counts(self) -> dict[str, int]:
        """Return the number of pictures of each city, in the order of `cities`."""
        counts = Counter(picture.city for picture in self.pictures)
        return {city: counts[city] for city in self.cities}


def names_by_city(names: Mapping[str, str], limit: int | None) -> dict[str, list[str]]:
    """Return the names of each city from ``{name: city}``: by a hash of the name if there is a limit, else by name.

    ``data.limit`` keeps the first ``limit`` names of a city that can be read; the caller takes them.
    """
    cities: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        cities[names[name]].append(name)
    if limit is not None:
        for chosen in cities.values():
            chosen.sort(key=lambda name: derive("limit", name))
    return dict(sorted(cities.items()))


def plain(name: str) -> str:
    """Return a city's name in one spelling (NFC): macOS and Linux encode accents differently in file names."""
    return unicodedata.normalize("NFC", name)


def shared_between_cities(pictures: Iterable[Picture]) -> list[str]:
    """Return a warning if byte-equal pictures lie in different cities, so that their labels contradict each other."""
    seen: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        seen[picture.digest].append(picture)
    shared = [group for group in seen.values() if len({picture.city for picture in group}) > 1]
    if not shared:
        return []
    first = sorted(shared[0], key=lambda picture: picture.name)
    other = next(picture for picture in first if picture.city != first[0].city)
    return [
        f"Byte for byte in more than one city: {counted(len(shared), 'picture')} (first: {first[0].name} = "
        f"{other.name}); their labels contradict each other, so remove the wrong copies."
    ]


def qualified(city: str, group: str) -> str:
    """Return a group's name made unique over all cities: every city may have its own walk01."""
    return group if group.startswith(f"{city}/") else f"{city}/{group}"
