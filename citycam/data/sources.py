"""Where pictures come from: what a data source offers, and the registry by the name that ``data=NAME`` takes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from citycam.config import Config, DataConfig, FolderConfig, ToytownConfig
from citycam.data.catalog import Catalog, Progress
from citycam.errors import CitycamError

if TYPE_CHECKING:
    import numpy as np

    from citycam.data.counterfactual import Counterfactual
    from citycam.data.label_map import LabelMap
    from citycam.data.lesson import Lesson


class Source(Protocol):
    """The pictures that one option of ``data`` names: everything in which sources differ."""

    @property
    def place(self) -> str:
        """The name of the place in sentences, for example the root folder."""
        ...

    def scan(self, progress: Progress | None = None, /) -> Catalog:
        """Return the catalog of all pictures that can be read, ``data.limit`` of each city.

        Args:
            progress: called with (done, total) while pictures are made or read.
        """
        ...

    def render_again(self) -> Path | None:
        """Make the pictures again if they have been deleted; return their root, or None if that is impossible."""
        ...

    def lesson(self, config: Config, catalog: Catalog, train: np.ndarray, /) -> Lesson:
        """Return what a body without pretrained weights learns from; ``train``: int64 rows of the training part."""
        ...

    def counterfactuals(self, names: Sequence[str], /) -> Iterator[Counterfactual] | None:
        """Draw pictures again, once without each feature of their city; None if that is impossible.

        Args:
            names: of the pictures in the catalog.

        Raises:
            CitycamError: a name is not in the catalog.
        """
        ...

    def label_map(self, name: str, /) -> LabelMap | None:
        """Return what every pixel of a picture of the catalog shows; None where that is not known."""
        ...


def source_of(config: DataConfig) -> Source:
    """Return the source that ``config`` names."""
    return SOURCES[config.kind](config)


def load_catalog(config: DataConfig, progress: Progress | None = None) -> Catalog:
    """Scan the source that ``config`` names, and check its cities and the target.

    ``data.limit`` keeps that many readable pictures of each city, those whose names hash lowest. The choice does not
    depend on the other cities.

    Args:
        config: the data settings.
        progress: called with (done, total) while pictures are made or read.

    Raises:
        CitycamError: the root is missing or empty, there is only one city, or the target is not among the cities.
        UnreadablePicture: with ``data.on_bad=error``, the first picture that cannot be read.
    """
    source = source_of(config)
    catalog = source.scan(progress)
    cities = catalog.cities
    if len(cities) == 1:
        raise CitycamError(
            f"{catalog.root} holds only one city ({cities[0]}); a classifier needs pictures of at least two, "
            "each in a folder of its own."
        )
    if catalog.target is not None and catalog.target not in cities:
        close = difflib.get_close_matches(catalog.target, cities, n=1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise CitycamError(
            f"data.target={catalog.target} is not a city of {source.place}, which holds {', '.join(cities)}{hint}"
        )
    return catalog


def _toytown(config: DataConfig) -> Source:
    from citycam.data.toytown.source import Toytown

    assert isinstance(config, ToytownConfig)
    return Toytown(config)


def _folder(config: DataConfig) -> Source:
    from citycam.data.folder import Folder

    assert isinstance(config, FolderConfig)
    return Folder(config)


# Each imports its source's file only when that source is used: toytown's takes a sixth of the time of `data.inputs`.
SOURCES: dict[str, Callable[[DataConfig], Source]] = {"toytown": _toytown, "folder": _folder}
