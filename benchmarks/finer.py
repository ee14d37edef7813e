"""What makes maps more precise: stride, earlier layers, larger input, smoothing, occlusion, or integrated gradients?

    python benchmarks/finer.py PHOTOGRAPHS WEIGHTS [--target CITY]

On toytown the truth is what a counterfactual changes (see benchmarks/pointing.py). In photographs, a folder for each
city, it is a planted cue: a red disc with a bar, 16 % of the side wide, in 70 % of the pictures of one city; heads are
trained with it on a body with WEIGHTS of MobileNetV2, at 64, 96 and 224 px, and validation pictures that have the disc
are explained. The cost is counted in passes, and measured in forward passes of one picture.
"""

from __future__ import annotations

import argparse
import contextlib
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
from truths import Drawn, Truth, interval, score, table, toytown, trained_runs

from citycam.explain.integrated import box_of

SIDES = (64, 96, 224)
STRIDES = (32, 16, 8)
TITLES = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM"}
# The stages whose outputs have these strides.
EARLIER = (16, 8, 4)
TIMED, ROUNDS = 16, 3
Draw = Callable[[Truth], Drawn]


def main() -> None:
    """Plant, train, draw, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="photographs, a folder per city")
    parser.add_argument("weights", type=Path, help="of MobileNetV2")
    parser.add_argument("--target", default="paris", help="the city that gets the cue")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the section goes; RESULTS.md")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        truths = {"toytown 64 px": toytown(trained_runs(ARGUMENTS), SHARE)}
        for side in SIDES:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="citycam-planted-")))
            truths[f"photographs {side} px"] = planted(asked, side, scratch)
        report(
            "finer maps",
            how=f"`python benchmarks/finer.py PHOTOGRAPHS WEIGHTS`: {len(truths['toytown 64 px'].views)} pictures of "
            f"toytown (ResNet50), and photographs of {asked.target} with the cue (MobileNetV2); three seeds.",
            ratios=[],
            figures={name: about(truth) for name, truth in truths.items()},
            tables=[
                table(["map", *truths, "passes", "time at 96 px"], rows(truths)),
            ],
            notes=[
                "Each cell: pointing, energy, pixel AUC.",
                "Time: of one picture, in forward passes of one picture.",
            ],
            device="cpu",
            path=asked.results,
        )


def planted(asked: argparse.Namespace, side: int, scratch: Path) -> Truth:
    """Return the photographs with the cue, of a side."""
    network = ["backbone=mobilenetv2_100", f"backbone.weights='{asked.weights}'", "augment=none", "split.val=0.3"]
    return photographs(
        asked.folder.resolve(),
        asked.target,
        side,
        scratch,
        ["seed=0,1,2", "explain=none", f"sweep.name=planted{side}", *network],
    )


def about(truth: Truth) -> str:
    """Return the number of pictures, the area that matters, and what it does to the contrast."""
    assert truth.stripped is not None
    groups = [truth.groups[place] for place in truth.stripped.place.tolist()]
    effects = sum(one.contrast for one in truth.effects) / len(truth.effects)
    return (
        f"{len(truth.views)} pictures, of which {truth.masks.mean():.3f} matters; effect on the contrast "
        f"{interval(effects, groups)}"
    )


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
    made["integrated, 1 pass"] = (lambda its: integrated(its, ["blur"], 1).smoothed(box), "1")
    made["integrated, 4 passes, not smoothed"] = (partial(on_pictures, method="integrated"), "4")
    made[f"integrated, 4 passes, smoothed"] = (
        lambda its: on_pictures(its, "integrated").smoothed(box),
        "4",
    )
    made["picture less blurred picture (knows no class)"] = (lambda its: controls(its)["blur_difference"], "0")
    return made


def last(truth: Truth, stride: int, width: int = 1) -> Drawn:
    """Return Grad-CAM on the last layer."""
    return by_name(truth, ["gradcam"], stride)["gradcam"].smoothed(width)


def early(truth: Truth, stage: str, method: str) -> Drawn:
    """Return a method on an earlier stage."""
    return on_stage(truth, stage, [method])[method]


def fusion(truth: Truth, stages: Sequence[str]) -> Drawn:
    """Return HiResCAM of several stages, joined."""
    return fused([early(truth, stage, "hirescam") for stage in stages], truth.side)


def rows(truths: dict[str, Truth]) -> list[list[str]]:
    """Return the rows of the table."""
    drawn = {name: {kind: draw(truth) for kind, (draw, _) in kinds(truth).items()} for name, truth in truths.items()}
    timed = next(truth for name, truth in truths.items() if name.endswith("96 px"))
    made = []
    for kind, (draw, passes) in kinds(timed).items():
        cells = []
        for name, truth in truths.items():
            scores = score(drawn[name][kind], truth)
            cells.append(" ".join(f"{scores.mean(measure):.2f}" for measure in ("pointing", "energy", "auc")))
        made.append([kind, *cells, passes, f"{cost(draw, timed):.1f}"])
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
