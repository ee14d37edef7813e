"""Do maps find the cause? On toytown it is known: every feature can be taken out of a picture.

    python benchmarks/pointing.py

Trains multi, Adam, 10 epochs on toytown with three seeds (or takes the runs that are there), and draws every validation
picture again without each feature of its town. That gives the effect of each feature on each run, and the pixels that
matter. Then it compares every method with them, and with controls that know no class:

- pointing: how often the highest cell looks at a pixel that matters;
- dealt: the same, with the map of another picture of the town. A method that only knows the town's usual layout has
  equal numbers;
- energy: the share of the map's positive mass on pixels that matter;
- pixel AUC: the chance that a pixel that matters is higher than one that does not;
- order: of pairs of features of one picture whose effects on the contrast differ by more than 1, how often the larger
  one has more of the map's positive mass.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from drawing import by_name, controls, on_pictures, on_stage
from results import Ratio, report
from truths import (
    COLUMNS,
    MEASURES,
    Drawn,
    Scores,
    Truth,
    cells_of,
    interval,
    score,
    table,
    toytown,
    trained_runs,
    worse,
)

from citycam.data.toytown.towns import KINDS
from citycam.explain.methods import METHODS
from citycam.explain.whole import WHOLE_METHODS

ARGUMENTS = ["-m", "seed=0,1,2", "explain=none", "sweep.name=pointing"]
STRIDES = (32, 16, 8)
STAGES = ("layer1", "layer2", "layer3")
# A pixel of a view matters if at least so much of it changes; 0 would count every pixel that changes at all.
SHARE = 0.5
OURS = "integrated"
GOALS = {"pointing": 0.85, "energy": 0.5, "auc": 0.75}


def main() -> None:
    """Train, draw, compare, print."""
    truth = toytown(trained_runs(ARGUMENTS), SHARE)
    scores = all_scores(truth)
    known = {name: scores.pop(name) for name in control_names(scores)}
    ours = scores[OURS]
    assert truth.stripped is not None
    areas = {share: truth.stripped.masks(share).mean() for share in (0, SHARE)}
    rows = [[name, *cells_of(its, truth), str(its.blank)] for name, its in (scores | known).items()]
    report(
        "pointing",
        how=f"`python benchmarks/pointing.py`: {len(truth.views)} validation pictures of toytown at {truth.side} px, "
        f"{len(truth.trained)} seeds, ResNet50; intervals of 95 % over {len(set(truth.groups))} walks.",
        ratios=[Ratio(f"{OURS}, {measure}", ours.mean(measure), goal) for measure, goal in GOALS.items()],
        figures={
            "pictures drawn again without a feature": f"{len(truth.stripped.features)}",
            f"area that matters (at least {SHARE:.0%} of a pixel changes)": f"{areas[SHARE]:.3f}",
            "area of which any part changes": f"{areas[0]:.3f}",
            **{f"{OURS}, {measure}, by seed": by_seed(ours, measure) for measure in MEASURES},
        },
        tables=[
            table(
                ["feature", "pictures", "lowers the contrast", "contrast", "logit", "answers changed"], effects(truth)
            ),
            table(["method", *COLUMNS, "blank"], rows),
            table(["control", *(f"p, {measure}" for measure in MEASURES)], tests(ours, known, truth)),
        ],
        notes=[
            "The contrast is the logit of the town less the mean of the others; effects are with the feature less "
            "without it, the mean of all seeds.",
            "The last table has p-values of a paired test over walks that a control is as good as integrated, "
            "corrected for all controls; 1 where it is better.",
        ],
        device=truth.trained[0].run.resolved.device,
    )


def all_scores(truth: Truth) -> dict[str, Scores]:
    """Return the scores of every method and control by the name of its row."""
    drawn: dict[str, Drawn] = {}
    for stride in STRIDES:
        made = by_name(truth, list(METHODS), stride)
        drawn |= {f"{method}, stride {stride}": its for method, its in made.items()}
    able = [method for method, its in METHODS.items() if its.any_stage]
    for stage in STAGES:
        drawn |= {f"{method} on {stage}": its for method, its in on_stage(truth, stage, able).items()}
    drawn[OURS] = on_pictures(truth, OURS).smoothed(WHOLE_METHODS[OURS].box(truth.side))
    scores = {name: score(its, truth) for name, its in (drawn | controls(truth)).items()}
    # Its many passes are made for one run only.
    first = dataclasses.replace(truth, trained=truth.trained[:1], effects=truth.effects[:1])
    return scores | {"occlusion, seed 0": score(on_pictures(first, "occlusion"), first)}


def control_names(scores: dict[str, Scores]) -> list[str]:
    """Return the rows that know no class."""
    blind = {"blur_difference", "edges", "saturation", "centred", "random"}
    return [name for name in scores if name in blind or name.startswith("activation norm")]


def by_seed(scores: Scores, measure: str) -> str:
    """Return the mean of each run."""
    return ", ".join(f"{np.nanmean(values):.3f}" for values in scores.values[measure])


def effects(truth: Truth) -> list[list[str]]:
    """Return a row for each kind of feature, and one for all: what taking it out does to the answers."""
    assert truth.stripped is not None
    features = np.array(truth.stripped.features)
    walks = [truth.groups[place] for place in truth.stripped.place.tolist()]
    contrast = np.mean([one.contrast for one in truth.effects], axis=0)
    logit = np.mean([one.logit for one in truth.effects], axis=0)
    answer = np.mean([one.answer for one in truth.effects], axis=0)
    lower = np.mean([one.contrast > 0 for one in truth.effects], axis=0)
    rows = []
    for kind, names in {**KINDS, "all": tuple(set(features.tolist()))}.items():
        own = np.flatnonzero(np.isin(features, names))
        its = [walks[place] for place in own.tolist()]
        parts = [(lower, True), (contrast, False), (logit, False), (answer, True)]
        rows.append([kind, str(len(own)), *(interval(one[own], its, share=share) for one, share in parts)])
    return rows


def tests(ours: Scores, known: dict[str, Scores], truth: Truth) -> list[list[str]]:
    """Return a row for each control: the p-value that it is as good, by measure."""
    p_values = {measure: worse(ours, known, measure, truth) for measure in MEASURES}
    return [[name, *(f"{p_values[measure][name]:.4f}" for measure in MEASURES)] for name in known]


if __name__ == "__main__":
    main()
