"""The pictures that a run was trained and validated with: as its split.csv lists them, and where they lie today."""

from __future__ import annotations

from pathlib import Path

from citycam.config import Config
from citycam.data.catalog import Catalog, Picture
from citycam.data.inputs import Inputs
from citycam.data.labels import Labels
from citycam.data.pictures import digest_bytes, read_bytes
from citycam.data.sources import source_of
from citycam.data.splits import Split
from citycam.data.views import plain_spec, training_spec, validation_spec
from citycam.errors import CitycamError, DamagedFile, UnreadablePicture
from citycam.inference.runs import TrainedRun
from citycam.sweep.stored import read_split


def read_own(run: TrainedRun, root: Path) -> tuple[Catalog, Split]:
    """Return all pictures of the run below ``root``, and the part of each; no picture is read.

    Raises:
        CitycamError: split.csv is missing or damaged.
    """
    try:
        table = read_split(run.folder)
    except (FileNotFoundError, DamagedFile) as error:
        reason = error.reason if isinstance(error, DamagedFile) else "it is missing"
        raise CitycamError(
            f"{run.folder / 'split.csv'} is not there or damaged ({reason}), so it is not known which pictures the run "
            "was trained and validated with; put it back, or train the run again."
        ) from error
    pictures = [Picture(row.path, row.digest, row.city, row.group) for row in table]
    parts = tuple(row.part for row in table)
    catalog = Catalog(run.record.data.kind, root, tuple(pictures), target=run.target)
    return catalog, Split(run.record.split.kind, None, parts)


def make_inputs(config: Config, catalog: Catalog, split: Split, labels: Labels) -> Inputs:
    """Return the inputs of a trained run for further work on its network, which needs no weights of a loss."""
    return Inputs(
        catalog=catalog,
        split=split,
        labels=labels,
        target=str(catalog.target),
        train=split.indices("train"),
        val=split.indices("val"),
        test=split.indices("test"),
        weights=None,
        train_spec=training_spec(config.augment, config.image_size, config.data.decoder),
        val_spec=validation_spec(config.augment, config.image_size, config.data.decoder),
        plain_spec=plain_spec(config.image_size, config.data.decoder),
        warnings={},
    )


def recorded_root(run: TrainedRun) -> Path:
    """Where the run's pictures lay when it was trained."""
    return Path(run.record.data.root)


def find_root(run: TrainedRun, moved_to: Path | None) -> Path:
    """Return the root of the run's pictures; pictures that can be rendered are rendered again if they were deleted.

    Raises:
        CitycamError: the pictures are not where they were.
    """
    root = moved_to or recorded_root(run)
    if root.is_dir():
        return root
    if moved_to is not None:
        raise CitycamError(f"data.root={root} is no folder; give the one that holds the run's pictures.")
    rendered = source_of(run.config.data).render_again()
    if rendered is not None:
        return rendered
    raise CitycamError(
        f"The pictures of {run.folder} were in {root}, which is not there; give data.root=FOLDER if they were moved, "
        "or pictures=FOLDER to explain others."
    )


def check_digest(run: TrainedRun, catalog: Catalog, picture: Picture) -> None:
    """Check that a file is the picture that the run was validated with.

    Raises:
        CitycamError: the file is another picture, or cannot be read.
    """
    path = catalog.path(picture)
    try:
        digest = digest_bytes(read_bytes(path))
    except UnreadablePicture as error:
        raise CitycamError(
            f"{path}, which {run.folder.name} was validated with, cannot be read ({error.reason}); put it back, give "
            "data.root=FOLDER if the pictures were moved, or pictures=FOLDER to explain others."
        ) from error
    if digest != picture.digest:
        raise CitycamError(
            f"{path} is not the picture that {run.folder.name} was validated with (its digest differs); put that one "
            "back, or give pictures=FOLDER to explain the pictures as they are."
        )
