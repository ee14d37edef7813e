"""Toytown as a data source: what ``data=toytown`` offers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from citycam import progress
from citycam.config import Config, ToytownConfig
from citycam.data.catalog import Catalog, Picture, Progress, names_by_city, qualified
from citycam.data.counterfactual import Counterfactual
from citycam.data.label_map import LabelMap
from citycam.data.lesson import Lesson
from citycam.data.toytown.counterfactual import counterfactuals
from citycam.data.toytown.lessons import draw_lesson
from citycam.data.toytown.store import INDEX, ensure, folder, label_map
from citycam.data.toytown.towns import CLASSES, DEFAULT_TARGET
from citycam.files import read_csv


@dataclass(frozen=True, slots=True)
class Toytown:
    """The rendered towns of ``config``, kept in the cache."""

    config: ToytownConfig

    @property
    def place(self) -> str:
        """The name of the place in sentences."""
        return self.config.kind

    def scan(self, progress: Progress | None = None, /) -> Catalog:
        """Return the catalog of the towns; they are rendered first if the cache lacks them.

        Raises:
            CitycamError: ``data.towns`` is larger than the number of towns, or the cache cannot be written.
        """
        root = ensure(self.config, progress)
        rows = {row["path"]: row for row in read_csv(root / INDEX)}
        names = names_by_city({name: row["city"] for name, row in rows.items()}, self.config.limit)
        chosen = sorted(name for of_city in names.values() for name in of_city[: self.config.limit])
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
        return Catalog(self.config.kind, root, pictures, target=self.config.target or DEFAULT_TARGET)

    def render_again(self) -> Path:
        """Return the root of the towns, rendered again if they have been deleted."""
        return ensure(self.config)

    def counterfactuals(self, names: Sequence[str], /) -> Iterator[Counterfactual]:
        """Draw pictures again, once without each feature of their town; see `counterfactual.counterfactuals`."""
        return counterfactuals(self.config, names)

    def label_map(self, name: str, /) -> LabelMap:
        """Return what every pixel of a picture shows."""
        return LabelMap(label_map(folder(self.config), name), CLASSES)

    def lesson(self, config: Config, _catalog: Catalog, _train: np.ndarray, /) -> Lesson:
        """Return the lesson of other towns: rendered pictures, and where everything in them is drawn.

        No picture of the data set is in it, so its key depends on none.
        """
        count = config.backbone.lesson

        def load() -> tuple[np.ndarray, np.ndarray]:
            with progress.bar("lesson", count) as advance:
                pictures, shares = draw_lesson(0, count, config.image_size)
                advance(count)
            return pictures, shares

        warning = (
            f"No pretrained weights of {config.backbone.name} can be had here, so one body was trained once on "
            "rendered pictures of other towns and frozen for all models; give backbone.weights=FILE for better ones."
        )
        return Lesson({}, warning, load)
