"""What bf16 changes: features and accuracy of a frozen backbone, beside fp32.

    python benchmarks/precision.py FOLDER --target NAME --weights FILE [--backbone mobilenetv2_100] [--size 64]

Features of all validation pictures in both precisions (cosine, relative difference), and the validation accuracy of
heads that were trained on either with three seeds each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from common import ROOT, options, scratch, settle
from results import Ratio, report

from citycam.bank.extract import Extractor
from citycam.bank.frozen import FrozenBody
from citycam.config import Precision
from citycam.data.views import open_working
from citycam.doors import door
from citycam.resolved import Arithmetic

SEEDS = "0,1,2"


@door
def main() -> int:
    """Measure and report."""
    parser = options(__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=64, help="image_size")
    asked = parser.parse_args()
    overrides = [
        "data=folder",
        f"data.root='{asked.folder.resolve()}'",
        f"data.target='{asked.target}'",
        f"backbone={asked.backbone}",
        f"backbone.weights='{asked.weights.resolve()}'",
        f"image_size={asked.size}",
        "explain=none",
        *([f"data.limit={asked.pictures}"] if asked.pictures else []),
    ]
    with scratch() as folder:
        cosine, relative = features(overrides)
        seeds = {precision: accuracies(overrides, precision, folder) for precision in ("fp32", "bf16")}
    mean = {precision: float(np.mean(values)) for precision, values in seeds.items()}
    report(
        f"precision: {asked.backbone}, {asked.size} px, {asked.folder.name}",
        how=f"`python benchmarks/precision.py … --backbone {asked.backbone} --size {asked.size}`: heads of 10 epochs "
        f"with Adam on frozen features, seeds {SEEDS}.",
        ratios=[Ratio("accuracy, bf16 / fp32", mean["bf16"] / mean["fp32"])],
        figures={
            "cosine of features, smallest / median": f"{cosine.min():.6f} / {np.median(cosine):.6f}",
            "relative difference of features, median": f"{np.median(relative):.1e}",
            **{f"accuracy in {name}": ", ".join(f"{value:.3f}" for value in values) for name, values in seeds.items()},
        },
        device="cpu",
        path=asked.results,
    )
    return 0


def features(overrides: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Cosine, and norm of the difference over the norm, of each validation picture's features in bf16 and fp32."""
    setting = settle(*overrides, "precision=fp32")
    backbone = FrozenBody(setting).backbone
    catalog, spec = setting.inputs.catalog, setting.inputs.plain_spec
    views = np.stack([open_working(catalog.path(catalog.pictures[row]), spec) for row in setting.inputs.val.tolist()])
    exact, rounded = (
        torch.from_numpy(Extractor(backbone, Arithmetic(precision), batch=setting.resolved.batch).views(views)).double()
        for precision in (Precision.fp32, Precision.bf16)
    )
    cosine = torch.nn.functional.cosine_similarity(exact, rounded)
    return cosine.numpy(), ((exact - rounded).norm(dim=1) / exact.norm(dim=1)).numpy()


def accuracies(overrides: list[str], precision: str, folder: Path) -> list[float]:
    """Final validation accuracy of each seed's run."""
    results = folder / precision
    arguments = ["-m", f"seed={SEEDS}", f"precision={precision}", f"hydra.sweep.dir='{results}'", *overrides]
    subprocess.run([sys.executable, ROOT / "train.py", *arguments], check=True, cwd=ROOT, env=dict(os.environ))
    runs = sorted(results.glob("*/run.json"))
    return [float(json.loads(run.read_text())["final"]["val_accuracy"]) for run in runs]


if __name__ == "__main__":
    sys.exit(main())
