"""What is studied: a trained network with the pictures of every city, some to find elements on and others to test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from citycam import seeds
from citycam.config import Partition
from citycam.data.inputs import Inputs, PlannedRun
from citycam.data.labels import make_labels
from citycam.errors import CitycamError
from citycam.explain.activations import plain_pictures
from citycam.explain.make import exact_network
from citycam.files import sha256
from citycam.inference.network import load_network, resolve_here
from citycam.inference.own_pictures import check_digest, find_root, make_inputs, read_own
from citycam.inference.runs import TrainedRun
from citycam.model.network import Network
from citycam.study_config import StudyConfig
from citycam.sweep.runs import read_runs


@dataclass(frozen=True)
class Pictures:
    """Some pictures of every city.

    Attributes:
        rows: of the catalog (N,).
        names, digests: of the pictures.
        cities: int (N,), positions in the run's classes.
        walks: the walk of each picture; where walks are not known, its digest.
    """

    rows: NDArray[np.int64]
    names: tuple[str, ...]
    digests: tuple[str, ...]
    cities: NDArray[np.int64]
    walks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Subject:
    """A network with the pictures that it is studied on.

    Attributes:
        run: settings, pictures, and the value of every ``auto``.  run_name: of its folder.
        network: in the arithmetic of maps, in eval mode, on its device.
        weights: digests of the body and of the checkpoint, which the kept maps depend on.
        cities: names, in the order of the logits.
        finding, testing: pictures of the training and of the validation part.
        walks_known: whether walks are known; else pictures stand for them.
        doubts: sentences on why the run's accuracy may show nothing (a split that leaks, chance).
        settings: of the study.
    """

    run: PlannedRun
    run_name: str
    network: Network
    weights: tuple[str, str]
    cities: tuple[str, ...]
    finding: Pictures
    testing: Pictures
    walks_known: bool
    doubts: tuple[str, ...]
    settings: StudyConfig

    @property
    def side(self) -> int:
        """Of the pictures as the network reads them, in pixels."""
        return self.run.config.image_size

    def pictures(self, some: Pictures, chosen: slice) -> torch.Tensor:
        """Return normalised pictures (B, 3, S, S), on the network's device."""
        return self.at(some.rows[chosen])

    def at(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return normalised pictures (B, 3, S, S) of catalog rows (B,), on the network's device."""
        return plain_pictures(self.run, self.network.backbone, rows)


def make_subject(run: TrainedRun, settings: StudyConfig, moved_to: Path | None) -> Subject:
    """Load a trained network, and choose pictures of each city.

    Raises:
        CitycamError: the run tells one city from the rest, or its pictures or weights are not there.
    """
    if run.config.partition is Partition.binary:
        raise CitycamError(
            f"{run.folder} was trained with partition=binary, which knows one city and the rest; a study needs a run "
            "with partition=multi."
        )
    resolved = resolve_here(run)
    torch.set_num_threads(resolved.threads)
    catalog, split = read_own(run, find_root(run, moved_to))
    inputs = make_inputs(run.config, catalog, split, make_labels(catalog, run.config.partition, run.target))
    planned = PlannedRun(run.config, inputs, resolved)
    finding, testing = (_choose(inputs, rows, settings) for rows in (inputs.train, inputs.val))
    _check(run, inputs, finding, testing)
    network = load_network(run, resolved)
    return Subject(
        run=planned,
        run_name=run.folder.name,
        network=exact_network(network),
        weights=(str(resolved.weights_digest), sha256(run.checkpoint)),
        cities=inputs.labels.classes,
        finding=finding,
        testing=testing,
        walks_known=catalog.groups_known,
        doubts=tuple(mark.sentence for row in read_runs(run.folder) for mark in row.marks if mark.code != _SAID),
        settings=settings,
    )


def _choose(inputs: Inputs, rows: NDArray[np.int64], settings: StudyConfig) -> Pictures:
    """Choose at most ``settings.pictures`` of each city, each digest once, walk by walk in turn."""
    pictures, labels = inputs.catalog.pictures, inputs.labels.values
    chosen: list[int] = []
    for city in range(len(inputs.labels.classes)):
        own = {pictures[row].digest: row for row in reversed(rows.tolist()) if labels[row] == city}
        order = sorted(own.values(), key=lambda row: seeds.derive(settings.seed, "study", pictures[row].digest))
        turns: dict[str | None, int] = {}
        places: list[tuple[int, int, int]] = []
        for row in order:
            turns[pictures[row].group] = turn = turns.get(pictures[row].group, 0) + 1
            places.append((turn, len(places), row))
        # Without walks all pictures are of one, and the first are taken.
        chosen += [row for _, _, row in sorted(places)[: settings.pictures]]
    taken = np.array(sorted(chosen), dtype=np.int64)
    some = [pictures[row] for row in taken.tolist()]
    known = inputs.catalog.groups_known
    return Pictures(
        rows=taken,
        names=tuple(picture.name for picture in some),
        digests=tuple(picture.digest for picture in some),
        cities=labels[taken],
        walks=tuple(str(picture.group) if known else picture.digest for picture in some),
    )


# A study itself says what follows where walks are not known.
_SAID = "split_unknown"
# Of a city in each part: an element is nominated from this many pictures on.
FEWEST = 4


def _check(run: TrainedRun, inputs: Inputs, *parts: Pictures) -> None:
    """Check that the pictures are there, and that enough cities can be studied.

    Raises:
        CitycamError: they are not.
    """
    for part in parts:
        for row in part.rows[:: max(1, len(part) // 20)].tolist():
            check_digest(run, inputs.catalog, inputs.catalog.pictures[row])
    enough = [city for city, name in enumerate(inputs.labels.classes) if all(_has(part, city) for part in parts)]
    if len(enough) < 2:
        names = ", ".join(inputs.labels.classes[city] for city in enough) or "none"
        raise CitycamError(
            f"A study compares cities, and of those of {run.folder.name} only {names} has {FEWEST} pictures to find "
            f"elements on and {FEWEST} to test them; add pictures."
        )


def _has(part: Pictures, city: int) -> bool:
    return int((part.cities == city).sum()) >= FEWEST
