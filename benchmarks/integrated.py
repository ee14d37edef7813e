"""Integrated gradients of pictures, against the passes that they need.

    python benchmarks/integrated.py [FOLDER --target NAME] [--size N] [--count N]

Maps of one model on a frozen ResNet50 at the default baselines and steps, from files on disk to maps in memory. Beside
them the same number of passes forward and back of the same prepared network, in batches of the same size, on tensors in
memory; and one pass of the plain network forward alone.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from common import options, pictures_of, random_weights, scratch, seconds, settle, views_in_memory
from results import Ratio, median_ratio, report
from torch import Tensor

from citycam.bank.frozen import FrozenBody
from citycam.data.inputs import PlannedRun
from citycam.doors import door
from citycam.explain.activations import plain_pictures
from citycam.explain.make import exact_network
from citycam.explain.tail import eval_mode
from citycam.explain.targets import Contrast, Target, target_values
from citycam.explain.whole import WHOLE_METHODS, Whole, chunk, make_whole_maps
from citycam.model.head import make_head
from citycam.model.network import Network

GOAL = 0.8


@door
def main() -> int:
    """Measure and report."""
    parser = options(__doc__)
    parser.add_argument("--size", type=int, default=224, help="image_size; 224")
    parser.add_argument("--count", type=int, default=32, help="pictures that are explained; 32")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with scratch() as folder:
        setting = settle(
            *pictures_of(asked, folder, count=asked.count),
            *(
                f"backbone.weights='{random_weights(folder)}'",
                f"image_size={asked.size}",
                "explain.methods=[integrated]",
            ),
        )
        measure(setting, asked.count, asked.rounds, asked.results)
    return 0


def measure(setting: PlannedRun, count: int, rounds: int, results: Path) -> None:
    """All sides in turn, and their report."""
    device, size = setting.resolved.device, setting.config.image_size
    rows = np.arange(min(count, len(setting.inputs.catalog.pictures)))
    backbone = FrozenBody(setting).backbone
    head = make_head(setting.config.head, backbone.num_features, 8, 0).to(device).eval()
    plain, exact = Network(backbone, head), exact_network(Network(backbone, head))
    targets: list[Target] = [Contrast(place % 8) for place in range(len(rows))]
    tensors = views_in_memory(setting, rows, training=False).contiguous(memory_format=torch.channels_last)
    explained = np.zeros(len(rows), dtype=np.float32)
    whole = Whole(
        exact, lambda some: plain_pictures(setting, exact.backbone, rows[some]), size, targets, explained,
        setting.config.explain,
    )  # fmt: skip
    passes = WHOLE_METHODS["integrated"].passes(setting.config.explain)[1]
    times: dict[str, list[float]] = {"ours": [], "bare passes": [], "one pass forward": []}
    with eval_mode(exact), eval_mode(plain):
        for number in range(rounds + 1):  # the first one is not kept: it chooses kernels
            latest = {
                "ours": seconds(lambda: make_whole_maps("integrated", whole), device),
                "bare passes": seconds(lambda: bare_passes(exact, tensors, targets, passes), device),
                "one pass forward": seconds(lambda: forward(plain, tensors), device),
            }
            for name, took in latest.items() if number else ():
                times[name].append(took)
    report(
        f"integrated: {size} px",
        how=f"`python benchmarks/integrated.py --size {size}`: {len(rows)} pictures, {passes} passes forward and back.",
        ratios=[
            Ratio("bare passes / ours", median_ratio(times["bare passes"], times["ours"]), GOAL),
            Ratio("ours / one pass forward", median_ratio(times["ours"], times["one pass forward"])),
        ],
        figures={name: f"{statistics.median(taken):,.1f} s" for name, taken in times.items()},
        device=device,
        path=results,
    )


def bare_passes(network: Network, tensors: Tensor, targets: list[Target], passes: int) -> None:
    """The gradients that integrated gradients cannot do without, of pictures themselves."""
    step = chunk(tensors.shape[-1])
    for start in range(0, len(tensors), step):
        some = slice(start, start + step)
        for _ in range(passes):
            leaf = tensors[some].detach().requires_grad_(True)
            torch.autograd.grad(target_values(network(leaf), targets[some]).sum(), leaf)


def forward(network: Network, tensors: Tensor) -> None:
    """One look at every picture."""
    with torch.no_grad():
        for some in tensors.split(chunk(tensors.shape[-1])):
            network(some)


if __name__ == "__main__":
    sys.exit(main())
