"""From a run's settings and pictures to the drawer of its maps; shared by training and by maps made again."""

from __future__ import annotations

from typing import Any

import numpy as np

from citycam.bank.frozen import FrozenBody, explained_activations
from citycam.config import Config
from citycam.data.inputs import Inputs
from citycam.data.pictures import decode
from citycam.explain.draw import Drawer, Sample
from citycam.explain.sample import choose
from citycam.jobs.resolve import Resolved


def validation_sample(config: Config, inputs: Inputs) -> np.ndarray:
    """The validation pictures that are explained: int64 (N,), rows of the catalog.

    Raises:
        CitycamError: there is none of the target city.
    """
    pictures = inputs.catalog.pictures
    rows = choose(
        [picture.name for picture in pictures],
        [picture.digest for picture in pictures],
        [picture.city for picture in pictures],
        inputs.split.parts,
        target=inputs.target,
        count=config.explain.pictures,
        seed=config.explain.seed,
    )
    return np.array(rows, dtype=np.int64)


def make_drawer(config: Config, inputs: Inputs, resolved: Resolved, rows: np.ndarray) -> Drawer:
    """What draws maps of the pictures in catalog ``rows`` (N,), on the grid of ``resolved.stride``."""
    chosen = [inputs.catalog.pictures[row] for row in rows.tolist()]

    def activations(backbone: Any) -> tuple[np.ndarray, np.ndarray | None]:
        if not resolved.frozen:
            return explained_activations(backbone, config, inputs, resolved, rows)
        body = FrozenBody(config, inputs, resolved)
        noisy = body.noisy(rows, config.explain) if "smoothgradcampp" in config.explain.methods else None
        return body.activations(rows), noisy

    return Drawer(
        config=config.explain,
        sample=Sample(
            rows=rows,
            names=tuple(picture.name for picture in chosen),
            digests=tuple(picture.digest for picture in chosen),
            cities=tuple(picture.city for picture in chosen),
            groups=tuple(picture.group for picture in chosen),
            labels=inputs.labels.values[rows],
        ),
        activations=activations,
        picture=lambda place: decode(inputs.catalog.path(chosen[place])),
        partition=config.partition,
        classes=inputs.labels.classes,
        city=inputs.labels.classes.index(inputs.target),
        stride=resolved.stride,
    )
