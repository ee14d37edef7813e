"""How many passes do integrated gradients need, from which baselines, and how wide a box smooths them best?

    python benchmarks/passes.py

On the runs and pictures of benchmarks/pointing.py. A pass is forward and backward, of one picture at one point of one
path. Baselines are combined from the maps of each, of which those of several are the mean.
"""

from __future__ import annotations

from drawing import integrated, mean_of
from pointing import ARGUMENTS, SHARE
from results import report
from truths import COLUMNS, Drawn, Truth, cells_of, score, table, toytown, trained_runs

from citycam.explain.integrated import box_of
from citycam.explain_config import ExplainConfig

# (baselines, steps of each)
CHOICES: tuple[tuple[tuple[str, ...], int], ...] = (
    (("blur_fine",), 1),
    (("blur",), 1),
    (("blur_coarse",), 1),
    (("mean",), 1),
    (("blur",), 2),
    (("blur_fine", "blur_coarse"), 1),
    (("blur", "blur_coarse"), 1),
    (("blur_fine", "blur", "blur_coarse"), 1),
    (("blur", "blur_coarse"), 2),
    (("blur_fine", "blur_coarse"), 2),
    (("blur", "mean"), 2),
    (("blur_fine", "blur", "blur_coarse", "mean"), 1),
    (("blur_fine", "blur", "blur_coarse"), 2),
    (("blur_fine", "blur", "blur_coarse", "mean"), 2),
)
BOXES = (1, 3, 5, 7)


def main() -> None:
    """Draw, smooth, compare, print."""
    truth = toytown(trained_runs(ARGUMENTS), SHARE)
    parts: dict[tuple[str, int], Drawn] = {}

    def raw(baselines: tuple[str, ...], steps: int) -> Drawn:
        for name in baselines:
            if (name, steps) not in parts:
                parts[name, steps] = integrated(truth, [name], steps)
        return mean_of([parts[name, steps] for name in baselines])

    box, default = box_of(truth.side), ExplainConfig()
    passes = [
        [
            str(len(baselines) * steps),
            ", ".join(baselines),
            str(steps),
            *row(raw(baselines, steps).smoothed(box), truth),
        ]
        for baselines, steps in CHOICES
    ]
    boxes = [
        [f"{width} px", str(steps), *row(raw(tuple(default.baselines), steps).smoothed(width), truth)]
        for steps in (1, 2)
        for width in BOXES
    ]
    report(
        "passes",
        how=f"`python benchmarks/passes.py`: {len(truth.views)} validation pictures of toytown at {truth.side} px, "
        f"{len(truth.trained)} seeds, ResNet50; smoothed over {box} px.",
        ratios=[],
        figures={},
        tables=[
            table(["passes", "baselines", "steps", *COLUMNS], passes),
            table(["box", "steps", *COLUMNS], boxes),
        ],
        device=truth.trained[0].run.resolved.device,
    )


def row(drawn: Drawn, truth: Truth) -> list[str]:
    """Return the scores of maps."""
    return cells_of(score(drawn, truth), truth)


if __name__ == "__main__":
    main()
