"""What a run learns from: catalog, split, labels and views. Kept in memory, since jobs of a sweep share them."""

from __future__ import annotations

import contextlib
import json
import statistics
from dataclasses import dataclass

import numpy as np

from citycam import progress
from citycam.config import Config, DataConfig, Partition, SplitConfig
from citycam.data.catalog import Catalog
from citycam.data.labels import Labels, class_weights, make_labels
from citycam.data.pictures import shorter_side
from citycam.data.sources import load_catalog
from citycam.data.splits import Split, make_split
from citycam.data.views import ViewSpec, plain_spec, training_spec, validation_spec
from citycam.errors import CitycamError, UnreadablePicture
from citycam.files import to_dict
from citycam.processes import remember
from citycam.resolved import Resolved

# The size that most pretrained weights were made for, and how many pictures say how large a data set's are.
_PHOTOGRAPHS, _LOOKED_AT = 224, 24


@dataclass(frozen=True)
class Inputs:
    """Pictures, parts, labels and views of one run.

    Attributes:
        target: the city of the maps.
        train, val, test: int64 rows of the catalog.
        weights: of the loss, float32 (K,), or None.
        train_spec, val_spec, plain_spec: the views of training, of validation, and of maps.
        warnings: {code: sentence}.
    """

    catalog: Catalog
    split: Split
    labels: Labels
    target: str
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    weights: np.ndarray | None
    train_spec: ViewSpec
    val_spec: ViewSpec
    plain_spec: ViewSpec
    warnings: dict[str, str]

    def groups_of(self, rows: np.ndarray) -> list[str] | None:
        """The group of each picture of catalog ``rows`` (N,), or None where groups are not known."""
        if not self.catalog.groups_known:
            return None
        return [str(self.catalog.pictures[row].group) for row in rows.tolist()]


@dataclass(frozen=True)
class PlannedRun:
    """A run before it starts: its settings, its pictures, and the value of every ``auto``."""

    config: Config
    inputs: Inputs
    resolved: Resolved


def load_inputs(config: Config) -> Inputs:
    """Return catalog, split, labels and views of a run.

    Raises:
        CitycamError: the data do not fit the settings.
    """
    catalog = _remembered_catalog(_Key(config.data))
    split = _remembered_split(catalog.digest, _Key(config.split), _Key(config.data))
    warnings = {f"data_{number}": sentence for number, sentence in enumerate(catalog.warnings, 1)}
    warnings |= dict(zip(_split_codes(split), split.warnings, strict=True))
    if catalog.skipped:
        names = ", ".join(skipped.name for skipped in catalog.skipped[:3])
        more = ", …" if len(catalog.skipped) > 3 else ""
        warnings["pictures_skipped"] = (
            f"{len(catalog.skipped)} pictures could not be read and were skipped ({names}{more}); see skipped.csv."
        )
    target = catalog.target
    if target is None:
        target = catalog.cities[0]
        warnings["target_not_given"] = (
            f"data.target was not given, so maps are of {target}, the first city by name; give data.target=CITY."
        )
    labels = make_labels(catalog, config.partition, target if config.partition is Partition.binary else catalog.target)
    if config.augment.validation:
        warnings["validation_augmented"] = (
            f"augment={config.augment.name} changes validation pictures at random too, as the published work did, so "
            "validation numbers are noisier and lower than on plain pictures."
        )
    side = _remembered_side(_Key(config.data))
    if config.image_size < _PHOTOGRAPHS and side > 2 * config.image_size:
        warnings["small_image_size"] = (
            f"The pictures have about {side} pixels a side and are read at image_size={config.image_size}, where "
            f"little is left of windows and signs; photographs want image_size={_PHOTOGRAPHS}, as in experiment=photos."
        )
    parts = {part: split.indices(part) for part in ("train", "val", "test")}
    return Inputs(
        catalog=catalog,
        split=split,
        labels=labels,
        target=target,
        **parts,
        weights=class_weights(labels.values[parts["train"]], len(labels.classes), config.balance),
        train_spec=training_spec(config.augment, config.image_size, config.data.decoder),
        val_spec=validation_spec(config.augment, config.image_size, config.data.decoder),
        plain_spec=plain_spec(config.image_size, config.data.decoder),
        warnings=warnings,
    )


def _split_codes(split: Split) -> list[str]:
    """Return a code for each warning of the split; the first one of a split that may leak is the mark in tables."""
    first = {True: "split_leaky", None: "split_unknown", False: "split_1"}[split.leaky]
    return [first, *(f"split_{number}" for number in range(2, len(split.warnings) + 1))][: len(split.warnings)]


@dataclass(frozen=True)
class _Key:
    """The key of settings in a cache: equal content, equal key."""

    config: DataConfig | SplitConfig

    def __hash__(self) -> int:
        return hash(json.dumps(to_dict(self.config), sort_keys=True))


@remember(8)
def _remembered_catalog(key: _Key) -> Catalog:
    if not isinstance(key.config, DataConfig):
        raise TypeError("a catalog is made from data settings")
    with progress.counted("pictures") as tell:
        return load_catalog(key.config, tell)


@remember(8)
def _remembered_side(data: _Key) -> int:
    """The median of the shorter sides of some pictures, spread over all of them."""
    catalog = _remembered_catalog(data)
    some = catalog.pictures[:: max(1, len(catalog.pictures) // _LOOKED_AT)]
    sides = []
    for picture in some:
        with contextlib.suppress(UnreadablePicture):  # it has gone since the scan, which is said where it is read
            sides.append(shorter_side(catalog.path(picture)))
    return round(statistics.median(sides)) if sides else 0


@remember(32)
def _remembered_split(_catalog_digest: str, split: _Key, data: _Key) -> Split:
    catalog = _remembered_catalog(data)
    if not isinstance(split.config, SplitConfig):
        raise TypeError("a split is made from split settings")
    made = make_split(catalog, split.config)
    for part in ("train", "val"):
        if not len(made.indices(part)):
            raise CitycamError(
                f"The split of {catalog.root} leaves no pictures for {part}; change split.val or data.limit."
            )
    return made
