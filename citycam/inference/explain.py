"""Maps of trained runs, made again: with other methods or targets, or of any pictures; never over existing ones."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from citycam.config import Config
from citycam.data.catalog import Catalog, Picture
from citycam.data.inputs import Inputs, PlannedRun
from citycam.data.labels import Labels, make_labels
from citycam.data.pictures import check_bytes, digest_bytes, read_bytes
from citycam.data.splits import Split
from citycam.errors import AUTO, CitycamError, UnreadablePicture
from citycam.explain.draw import DrawnMaps, draw_maps
from citycam.explain.grid import check_network
from citycam.explain.lattice import read_lattice
from citycam.explain.sample import validation_sample
from citycam.explain_config import ExplainConfig, ExplainTarget
from citycam.files import FOLDER_MODE, read_text, sha256, to_dict, write_json
from citycam.inference.network import load_network, resolve_here
from citycam.inference.new_pictures import find_pictures, labels_from_folders
from citycam.inference.own_pictures import check_digest, find_root, make_inputs, read_own
from citycam.inference.request import ExplainRequest
from citycam.inference.runs import TrainedRun
from citycam.model.backbone import strides
from citycam.sweep.names import first_words, name_before
from citycam.words import counted, printable, say

SCHEMA = 1
MANIFEST = "explain.json"


@dataclass(frozen=True)
class _Pictures:
    """The pictures to explain. ``rows``: catalog rows (N,). ``unreadable``: reasons by name of those left out."""

    inputs: Inputs
    rows: np.ndarray
    unreadable: dict[str, str]


def explain(request: ExplainRequest) -> int:
    """Draw the maps of a request, run by run; returns 0 where all of them exist now, 1 where a run or a picture failed.

    Raises:
        CitycamError: there is one run only, and its maps cannot be made.
    """
    say(f"citycam: maps of {counted(len(request.runs), 'run')}")
    whole = True
    for run, settings in request.runs:
        try:
            whole &= _explain_run(request, run, settings)
        except CitycamError as error:
            if len(request.runs) == 1:
                raise
            whole = False
            say(f"{run.folder.name}: {error}")
    return 0 if whole else 1


def _explain_run(request: ExplainRequest, run: TrainedRun, settings: ExplainConfig) -> bool:
    """Draw one run's maps, and return whether every picture could be read."""
    config = dataclasses.replace(run.config, explain=settings)
    check_network(config)
    resolved = resolve_here(dataclasses.replace(run, config=config))
    torch.set_num_threads(resolved.threads)
    pictures = _own(request, run, config) if request.pictures is None else _given(request.pictures, run, config)
    for name, reason in pictures.unreadable.items():
        say(f"note: {name} is left out: {reason}.")
    recipe = _recipe(request, run, config, pictures)
    folder = _folder(request, run, recipe)
    if _is_there(folder, recipe):
        print(f"{run.folder.name}: these maps are there already: {folder}")
        return not pictures.unreadable
    say(f"{run.folder.name}: {counted(len(pictures.rows), 'picture')} by {', '.join(settings.methods)}")
    network = load_network(run, resolved)
    planned = _as_drawn(PlannedRun(config, pictures.inputs, resolved), run)
    with _new_folder(folder) as part:
        drawn = draw_maps(planned, pictures.rows, network, part, part / "explain_sample.csv")
        facts = drawn.facts | {"weights": run.checkpoint.stem}
        content = {"schema": SCHEMA, "run": run.folder.name, "request": recipe, "explained": facts}
        write_json(part / MANIFEST, {**content, "unreadable": pictures.unreadable, "warnings": drawn.warnings})
    print(_line(run, drawn, folder), flush=True)
    return not pictures.unreadable


def _as_drawn(planned: PlannedRun, run: TrainedRun) -> PlannedRun:
    """Take the stride that the run's own maps have, and what was measured for it, where both leave it to auto."""
    stride, lattice = run.record.explained.get("stride"), read_lattice(run.record.explained.get("lattice"))
    known = strides(planned.config.backbone, planned.config.image_size)
    if not planned.config.explain.stride == run.config.explain.stride == AUTO or stride not in known:
        return planned
    if lattice is not None or stride == known[0]:
        resolved = dataclasses.replace(planned.resolved, stride=stride, lattice=lattice)
        return dataclasses.replace(planned, resolved=resolved)
    # A run of an older version was not measured. Its maps stay what they were, as if asked for, with their warning.
    explain = dataclasses.replace(planned.config.explain, stride=stride)
    resolved = dataclasses.replace(planned.resolved, stride=stride)
    return PlannedRun(dataclasses.replace(planned.config, explain=explain), planned.inputs, resolved)


def _own(request: ExplainRequest, run: TrainedRun, config: Config) -> _Pictures:
    """Return the run's validation pictures of its city from its split.csv, after a check that they have not changed."""
    catalog, split = read_own(run, find_root(run, request.data_root))
    labels = make_labels(catalog, config.partition, run.target)
    inputs = make_inputs(config, catalog, split, labels)
    rows = validation_sample(config.explain, inputs)
    for row in rows.tolist():
        check_digest(run, catalog, catalog.pictures[row])
    return _Pictures(inputs, rows, {})


def _given(path: Path, run: TrainedRun, config: Config) -> _Pictures:
    """Return given pictures; their labels are known only if their folders are named like the run's classes."""
    files = find_pictures(path)
    unreadable: dict[str, str] = {}
    digests: dict[str, str] = {}
    for name in files.names:
        try:
            content = read_bytes(files.path(name))
            check_bytes(content, files.path(name))
            digests[name] = digest_bytes(content)
        except UnreadablePicture as error:
            unreadable[printable(name)] = error.reason
    for warning in files.warnings:
        say(f"note: {warning}")
    if not digests:
        raise CitycamError(f"None of the {len(files.names)} pictures at {path} can be read (first: {files.names[0]}).")
    truth = labels_from_folders(list(digests), run.classes, config.partition)
    labels = np.full(len(digests), -1, dtype=np.int64) if truth is None else truth.labels
    if config.explain.target is ExplainTarget.true and (labels < 0).any():
        raise CitycamError(
            f"explain.target=true needs to know what the pictures at {path} show; put them into folders named "
            f"{', '.join(run.classes)}, or take explain.target=predicted."
        )
    cities = [run.classes[label] if label >= 0 else "" for label in labels.tolist()]
    pictures = [Picture(*row) for row in zip(digests, digests.values(), cities, strict=True)]
    catalog = Catalog("folder", files.root, tuple(pictures), target=run.target)
    split = Split("folder", None, ("val",) * len(pictures))
    inputs = make_inputs(config, catalog, split, Labels(config.partition.name, run.classes, labels))
    return _Pictures(inputs, np.sort(_some(config, inputs)), unreadable)


def _some(config: Config, inputs: Inputs) -> np.ndarray:
    """Choose at most ``explain.pictures`` of all pictures, as for a run's city."""
    pictures = tuple(dataclasses.replace(picture, city=inputs.target) for picture in inputs.catalog.pictures)
    alike = dataclasses.replace(inputs, catalog=dataclasses.replace(inputs.catalog, pictures=pictures))
    rows = validation_sample(config.explain, alike)
    if len(rows) < len(pictures):
        say(f"note: {len(rows)} of {len(pictures)} pictures are explained; explain.pictures=N takes more.")
    return rows


def _recipe(request: ExplainRequest, run: TrainedRun, config: Config, pictures: _Pictures) -> dict[str, Any]:
    """Return everything that changes the maps."""
    chosen = [pictures.inputs.catalog.pictures[row] for row in pictures.rows.tolist()]
    rows = [[picture.name, picture.digest, picture.city] for picture in chosen]
    return {
        "explain": to_dict(config.explain) | {"weights": run.checkpoint.stem},
        "checkpoint": sha256(run.checkpoint)[:32],
        "pictures": None if request.pictures is None else request.pictures.name,
        "digest": hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32],
    }


def _folder(request: ExplainRequest, run: TrainedRun, recipe: dict[str, Any]) -> Path:
    """Return where the maps go: short words for what differs from the run's own, and a hash of the recipe."""
    if request.out is not None:
        return request.out if len(request.runs) == 1 else request.out / run.folder.name
    before = to_dict(run.config.explain)
    changed = [name for name, value in recipe["explain"].items() if value != before[name]]
    words = [recipe["pictures"] or ""]
    for name in changed:
        value = recipe["explain"][name]
        words += value if isinstance(value, list) else [f"{name}{value}" if str(value).isdigit() else str(value)]
    text = first_words([re.sub(r"[^\w.+-]+", "_", word).strip("_.-") for word in words], 60)
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]
    name = "-".join(filter(None, ("explain", text, digest)))
    return run.folder / (name_before(run.folder, digest, MANIFEST) or name)


def _is_there(folder: Path, recipe: dict[str, Any]) -> bool:
    """Return whether ``folder`` holds exactly these maps.

    Raises:
        CitycamError: it holds anything else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        known = json.loads(read_text(folder / MANIFEST))["request"] == recipe
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise CitycamError(f"{folder} holds something else, which is not written over; give another out=FOLDER.")
    return True


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``folder`` on success and is removed on failure."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".explain-", dir=folder.parent))
    except OSError as error:
        raise CitycamError(f"{folder.parent} cannot be written ({error.strerror}); give out=FOLDER.") from error
    try:
        yield part
        part.chmod(FOLDER_MODE)  # mkdtemp makes private folders
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _line(run: TrainedRun, drawn: DrawnMaps, folder: Path) -> str:
    height, width = drawn.facts["map_size"]
    blank = sum(method["blank"] for method in drawn.facts["methods"].values())
    for warning in drawn.warnings:
        say(f"note: {warning['sentence']}")
    return (
        f"{run.folder.name}: {counted(drawn.facts['pictures'], 'picture')}, {', '.join(drawn.facts['methods'])}, maps "
        f"{height} × {width}, {blank} blank: {folder}"
    )
