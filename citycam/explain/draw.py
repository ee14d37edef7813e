"""Maps of a trained network for a sample of pictures: make them, write them, and summarise them for run.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from citycam import progress
from citycam.bank.frozen import EXACT
from citycam.data.inputs import PlannedRun
from citycam.data.pictures import decode
from citycam.explain.activations import noisy_activations, plain_activations
from citycam.explain.grid import cell_grid
from citycam.explain.lattice import describe_lattice, lattice_warnings, settle_stride
from citycam.explain.maps import Maps, make_maps, summary, warnings_about
from citycam.explain.methods import METHODS, identities
from citycam.explain.sample import write_sample
from citycam.explain.tail import Tail, eval_mode
from citycam.explain.targets import Target, choose_targets
from citycam.explain.write import write_maps
from citycam.model.metrics import probabilities
from citycam.model.network import Network
from citycam.report.overlay import Caption, Pixels
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
    explain, stride = run.config.explain, run.resolved.stride
    maps, captions = _explain(run, rows, network)
    pictures = [run.inputs.catalog.pictures[row] for row in rows.tolist()]
    write_sample(table, [(picture.name, picture.digest, picture.city, picture.group) for picture in pictures])
    cells = cell_grid(network.backbone, stride)
    with progress.counted("overlays", unit="overlays") as tell:
        sheets = write_maps(
            folder,
            maps,
            captions,
            [picture.digest for picture in pictures],
            lambda place: decode(run.inputs.catalog.path(pictures[place])),
            cells=cells,
            note=_note(run, network),
            progress=tell,
        )
    facts = {
        "weights": explain.weights.name,
        "target": explain.target.name,
        "city": run.inputs.target,
        "layer": "the body's output",
        "stride": stride,
        "offset": round(cells.rows[0] * run.config.image_size, 3),
        "lattice": run.resolved.lattice,
        "precision": EXACT.precision.name,
        "pictures": len(captions),
        "same_maps": identities(explain.methods, network.backbone.pool_kind),
        **summary(maps),
    }
    about_grid = lattice_warnings(run.resolved.lattice, stride, network.backbone.strides[0])
    return DrawnMaps(sheets, facts, [*warnings_about(maps, finer=not about_grid), *about_grid])


def _settled(run: PlannedRun, rows: np.ndarray, network: Network) -> PlannedRun:
    """Settle the stride of the maps, and say how if it was not settled before."""
    backbone = network.backbone
    settled = settle_stride(run, backbone, rows)
    if settled is not run and settled.resolved.lattice is not None:
        say(f"note: {describe_lattice(settled.resolved.lattice, settled.resolved.stride, backbone.strides[0])}")
    return settled


def _note(run: PlannedRun, network: Network) -> str:
    """Return what captions say of the grid, and of the arithmetic where predictions have another one."""
    denser = run.resolved.stride != network.backbone.strides[0]
    note = f"stride {run.resolved.stride}" + (", same weights on a denser grid" if denser else "")
    if run.resolved.precision == EXACT.precision.name:
        return note
    return f"{note} · {EXACT.precision.name} (predictions: {run.resolved.precision})"


def _explain(run: PlannedRun, rows: np.ndarray, network: Network) -> tuple[dict[str, Maps], list[Caption]]:
    """Return the maps of every method, and a caption for each picture."""
    explain, labels, backbone = run.config.explain, run.inputs.labels, network.backbone
    needs_noise = any(METHODS[name].needs_noise for name in explain.methods)
    noisy = noisy_activations(run, backbone, rows) if needs_noise else None
    plain = plain_activations(run, backbone, rows)
    tail = Tail(
        backbone.pool,
        network.head,
        pool_kind=backbone.pool_kind,
        plain_stride_step=backbone.strides[0] // run.resolved.stride,
    )
    device = next(network.head.parameters()).device
    activations = torch.from_numpy(plain).to(device)
    with eval_mode(tail), torch.no_grad():
        logits = torch.cat([tail(some) for some in torch.split(activations, 64)]).cpu()
    targets = choose_targets(
        explain.target,
        logits.numpy(),
        labels.values[rows],
        labels.classes.index(run.inputs.target),
        run.config.partition,
        labels.classes,
    )
    with progress.counted("maps", unit="maps") as tell:
        maps = make_maps(
            tail,
            activations,
            targets,
            explain.methods,
            noisy=None if noisy is None else torch.from_numpy(noisy).to(device),
            progress=tell,
        )
    return maps, _captions(run, rows, logits, targets)


def _captions(run: PlannedRun, rows: np.ndarray, logits: torch.Tensor, targets: list[Target]) -> list[Caption]:
    """Return a caption for each picture; a label of -1 is a city that is not known."""
    shares = probabilities(logits, run.config.partition.name).numpy()
    classes, labels, predicted = run.inputs.labels.classes, run.inputs.labels.values[rows], shares.argmax(axis=1)
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
