"""ROAD's imputation: all pictures at once by multigrid, against one sparse system after another.

    python benchmarks/road.py [FOLDER --target NAME] [--sizes 64 96 224] [--others N]

100 pictures, of each 10 % to 90 % of the pixels removed from the highest and from the lowest of a map: 1,800 pictures
to fill. Half of the maps are 8 x 8 cells, half are fine. Ours: ranks, masks and the filled pixels. The other:
pytorch-grad-cam's thresholds, masks and sparse solver, on fewer pictures where ``--others`` says so, and multiplied.
Neither side passes a network. Both fill without noise, and what they fill for the same masks is compared.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from common import options, pictures_of, scratch, seconds
from pytorch_grad_cam.metrics.perturbation_confidence import RemoveLeastRelevantFirst, RemoveMostRelevantFirst
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from results import Ratio, median_ratio, report
from torch import Tensor

from citycam import seeds
from citycam.data.inputs import Inputs, load_inputs
from citycam.data.views import normalise, open_working
from citycam.doors import door
from citycam.explain.controls import control_maps
from citycam.explain.scores.imputation import impute
from citycam.explain.scores.ranks import highest, lowest, ranks
from citycam.explain.scores.road import LEVELS
from citycam.sweep.gate import read_request

PICTURES, CELLS, GOAL = 100, 8, 50
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@door
def main() -> int:
    """Measure and report."""
    parser = options(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 224], help="sides of the pictures in pixels")
    parser.add_argument("--others", type=int, default=20, help="pictures that the other library is measured on")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    ratios: list[Ratio] = []
    figures: dict[str, str] = {}
    with scratch() as folder:
        overrides = pictures_of(asked, folder, count=-(-PICTURES // 5))
        for size in asked.sizes:
            request = read_request([*overrides, f"image_size={size}", "sweep.name=bench"])
            assert request is not None
            pictures, maps, digests = prepare(load_inputs(request.jobs[0].config))
            measure(size, pictures, maps, digests, asked.others, asked.rounds, ratios, figures)
    say(ratios, figures, asked.others, asked.results)
    return 0


def prepare(inputs: Inputs) -> tuple[Tensor, np.ndarray, list[str]]:
    """Normalised pictures (N, 3, S, S), a map in 0..1 for each (N, S, S), and their digests."""
    chosen = inputs.catalog.pictures[:PICTURES]
    views = np.stack([open_working(inputs.catalog.path(picture), inputs.plain_spec) for picture in chosen])
    digests, side = [picture.digest for picture in chosen], views.shape[1]
    maps = control_maps("edges", views, digests)
    for place in range(0, len(maps), 2):
        coarse = seeds.stream(0, "cells", digests[place]).random((CELLS, CELLS))
        cells = np.arange(side) * CELLS // side
        maps[place] = coarse[cells[:, None], cells[None]]
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return normalise(torch.from_numpy(views), MEAN, STD).contiguous(), (maps - low) / (high - low), digests


def ours(pictures: Tensor, maps: np.ndarray, digests: list[str]) -> None:
    """Fill what ROAD fills."""
    order = ranks(maps, digests, 0)
    for level in LEVELS:
        impute(torch.cat([pictures, pictures]), torch.cat([highest(order, level), lowest(order, level)]))


def theirs(pictures: Tensor, maps: np.ndarray) -> None:
    """Fill the same, picture by picture."""
    imputer = NoisyLinearImputer(noise=0.0)
    for picture, one in zip(pictures, torch.from_numpy(maps), strict=True):
        for level in LEVELS:
            RemoveMostRelevantFirst(round(100 * (1 - level)), imputer)(picture, one)
            RemoveLeastRelevantFirst(round(100 * (1 - level)), imputer)(picture, one)


def agreement(pictures: Tensor, maps: np.ndarray, digests: list[str]) -> float:
    """The largest difference of what both fill for the same masks, as a share of the range of the pictures."""
    order, largest = ranks(maps, digests, 0), 0.0
    for level in LEVELS[::4]:
        masks = highest(order, level)
        filled, imputer = impute(pictures, masks), NoisyLinearImputer(noise=0.0)
        exact = [imputer(picture, (~mask).float()) for picture, mask in zip(pictures, masks, strict=True)]
        largest = max(largest, float((filled - torch.stack(exact)).abs().max()))
    return largest / float(pictures.max() - pictures.min())


def measure(
    size: int,
    pictures: Tensor,
    maps: np.ndarray,
    digests: list[str],
    others: int,
    rounds: int,
    ratios: list[Ratio],
    figures: dict[str, str],
) -> None:
    """Both sides in turn; the first round of ours is not kept."""
    few = min(others, len(pictures))
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    ours(pictures, maps, digests)
    for _ in range(rounds):
        times["theirs"].append(seconds(lambda: theirs(pictures[:few], maps[:few]), "cpu") * len(pictures) / few)
        times["ours"].append(seconds(lambda: ours(pictures, maps, digests), "cpu"))
    ratio = median_ratio(times["theirs"], times["ours"])
    ratios.append(Ratio(f"pytorch-grad-cam / ours at {size} px", ratio, GOAL))
    for name, taken in times.items():
        figures[f"{size} px, {name}"] = f"{statistics.median(taken):,.2f} s"
    figures[f"{size} px, largest difference"] = f"{agreement(pictures[:8], maps[:8], digests[:8]):.1e} of the range"


def say(ratios: list[Ratio], figures: dict[str, str], others: int, results: Path) -> None:
    """Ratios and seconds, and what was multiplied."""
    report(
        "road",
        how=f"`python benchmarks/road.py`: {len(LEVELS)} levels × 2 orders × {PICTURES} pictures filled.",
        ratios=ratios,
        figures=figures,
        notes=[f"pytorch-grad-cam filled {others} pictures; its seconds are those × {PICTURES} / {others}."],
        device="cpu",
        path=results,
    )


if __name__ == "__main__":
    sys.exit(main())
