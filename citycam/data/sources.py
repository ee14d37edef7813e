"""Where pictures come from: the registry of data sources, by the name that ``data=NAME`` takes."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from citycam.config import DataConfig, FolderConfig, ToytownConfig
from citycam.data.catalog import Catalog, Picture, Progress, names_by_city, qualified
from citycam.errors import CitycamError
from citycam.files import read_csv


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


def _toytown(config: DataConfig, progress: Progress | None) -> Catalog:
    from citycam.data import toytown

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


def _folder(config: DataConfig, progress: Progress | None) -> Catalog:
    from citycam.data import folder

    assert isinstance(config, FolderConfig)
    return folder.scan(config, progress)


SOURCES: dict[str, Callable[[DataConfig, Progress | None], Catalog]] = {"toytown": _toytown, "folder": _folder}
