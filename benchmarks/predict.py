"""Pictures per second of ``citycam predict``, against the network alone on tensors in memory.

    python benchmarks/predict.py [FOLDER] [--pictures N] [--size 64]

A run of one epoch is trained by train.py on a few of the pictures; then all of them are classified from their files and
held to their folders' names, decoding included and imports not. The network alone is the run's plain network, in the
same precision, memory format and batch. Both in turn, several times; ratios are medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from bank import rate
from common import ROOT, bare_forward, now, options, paint, random_weights, scratch
from results import Ratio, median_ratio, report
from torch import Tensor

from citycam.bank.extract import TORCH_FORMATS
from citycam.data.views import normalise, open_working
from citycam.doors import door
from citycam.inference.new_pictures import PictureFiles, find_pictures
from citycam.inference.predict import Classifier, verify
from citycam.inference.runs import TrainedRun, find_runs

GOAL = 0.8
COUNT = 2000


@door
def main() -> int:
    """Measure and report."""
    parser = options(__doc__)
    parser.add_argument("--size", type=int, default=64, help="image_size")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with scratch() as folder:
        root = asked.folder.resolve() if asked.folder is not None else paint(folder / "towns", 300)
        measure(trained(asked, root, folder), some_of(root, asked.pictures or COUNT), asked)
    return 0


def trained(asked: argparse.Namespace, root: Path, folder: Path) -> TrainedRun:
    """A run of one epoch on a few of the pictures, by the door that people use."""
    target = asked.target or sorted(path.name for path in root.iterdir() if path.is_dir())[0]
    arguments = ["data=folder", f"data.root={root}", f"data.target={target}", "data.limit=20", "epochs=1"]
    arguments += [f"backbone.weights={random_weights(folder)}", "explain=none", f"image_size={asked.size}"]
    arguments += ["sweep.name=bench"]
    subprocess.run([sys.executable, ROOT / "train.py", *arguments], cwd=folder, check=True, env=os.environ)
    return find_runs(folder / "multirun" / "bench")[0]


def some_of(root: Path, count: int) -> PictureFiles:
    """``count`` pictures below ``root``, evenly from all of them; repeated where there are fewer."""
    given = find_pictures(root)
    chosen = np.linspace(0, len(given.names) - 1, min(count, len(given.names))).astype(np.int64)
    return PictureFiles(root, tuple(given.names[place] for place in np.unique(chosen).tolist()))


def measure(run: TrainedRun, given: PictureFiles, asked: argparse.Namespace) -> None:
    """Both sides in turn, and their report."""
    classify = Classifier(run)
    resolved, count = classify.resolved, len(given.names)
    alone = bare_forward(classify.network, classify.resolved.arithmetic)
    tensors = in_memory(classify, given)
    ours, bare = [], []
    verify(classify(given), run, given)  # not kept: it fills caches and chooses kernels
    alone(tensors)
    for _ in range(asked.rounds):
        bare.append(rate(lambda: alone(tensors), len(tensors), resolved.device))
        begun = now(resolved.device)
        verify(classify(given), run, given)
        ours.append(count / (now(resolved.device) - begun))
    report(
        f"predict: {asked.size} px",
        how=f"`python benchmarks/predict.py --size {asked.size}`: {count:,} pictures, "
        f"{resolved.precision} in {resolved.memory_format}, batch {resolved.batch}.",
        ratios=[Ratio("citycam predict / network alone", median_ratio(ours, bare), GOAL)],
        figures={
            "citycam predict": f"{statistics.median(ours):,.1f} pictures/s",
            f"network alone, batch {resolved.batch}": f"{statistics.median(bare):,.1f} pictures/s",
        },
        device=resolved.device,
        path=asked.results,
    )


def in_memory(classify: Classifier, given: PictureFiles) -> Tensor:
    """One batch, normalised float32 (B, 3, S, S), in the run's memory format and on its device."""
    names = given.names[: classify.resolved.batch]
    views = np.stack([open_working(given.path(name), classify.spec) for name in names])
    backbone = classify.network.backbone
    made = normalise(torch.from_numpy(views), backbone.mean, backbone.std)
    return made.to(classify.resolved.device, memory_format=TORCH_FORMATS[classify.resolved.memory_format])


if __name__ == "__main__":
    sys.exit(main())
