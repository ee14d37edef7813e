"""Do maps point at what is distinctive? Toytown knows the answer to the pixel.

    python benchmarks/pointing.py

Trains multi, Adam, 10 epochs on toytown (or takes the runs that are there), maps every validation picture for its
own town with Grad-CAM at each output stride, and counts how often the place that the highest cell looks at lies in the
distinctive mask: for the picture itself, and for the same map dealt to the other validation pictures of the town. A
method that only knows the town's usual layout has a ratio of 1. Intervals are a bootstrap over pictures, and over
walks.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from citycam.cells import CellGrid
from citycam.data.inputs import PlannedRun, load_inputs
from citycam.data.toytown import distinctive_mask
from citycam.explain.activations import plain_activations
from citycam.explain.grid import cell_grid
from citycam.explain.maps import explain
from citycam.explain.tail import Tail
from citycam.model.checkpoint import load_checkpoint
from citycam.seeds import stream
from citycam.sweep.gate import read_request
from citycam.sweep.ledger import Ledger
from citycam.train.run import make_network

ROOT = Path(__file__).resolve().parent.parent
ARGUMENTS = ["-m", "seed=0,1,2", "explain=none", "sweep.name=pointing"]
STRIDES = (32, 16, 8)
DRAWS = 2000


def main() -> None:
    """Train, map, count, print."""
    subprocess.run([sys.executable, ROOT / "train.py", *ARGUMENTS], check=True, cwd=ROOT)
    request = read_request(ARGUMENTS)
    assert request is not None
    print("stride  grid   seed  inside  dealt  ratio  95 % over pictures  95 % over walks  pictures")
    for stride in STRIDES:
        for job in request.jobs:
            inputs = load_inputs(job.config)
            known = Ledger(request.sweep_folder).resolved(job.hash)
            assert known is not None
            resolved = dataclasses.replace(known, stride=stride)
            run = PlannedRun(job.config, inputs, resolved)
            network = make_network(run)
            load_checkpoint(job.folder / "checkpoints" / "last.ckpt", network, inputs.labels.classes)
            tail = Tail(
                network.backbone.pool,
                network.head,
                pool_kind=network.backbone.pool_kind,
                plain_stride_step=network.backbone.strides[0] // stride,
            )
            activations = torch.from_numpy(plain_activations(run, network.backbone, inputs.val))
            maps = explain("gradcam", tail, activations, inputs.labels.values[inputs.val].tolist()).raw
            pictures = [inputs.catalog.pictures[index] for index in inputs.val.tolist()]
            masks = np.stack([distinctive_mask(inputs.catalog.root, picture.name) for picture in pictures])
            towns = np.array([picture.city for picture in pictures])
            walks = np.array([str(picture.group) for picture in pictures])
            inside, dealt = hits(maps, cell_grid(network.backbone, stride), masks, towns)
            spans = [bootstrap(inside, dealt, units) for units in (np.arange(len(towns)).astype(str), walks)]
            shown = "  ".join(f"[{low:.2f}, {high:.2f}]      " for low, high in spans)
            print(
                f"{stride:>6}  {maps.shape[1]}x{maps.shape[2]}  {job.config.seed:>5}  {inside.mean():.3f}   "
                f"{dealt.mean():.3f}  {inside.mean() / dealt.mean():.2f}   {shown} {len(maps)}"
            )
    print(f"masks cover {masks.mean():.3f} of a validation picture on average")


def hits(maps: np.ndarray, cells: CellGrid, masks: np.ndarray, towns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each map (N, h, w): whether the place that its highest cell looks at lies in its own picture's mask
    (N, H, W), and the share of the other pictures of the town in whose masks it lies."""
    row, column = np.divmod(maps.reshape(len(maps), -1).argmax(axis=1), maps.shape[2])
    rows = (np.array(cells.rows)[row] * masks.shape[1]).astype(int)
    columns = (np.array(cells.columns)[column] * masks.shape[2]).astype(int)
    hit = masks[:, rows, columns].T  # (map, picture)
    same = (towns[:, None] == towns[None, :]) & ~np.eye(len(towns), dtype=bool)
    return np.diag(hit).astype(float), (hit & same).sum(axis=1) / same.sum(axis=1)


def bootstrap(inside: np.ndarray, dealt: np.ndarray, units: np.ndarray) -> tuple[float, float]:
    """95 % interval of mean(inside) / mean(dealt), units (pictures or walks) drawn with replacement."""
    names, numbers = np.unique(units, return_inverse=True)
    sums = np.stack([np.bincount(numbers, weights) for weights in (inside, dealt)])
    drawn = stream(0, "bootstrap").integers(0, len(names), (DRAWS, len(names)))
    ratios = sums[0][drawn].sum(axis=1) / np.maximum(sums[1][drawn].sum(axis=1), 1e-9)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
