"""What makes maps more precise: stride, earlier layers, larger input, smoothing, occlusion, or integrated gradients?

    python benchmarks/finer.py PHOTOGRAPHS WEIGHTS [--target CITY] [--sizes 64 96 224]

On toytown the truth is what a counterfactual changes (see benchmarks/pointing.py). In photographs, a folder for each
city, it is a planted cue: a red disc with a bar, 16 % of the side wide, in 70 % of the pictures of one city. A head is
trained with it, on a body with WEIGHTS of MobileNetV2, and validation pictures that have the disc are explained. The
cost is counted in passes, and measured in forward passes of one picture.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from common import seconds
from drawing import by_name, controls, fused, integrated, on_pictures, on_stage
from planted import photographs
from pointing import ARGUMENTS, SHARE
from results import RESULTS, report
from truths import COLUMNS, Drawn, Truth, cells_of, interval, score, table, toytown, trained_runs

from citycam.cells import odd
from citycam.explain.integrated import box_of
from citycam.words import counted

STRIDES = (32, 16, 8)
TITLES = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM"}
# The stages whose outputs have these strides.
EARLIER = (16, 8, 4)
# Paths of integrated gradients: (baselines, steps of each).
CHOICES = ((("blur",), 1), (("blur_fine", "blur_coarse"), 1), (("blur_fine", "blur_coarse"), 2))
TIMED, ROUNDS = 8, 3
Draw = Callable[[Truth], Drawn]


def main() -> None:
    """Plant, train, draw, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="photographs, a folder per city")
    parser.add_argument("weights", type=Path, help="of MobileNetV2")
    parser.add_argument("--target", default="paris", help="the city that gets the cue")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 224], help="sides of the views in pixels")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the sections go; RESULTS.md")
    asked = parser.parse_args()
    say("toytown", toytown(trained_runs(ARGUMENTS)[:1], SHARE), asked.results)
    for side in asked.sizes:
        with tempfile.TemporaryDirectory(prefix="citycam-planted-") as scratch:
            say(f"{side} px", planted(asked, side, Path(scratch)), asked.results)


def say(name: str, truth: Truth, results: Path) -> None:
    """Draw, compare, print a section."""
    kind = "validation pictures of toytown" if name == "toytown" else f"photographs of {truth.classes[0]} with the cue"
    report(
        f"finer maps: {name}",
        how=f"`python benchmarks/finer.py PHOTOGRAPHS WEIGHTS`: {len(truth.views)} {kind} at {truth.side} px, "
        f"{truth.trained[0].body.name}, one seed.",
        ratios=[],
        figures=about(truth),
        tables=[table(["map", *COLUMNS[:4], "passes", "time"], rows(truth))],
        notes=["Time: of one picture, in forward passes of one picture."],
        device="cpu",
        path=results,
    )


def planted(asked: argparse.Namespace, side: int, scratch: Path) -> Truth:
    """Return the photographs with the cue, of a side."""
    network = ["backbone=mobilenetv2_100", f"backbone.weights='{asked.weights}'", "augment=none", "split.val=0.3"]
    return photographs(
        asked.folder.resolve(),
        asked.target,
        side,
        scratch,
        ["seed=0", "explain=none", f"sweep.name=planted{side}", *network],
    )


def about(truth: Truth) -> dict[str, str]:
    """Return the area that matters, and what taking a feature or the cue out does to the contrast."""
    assert truth.stripped is not None
    (effects,) = truth.effects
    groups = [truth.groups[place] for place in truth.stripped.place.tolist()]
    return {
        "area that matters": f"{truth.masks.mean():.3f}",
        "contrast": interval(truth.trained[0].contrast(truth), truth.groups),
        "effect on it of a feature, or of the cue": interval(effects.contrast, groups),
    }


def kinds(truth: Truth) -> dict[str, tuple[Draw, str]]:
    """Return how each row is drawn, and its passes in words."""
    box = box_of(truth.side)
    stages = {one["reduction"]: one["module"] for one in truth.trained[0].body.net.feature_info}
    made: dict[str, tuple[Draw, str]] = {}
    for stride in STRIDES:
        made[f"Grad-CAM, stride {stride}"] = (partial(last, stride=stride), "1 forward")
    made["Grad-CAM, stride 8, smoothed over 3 cells"] = (partial(last, stride=8, width=3), "1 forward")
    for method, title in TITLES.items():
        for stride in EARLIER:
            made[f"{title} on the stage of stride {stride}"] = (
                partial(early, stage=stages[stride], method=method),
                "1",
            )
    earlier = [stages[stride] for stride in EARLIER]
    made["HiResCAM, these three stages fused"] = (partial(fusion, stages=earlier), "1")
    made["occlusion"] = (partial(on_pictures, method="occlusion"), "64 forward")
    for baselines, steps in CHOICES:
        words = f"integrated from {' and '.join(baselines)}, {counted(steps, 'step')} each"
        made[words] = (partial(paths, baselines=baselines, steps=steps, width=box), str(len(baselines) * steps))
    made[f"{words}, not smoothed"] = (partial(paths, baselines=baselines, steps=steps, width=1), made[words][1])
    made[f"{words}, smoothed twice as wide"] = (
        partial(paths, baselines=baselines, steps=steps, width=odd(2 * box)),
        made[words][1],
    )
    made["picture less blurred picture (knows no class)"] = (lambda its: controls(its)["blur_difference"], "0")
    return made


def last(truth: Truth, stride: int, width: int = 1) -> Drawn:
    """Return Grad-CAM on the last layer."""
    return by_name(truth, ["gradcam"], stride)["gradcam"].smoothed(width)


def paths(truth: Truth, baselines: Sequence[str], steps: int, width: int) -> Drawn:
    """Return integrated gradients."""
    return integrated(truth, baselines, steps).smoothed(width)


def early(truth: Truth, stage: str, method: str) -> Drawn:
    """Return a method on an earlier stage."""
    return on_stage(truth, stage, [method])[method]


def fusion(truth: Truth, stages: Sequence[str]) -> Drawn:
    """Return HiResCAM of several stages, joined."""
    return fused([early(truth, stage, "hirescam") for stage in stages], truth.side)


def rows(truth: Truth) -> list[list[str]]:
    """Return the rows of the table."""
    made = []
    for kind, (draw, passes) in kinds(truth).items():
        cells = cells_of(score(draw(truth), truth), truth)
        made.append([kind, *cells[:4], passes, f"{cost(draw, truth):.1f}"])
    return made


def cost(draw: Draw, truth: Truth) -> float:
    """Return the time of a map in forward passes."""
    some = slice(0, TIMED)
    few = dataclasses.replace(
        truth,
        trained=truth.trained[:1],
        rows=truth.rows[some],
        views=truth.views[some],
        digests=truth.digests[some],
        labels=truth.labels[some],
    )
    one = few.trained[0]

    @torch.inference_mode()
    def forward() -> None:
        one.network(one.pictures(few.views))

    ratios = [seconds(lambda: draw(few), "cpu") / seconds(forward, "cpu") for _ in range(ROUNDS + 1)]
    return statistics.median(ratios[1:])


if __name__ == "__main__":
    main()
