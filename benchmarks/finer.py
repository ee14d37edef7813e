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
from collections.abc import Callable
from pathlib import Path

import torch
from common import seconds
from drawing import by_name, controls, fused, integrated, occlusion, on_stages
from planted import photographs
from pointing import ARGUMENTS, BASELINES, SHARE, STEPS
from results import RESULTS, report
from truths import Drawn, Truth, interval, score, table, toytown, trained_runs

from citycam.explain.integrated import box_of

SIDES = (64, 96, 224)
STRIDES = (32, 16, 8)
METHODS = ("gradcam", "hirescam")
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
    side, body = truth.side, truth.trained[0].body
    at = {one["reduction"]: one["module"] for one in body.net.feature_info}
    box = box_of(side)
    made: dict[str, tuple[Draw, str]] = {}
    for stride in STRIDES:
        made[f"Grad-CAM, stride {stride}"] = (
            lambda its, s=stride: by_name(its, ["gradcam"], s)["gradcam"],
            "1 forward",
        )
    made["Grad-CAM, stride 8, smoothed over 3 cells"] = (
        lambda its: by_name(its, ["gradcam"], 8)["gradcam"].smoothed(3),
        "1 forward",
    )
    for method in METHODS:
        for reduction in EARLIER:
            made[f"{method} on the stage of stride {reduction}"] = (
                lambda its, m=method, r=reduction: on_stages(its, [at[r]])[m, at[r]],
                "1",
            )
    made["hirescam, stages of stride 4, 8 and 16 fused"] = (
        lambda its: fused(
            [its_ for (m, _), its_ in on_stages(its, [at[r] for r in EARLIER]).items() if m == METHODS[1]], side
        ),
        "1",
    )
    made["occlusion, a quarter of the side, step an eighth"] = (
        lambda its: occlusion(its, side // 4, side // 8),
        "65 forward",
    )
    made["integrated, 1 pass"] = (lambda its: integrated(its, ["blur"], 1).smoothed(box), "1")
    made["integrated, 4 passes, not smoothed"] = (lambda its: integrated(its, BASELINES, STEPS), "4")
    made["integrated, 4 passes"] = (lambda its: integrated(its, BASELINES, STEPS).smoothed(box), "4")
    made["picture less blurred picture (knows no class)"] = (lambda its: controls(its)["blur_difference"], "0")
    return made


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
