"""What a body learns from when it has no pretrained weights: the lesson that each data source offers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from citycam import progress
from citycam.config import Config
from citycam.data.catalog import Catalog
from citycam.data.pictures import decode
from citycam.data.views import ViewSpec, render
from citycam.errors import CitycamError


@dataclass(frozen=True)
class Lesson:
    """The pictures and labels that a source offers to train a body with.

    Attributes:
        key: what the pictures depend on besides the network, the image size and the number of pictures seen.
        warning: a sentence for every run that uses the body.
        load: returns pictures, uint8 (N, S, S, 3), and labels in one of the forms that `citycam.train.pretrain.teach`
            takes.
    """

    key: Mapping[str, str]
    warning: str
    load: Callable[[], tuple[np.ndarray, np.ndarray]]


def city_lesson(config: Config, catalog: Catalog, train: np.ndarray) -> Lesson:
    """Return the lesson of photographs: plain views and city labels of the training part.

    Args:
        config: the run's settings.
        catalog: all pictures.
        train: int64 rows of the catalog. Their digests are part of the key, because the body must not see validation
            pictures.
    """
    digests = sorted(catalog.pictures[row].digest for row in train.tolist())
    return Lesson(
        key={"data": catalog.digest, "train": hashlib.sha256("".join(digests).encode()).hexdigest()},
        warning=(
            f"No pretrained weights of {config.backbone.name} can be had here, so one body learnt the cities from the "
            f"training part alone (at most {config.backbone.lesson:,} pictures seen), once for the sweep; accuracies "
            "are far below those with pretrained weights: give backbone.weights=FILE."
        ),
        load=lambda: _plain_views(config, catalog, train),
    )


def _plain_views(config: Config, catalog: Catalog, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return views and int64 city labels of at most as many training pictures as the lesson sees, evenly spaced."""
    rows = train
    most = config.backbone.lesson
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    chosen = [catalog.pictures[row] for row in rows.tolist()]
    spec = ViewSpec(image_size=config.image_size)
    views = np.empty((len(chosen), config.image_size, config.image_size, 3), dtype=np.uint8)
    with progress.bar("pictures", len(chosen)) as advance:
        for place, picture in enumerate(chosen):
            views[place] = render(decode(catalog.path(picture)), spec, 0, picture.digest)
            advance(1)
    labels = np.array([catalog.cities.index(picture.city) for picture in chosen], dtype=np.int64)
    if len(np.unique(labels)) < 2:
        raise CitycamError("The training part holds one city only, so no body can learn from it; check the split.")
    return views, labels
