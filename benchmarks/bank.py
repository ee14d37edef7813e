"""Pictures per second of a cold build of the feature bank, against the network alone on tensors in memory.

    python benchmarks/bank.py [FOLDER --target NAME] [--size 64 224] [--pictures N]

A build decodes pictures, makes ten views of each (augment=default), passes them through a frozen ResNet50 and writes
features to an empty bank. The network alone is the plain one, in the same precision, at whichever batch of 16 to 256 is
fastest. Both in turn, several times; ratios are medians. A third figure is the bank's own way of passing tensors that
lie in memory: what decoding, views and files cost beside it.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import (
    bare_forward,
    fresh_cache,
    now,
    options,
    pictures_of,
    random_weights,
    scratch,
    settle,
    views_in_memory,
    words,
)
from results import Ratio, median_ratio, report
from torch import Tensor

from citycam.bank.frozen import FrozenBody
from citycam.data.inputs import PlannedRun
from citycam.doors import door

EPOCHS = 10
GOALS = {64: 0.85, 224: 0.95}
# Pictures per city: seconds of work on two cores at every size.
COUNTS = {64: 50, 224: 4}
BATCHES = (16, 32, 64, 128, 256)
# Larger batches are not tried once they are so much slower than the best.
_SLOWER = 0.9
# Seconds that a rate is measured for at least.
_LEAST = 1.0


@door
def main() -> int:
    """Measure and report, size by size."""
    parser = options(__doc__)
    parser.add_argument("--size", type=int, nargs="+", default=list(GOALS), help="image_size")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    for size in asked.size:
        with scratch() as folder:
            setting = settle(
                *pictures_of(asked, folder, count=COUNTS.get(size, 20)),
                *(f"backbone.weights='{random_weights(folder)}'", "explain=none"),
                *(f"image_size={size}", f"epochs={EPOCHS}"),
            )
            measure(setting, size, asked.rounds, folder, asked.results)
    return 0


def measure(setting: PlannedRun, size: int, rounds: int, folder: Path, results: Path) -> None:
    """All sides in turn, and their report."""
    device = setting.resolved.device
    rows = np.resize(setting.inputs.train, max(BATCHES))
    tensors = views_in_memory(setting, rows, training=True)
    body = FrozenBody(setting).backbone
    alone = bare_forward(body, setting.resolved.arithmetic)
    batch = best_batch(alone, tensors, device)
    ours, bare, passing = [], [], []
    views = cold_build(setting, folder)[0]  # not kept: it fills caches and chooses kernels
    for _ in range(rounds):
        bare.append(forward_rate(alone, tensors, batch, device))
        ours.append(views / cold_build(setting, folder)[1])
        passing.append(passing_rate(setting, tensors))
    report(
        f"bank: {size} px",
        how=f"`python benchmarks/bank.py --size {size}`: {views:,} views of "
        f"{len(setting.inputs.train) + len(setting.inputs.val)} pictures, {words(setting.resolved)}.",
        ratios=[
            Ratio("cold build / network alone", median_ratio(ours, bare), GOALS.get(size)),
            Ratio("cold build / the bank's passes of tensors in memory", median_ratio(ours, passing)),
        ],
        figures={
            "cold build": f"{statistics.median(ours):,.1f} views/s",
            f"network alone, batch {batch}": f"{statistics.median(bare):,.1f} views/s",
            f"the bank's passes, batch {setting.resolved.batch}": f"{statistics.median(passing):,.1f} views/s",
        },
        device=device,
        path=results,
    )


def cold_build(setting: PlannedRun, folder: Path) -> tuple[int, float]:
    """Views made, and the seconds that a build of an empty bank takes."""
    fresh_cache(folder)
    body = FrozenBody(setting)
    begun = now(setting.resolved.device)
    made = body.fill_features(EPOCHS)
    return made, now(setting.resolved.device) - begun


def passing_rate(setting: PlannedRun, tensors: Tensor) -> float:
    """Views per second of tensors in memory the way the bank passes them, without decoding and files."""
    body = FrozenBody(setting)
    rows = np.arange(setting.resolved.batch)
    ready = tensors[rows % len(tensors)].cpu()
    passing = body.passing(lambda *_: ready)
    return rate(lambda: passing(rows, 0), len(rows), setting.resolved.device)


def best_batch(forward: Callable[[Tensor], Tensor], tensors: Tensor, device: str) -> int:
    """The batch with the most pictures per second."""
    rates: dict[int, float] = {}
    for batch in BATCHES:
        forward(tensors[:batch])
        rates[batch] = forward_rate(forward, tensors, batch, device)
        if rates[batch] < _SLOWER * max(rates.values()):
            break
    return max(rates, key=lambda batch: rates[batch])


def forward_rate(forward: Callable[[Tensor], Tensor], tensors: Tensor, batch: int, device: str) -> float:
    """Pictures per second of batches in memory."""
    some = tensors[:batch]
    return rate(lambda: forward(some), batch, device)


def rate(work: Callable[[], object], count: int, device: str) -> float:
    """Pictures per second of ``work``, which passes ``count`` of them."""
    done, begun = 0, now(device)
    while True:
        work()
        done += count
        took = now(device) - begun
        if took >= _LEAST:
            return done / took


if __name__ == "__main__":
    sys.exit(main())
