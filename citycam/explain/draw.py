"""Maps of a trained network for a sample of pictures: make them, write them, and summarise them for run.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from citycam import progress
from citycam.bank.frozen import EXACT
from citycam.cells import CellGrid
from citycam.data.inputs import PlannedRun
from citycam.data.pictures import decode
from citycam.explain.grid import cell_grid, stage_cells
from citycam.explain.lattice import describe_lattice, lattice_warnings, settle_stride
from citycam.explain.make import MadeMaps, make_run_maps
from citycam.explain.maps import summary, warnings_about
from citycam.explain.methods import METHODS, identities
from citycam.explain.sample import write_sample
from citycam.explain.scores.run import score_run
from citycam.explain.targets import settle_target
from citycam.explain.whole import WHOLE_METHODS, whole_cells
from citycam.explain.write import Shown, write_maps
from citycam.explain_config import LAST
from citycam.model.metrics import probabilities
from citycam.model.network import Network
from citycam.model.stage_grid import stage_grid
from citycam.report.overlay import Caption, Pixels
from citycam.report.verdicts import body_key, known_checks, sentences_for
from citycam.words import say


@dataclass(frozen=True)
class DrawnMaps:
    """The content of a folder of maps.

    Attributes:
        sheets: one for each method, uint8 (H, W, 3).
        facts, warnings: ``explained`` and ``warnings`` of run.json.
    """

    sheets: dict[str, Pixels]
    facts: dict[str, Any]
    warnings: list[dict[str, str]]


def draw_maps(run: PlannedRun, rows: np.ndarray, network: Network, folder: Path, table: Path) -> DrawnMaps:
    """Make maps with the network's present weights, and write them.

    Args:
        run: says what is explained and how; the stride of the maps is settled here if it is not (`settle_stride`).
        rows: catalog rows (N,) of the pictures.
        folder: for maps.npz, overlays and sheets.
        table: the file for the list of pictures.
    """
    run = _settled(run, rows, network)
    made = make_run_maps(run, rows, network)
    grid = _CellsOfLayer.of(run, network)
    pictures = [run.inputs.catalog.pictures[row] for row in rows.tolist()]
    verdicts = _verdicts(run, table.parent)
    shown = {method: _shown(run, made, method, grid, verdicts.get(method, "")) for method in made.maps}
    write_sample(table, [(picture.name, picture.digest, picture.city, picture.group) for picture in pictures])
    with progress.counted("overlays", unit="overlays") as tell:
        sheets = write_maps(
            folder,
            made.maps,
            shown,
            _captions(run, rows, made),
            [picture.digest for picture in pictures],
            lambda place: decode(run.inputs.catalog.path(pictures[place])),
            progress=tell,
        )
    about_grid = lattice_warnings(run.resolved.lattice, run.resolved.stride, network.backbone.strides[0])
    scores, about_scores = score_run(run, rows, network, made, shown, folder / "scores.csv")
    warnings = [*warnings_about(made.maps, finer=not about_grid), *about_grid, *about_scores]
    facts = _facts(run, network, made, grid) | scores
    return DrawnMaps(sheets, facts, warnings)


def _settled(run: PlannedRun, rows: np.ndarray, network: Network) -> PlannedRun:
    """Settle the stride of the maps, and say how if it was not settled before."""
    backbone = network.backbone
    settled = settle_stride(run, backbone, rows)
    if settled is not run and settled.resolved.lattice is not None:
        say(f"note: {describe_lattice(settled.resolved.lattice, settled.resolved.stride, backbone.strides[0])}")
    return settled


@dataclass(frozen=True, slots=True)
class _CellsOfLayer:
    """The cells that methods read which read a layer; ``note`` says in captions which they are."""

    cells: CellGrid
    stride: int
    note: str

    @classmethod
    def of(cls, run: PlannedRun, network: Network) -> _CellsOfLayer:
        """Return those of a run: of the last layer at its stride, or of an earlier stage."""
        layer, backbone = run.config.explain.layer, network.backbone
        if layer != LAST:
            grid = stage_grid(backbone.name, backbone.image_size, layer)
            return cls(stage_cells(grid, backbone.image_size), grid.stride, f"{layer}, stride {grid.stride}")
        stride = run.resolved.stride
        denser = ", same weights on a denser grid" if stride != backbone.strides[0] else ""
        return cls(cell_grid(backbone, stride), stride, f"stride {stride}{denser}")


def _verdicts(run: PlannedRun, folder: Path) -> dict[str, str]:
    """Return what self-checks beside a folder of maps or of a run say of this body, by method."""
    key = body_key(run.config, run.resolved.weights_digest, run.resolved.finetune)
    return sentences_for(key, run.inputs.catalog.digest, known_checks([folder, folder.parent]))


def _shown(run: PlannedRun, made: MadeMaps, method: str, grid: _CellsOfLayer, verdict: str) -> Shown:
    """Return how a method's maps are shown."""
    words = tuple(target.words for target in made.targets[method])
    arithmetic = "" if run.resolved.precision == EXACT.precision.name else _about_precision(run)
    if method in METHODS:
        return Shown(METHODS[method].title, grid.cells, words, grid.note + arithmetic, verdict=verdict)
    its, settings = WHOLE_METHODS[method], run.config.explain
    box = its.box(run.config.image_size)
    note = its.words(settings) + (f", {box} px box twice" if box > 1 else "")
    return Shown(its.title, whole_cells(made.maps[method]), words, note + arithmetic, box, signed=True, verdict=verdict)


def _about_precision(run: PlannedRun) -> str:
    return f" · {EXACT.precision.name} (predictions: {run.resolved.precision})"


def _facts(run: PlannedRun, network: Network, made: MadeMaps, grid: _CellsOfLayer) -> dict[str, Any]:
    """Return ``explained`` of run.json."""
    explain = run.config.explain
    facts = summary(made.maps)
    for method, its in facts["methods"].items():
        its["target"] = settle_target(explain.target, whole=method in WHOLE_METHODS).name
    on_cells = [method for method in made.maps if method in METHODS]
    same = identities(on_cells, network.backbone.pool_kind) if explain.layer == LAST else None
    return {
        "weights": explain.weights.name,
        "target": explain.target.name,
        "city": run.inputs.target,
        "layer": "the body's output" if explain.layer == LAST else explain.layer,
        "stride": grid.stride,
        "offset": round(grid.cells.rows[0] * run.config.image_size, 3),
        "lattice": run.resolved.lattice,
        "precision": EXACT.precision.name,
        "pictures": len(made.logits),
        "same_maps": same,
        **facts,
    }


def _captions(run: PlannedRun, rows: np.ndarray, made: MadeMaps) -> list[Caption]:
    """Return a caption for each picture; a label of -1 is a city that is not known."""
    shares = probabilities(made.logits, run.config.partition.name).numpy()
    classes, labels, predicted = run.inputs.labels.classes, run.inputs.labels.values[rows], shares.argmax(axis=1)
    targets = next(iter(made.targets.values()))
    pictures = [run.inputs.catalog.pictures[row] for row in rows.tolist()]
    return [
        Caption(
            name=picture.name,
            city=picture.city,
            predicted=classes[predicted[place]],
            probability=float(shares[place, predicted[place]]),
            correct=None if labels[place] < 0 else bool(predicted[place] == labels[place]),
            target=targets[place].words,
        )
        for place, picture in enumerate(pictures)
    ]
