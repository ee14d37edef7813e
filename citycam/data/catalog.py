"""The table of all pictures: which city, walk and moment each belongs to, whatever source they come from."""

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
    """One row. ``name``: path below the root, with slashes. ``group``: the walk or video, unique over all cities.
    ``time``: seconds within it. ``part``: train, val or test, where the data bring a split along."""

    name: str
    digest: str
    city: str
    group: str | None = None
    time: float | None = None
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file with a picture's suffix that was passed over, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Catalog:
    """All pictures, sorted by name. ``target``: the city of `partition=binary` and of the maps, if one is chosen."""

    kind: str
    root: Path
    pictures: tuple[Picture, ...]
    skipped: tuple[Skipped, ...] = ()
    target: str | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def cities(self) -> tuple[str, ...]:
        """Names of the cities, sorted."""
        return tuple(sorted({picture.city for picture in self.pictures}))

    @cached_property
    def groups_known(self) -> bool:
        """Whether every picture has a group."""
        return all(picture.group is not None for picture in self.pictures)

    @cached_property
    def digest(self) -> str:
        """32 hex digits over all rows (name, digest, city, group, time, part), not over where the root lies."""
        rows = [[p.name, p.digest, p.city, p.group, p.time, p.part] for p in self.pictures]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]

    def path(self, picture: Picture) -> Path:
        """The picture's file."""
        return self.root / picture.name

    def counts(self) -> dict[str, int]:
        """Pictures per city, in the order of `cities`."""
        found = Counter(picture.city for picture in self.pictures)
        return {city: found[city] for city in self.cities}


def names_by_city(names: Mapping[str, str], limit: int | None) -> dict[str, list[str]]:
    """Names per city from ``{name: city}``, in the order in which ``data.limit`` takes them: by a hash of the name
    where there is a limit, else by name. The caller takes the first ``limit`` that can be read."""
    cities: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        cities[names[name]].append(name)
    if limit is not None:
        for chosen in cities.values():
            chosen.sort(key=lambda name: derive("limit", name))
    return dict(sorted(cities.items()))


def plain(name: str) -> str:
    """A city's name in one spelling: macOS and Linux write accents differently in file names."""
    return unicodedata.normalize("NFC", name)


def shared_between_cities(pictures: Iterable[Picture]) -> list[str]:
    """A warning where byte-equal pictures lie in different cities, so that labels contradict each other."""
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
        f"{other.name}); labels contradict each other there, remove the wrong copies."
    ]


def qualified(city: str, group: str) -> str:
    """A group's name made unique over cities: every city may have its own walk01."""
    return group if group.startswith(f"{city}/") else f"{city}/{group}"
