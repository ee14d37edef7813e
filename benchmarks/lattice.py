"""Are default maps a lattice? The share of their variance by the cell's position modulo the stride step.

    python benchmarks/lattice.py PHOTOGRAPHS WEIGHTS

Trains multi, Adam, 5 epochs on 100 photographs a city, one view each, with a file of MobileNetV2's weights, at 64, 96
and 224 pixels, with default maps of 50 pictures; and at 64 and 96 pixels with ``explain.stride=8``, for comparison.
Prints the chance-adjusted share of the maps themselves (0 for noise, 1 for a lattice), and what was measured
before training.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from citycam.explain.lattice import lattice_share

ROOT = Path(__file__).resolve().parent.parent
SWEEPS = {"default": ["image_size=64,96,224"], "stride8": ["image_size=64,96", "explain.stride=8"]}
PLAIN = 32


def main() -> None:
    """Train, map, measure, print."""
    photographs, weights = (Path(argument).resolve() for argument in sys.argv[1:3])
    print("asked    pixels  stride  cells  method            share  of activations")
    for name, settings in SWEEPS.items():
        folder = ROOT / "multirun" / f"lattice-{name}"
        arguments = ["-m", "data=folder", f"data.root={photographs}", "split=random", *settings]
        arguments += ["data.limit=100", "split.val=0.5", "epochs=5", "augment.views=1"]
        arguments += ["backbone=mobilenetv2_100", f"backbone.weights={weights}", "explain.pictures=50"]
        subprocess.run([sys.executable, ROOT / "train.py", *arguments, f"sweep.name={folder.name}"], check=True)
        for record in sorted(folder.glob("*/run.json")):
            content = json.loads(record.read_text(encoding="utf-8"))
            explained, size = content["explained"], content["explained"]["map_size"]
            pixels = next(its for its in content["overrides"] if its.startswith("image_size=")).partition("=")[2]
            measured = explained["lattice"]["share"] if explained["lattice"] else float("nan")
            with np.load(record.parent / "explain" / "maps.npz") as maps:
                for method in explained["methods"]:
                    step = PLAIN // explained["stride"]
                    share = lattice_share(maps[method][:, None], step) if step > 1 else 0.0
                    print(
                        f"{name:8} {pixels:>6} {explained['stride']:>7}  {size[0]:>2}x{size[1]:<2}  {method:16} "
                        f"{share:6.3f}  {measured:6.3f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
