"""The training pictures that the body of a network finds most like the explained ones.

They show a person what the network has learned from, which helps at least as much as a map does (Nguyen et al. 2021,
"The effectiveness of feature attribution methods and its correlation with automatic evaluation scores").
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from citycam.bank.frozen import FrozenBody
from citycam.data.inputs import PlannedRun
from citycam.report.tables import write_nearest

# Of each explained picture.
COUNT = 3


def list_nearest(run: PlannedRun, rows: np.ndarray, folder: Path) -> list[str]:
    """Write explain/nearest.csv from the features that the bank keeps, and return the names of the pictures in it.

    Likeness is the cosine of features after their mean over the training pictures is subtracted: of the picture as
    validation sees it, and of the first view that training saw.

    Args:
        run: of a frozen body, with its bank.
        rows: catalog rows (N,) of explained validation pictures.
        folder: the run's.
    """
    inputs, body = run.inputs, FrozenBody(run)
    train = body.reader(training=True, epochs=1)(inputs.train, 0).double().numpy()
    own = body.reader(training=False, epochs=1)(rows, 0).double().numpy()
    mean = train.mean(axis=0)
    likeness = _unit(own - mean) @ _unit(train - mean).T
    lines, names = [], []
    for row, values in zip(rows.tolist(), likeness, strict=True):
        explained = inputs.catalog.pictures[row]
        for place in np.argsort(-values, kind="stable")[:COUNT].tolist():
            its = inputs.catalog.pictures[int(inputs.train[place])]
            lines.append((explained.digest, its.digest, its.name, its.city, round(float(values[place]), 4)))
            names.append(its.name)
    write_nearest(folder, lines)
    return names


def _unit(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    units: np.ndarray = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    return units
