"""The table of all pictures: which city, walk and moment each belongs to, whatever source they come from."""

from __future__ import annotations

import difflib
import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from citycam.config import DataConfig, FolderConfig, ToytownConfig
from citycam.errors import CitycamError
from citycam.seeds import derive

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


def load_catalog(config: DataConfig, progress: Progress | None = None) -> Catalog:
    """Find, read and check all pictures; toytown's are rendered first where the cache lacks them.

    ``progress`` is called with (done, total) while pictures are made or read. ``data.limit`` keeps that many
    readable pictures of each city, those whose names hash lowest: the same ones whatever other cities there are.

    Raises:
        CitycamError: the root is missing or empty, there is one city only, or the target is not among the cities.
        UnreadablePicture: with ``data.on_bad=error``, the first picture that cannot be read.
    """
    catalog = SOURCES[config.kind](config, progress)
    cities = catalog.cities
    if len(cities) == 1:
        raise CitycamError(
            f"{catalog.root} holds one city only ({cities[0]}); telling cities apart needs pictures of at least two, "
            "each in a folder of its own."
        )
    if catalog.target is not None and catalog.target not in cities:
        place = catalog.root if catalog.kind == "folder" else catalog.kind
        close = difflib.get_close_matches(catalog.target, cities, n=1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise CitycamError(
            f"data.target={catalog.target} is not a city of {place}, which holds {', '.join(cities)}{hint}"
        )
    return catalog


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


def counted(number: int, word: str) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


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


def _toytown(config: DataConfig, progress: Progress | None) -> Catalog:
    from citycam.data import toytown
    from citycam.files import read_csv

    assert isinstance(config, ToytownConfig)
    root = toytown.ensure(config, progress)
    rows = {row["path"]: row for row in read_csv(root / "index.csv")}
    names = names_by_city({name: row["city"] for name, row in rows.items()}, config.limit)
    chosen = sorted(name for of_city in names.values() for name in of_city[: config.limit])
    pictures = tuple(
        Picture(
            name=name,
            digest=rows[name]["digest"],
            city=rows[name]["city"],
            group=qualified(rows[name]["city"], rows[name]["group"]),
            time=float(rows[name]["time"]),
        )
        for name in chosen
    )
    return Catalog("toytown", root, pictures, target=config.target or toytown.DEFAULT_TARGET)


def qualified(city: str, group: str) -> str:
    """A group's name made unique over cities: every city may have its own walk01."""
    return group if group.startswith(f"{city}/") else f"{city}/{group}"


def _folder(config: DataConfig, progress: Progress | None) -> Catalog:
    from citycam.data import folder

    assert isinstance(config, FolderConfig)
    return folder.scan(config, progress)


SOURCES: dict[str, Callable[[DataConfig, Progress | None], Catalog]] = {"toytown": _toytown, "folder": _folder}
