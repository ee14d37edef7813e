"""The scores of a run: explain/scores.csv, and ``explained.scores`` of run.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from citycam import progress
from citycam.bank.extract import TORCH_FORMATS
from citycam.bank.frozen import EXACT
from citycam.cells import smoothed
from citycam.data.inputs import PlannedRun
from citycam.data.views import normalise, open_working
from citycam.explain.effects import Stripped, strip_features
from citycam.explain.grid import cell_grid
from citycam.explain.make import MadeMaps, exact_network, run_targets
from citycam.explain.scores.controls import class_blind
from citycam.explain.scores.curves import STEP
from citycam.explain.scores.make import score_maps
from citycam.explain.scores.others import Others
from citycam.explain.scores.registry import SCORES
from citycam.explain.scores.subject import Causes, Drawn, Subject, answers_of
from citycam.explain.scores.table import summarise, write_scores
from citycam.explain.tail import eval_mode
from citycam.explain.write import Shown
from citycam.model.network import Network

Array = NDArray[np.floating]
Views = NDArray[np.uint8]


def score_run(
    run: PlannedRun, rows: np.ndarray, network: Network, made: MadeMaps, shown: Mapping[str, Shown], path: Path
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Score the maps of a run as its settings say, and write the table.

    Args:
        rows: catalog rows (N,) of the pictures.
        made: their maps.
        shown: how each method's maps are shown, which is how they are scored.
        path: of scores.csv.

    Returns:
        Facts for ``explained`` of run.json, ``scores`` (see `summarise`) and ``about_scores``, and warnings.
    """
    chosen = [run.inputs.catalog.pictures[row] for row in rows.tolist()]
    names, stripped = list(run.config.explain.scores), None
    if any(SCORES[name].needs == "truth" for name in names):
        stripped = strip_features(run.config.data, [picture.name for picture in chosen], run.inputs.plain_spec)
    warnings = _left_out(names) if stripped is None else []
    names = [name for name in names if stripped is not None or SCORES[name].needs != "truth"]
    if not names:
        return {}, warnings
    views = np.stack([open_working(run.inputs.catalog.path(picture), run.inputs.plain_spec) for picture in chosen])
    exact = exact_network(network)
    subject = _subject(run, rows, exact, made, views)
    with eval_mode(exact):
        if stripped is not None:
            subject = replace(subject, causes=Causes(stripped, _effects(subject, exact, stripped)))
        methods, controls = _drawn(Others(run, rows, network, exact, made, subject), shown, views, names)
        total = (2 * len(methods) + len(controls)) * len(names) * len(rows)
        with progress.bar("scores", total, unit="scores") as advance:
            scores = score_maps(
                subject, methods, controls, names, [picture.city for picture in chosen], progress=advance
            )
    write_scores(path, [picture.name for picture in chosen], subject.digests, scores)
    groups = [picture.group for picture in chosen]
    walks = None if any(group is None for group in groups) else groups
    about = {name: {key: getattr(SCORES[name], key) for key in ("title", "better", "hides")} for name in names}
    return {"scores": summarise(scores, list(made.maps), walks), "about_scores": about}, warnings


def _left_out(names: list[str]) -> list[dict[str, str]]:
    needing = [name for name in names if SCORES[name].needs == "truth"]
    if not needing:
        return []
    sentence = (
        f"These pictures cannot be drawn again, so what causes an answer is not known, and {', '.join(needing)} of "
        "explain.scores are left out; data=toytown has them."
    )
    return [{"code": "scores_left_out", "sentence": sentence}]


def _subject(
    run: PlannedRun,
    rows: np.ndarray,
    exact: Network,
    made: MadeMaps,
    views: Views,
) -> Subject:
    return Subject(
        digests=[run.inputs.catalog.pictures[row].digest for row in rows.tolist()],
        tail=made.tail,
        activations=made.activations,
        cells=cell_grid(exact.backbone, run.resolved.stride),
        targets=run_targets(run, rows, made.logits, whole=False),
        network=exact,
        pictures=lambda some: _pictures(exact, views[some]),
        size=run.config.image_size,
        seed=run.config.explain.seed,
    )


def _pictures(exact: Network, views: Views) -> torch.Tensor:
    """Return views (B, S, S, 3) as the network reads them, on its device."""
    backbone = exact.backbone
    device = next(exact.head.parameters()).device
    batch = normalise(torch.from_numpy(views).to(device), backbone.mean, backbone.std)
    return batch.contiguous(memory_format=TORCH_FORMATS[EXACT.memory_format])


def _effects(subject: Subject, exact: Network, stripped: Stripped) -> Array:
    """Return what the number answered has more with each feature than without it (P,)."""
    before = subject.whole("plain", lambda batch: batch, slice(None), STEP)
    targets = [subject.targets[place] for place in stripped.place.tolist()]
    parts: list[Array] = [np.zeros(0)]
    for start in range(0, len(targets), STEP):
        some = slice(start, start + STEP)
        parts.append(answers_of(exact, _pictures(exact, stripped.views[some]), targets[some]))
    effects: Array = before[stripped.place] - np.concatenate(parts)
    return effects


def _drawn(
    others: Others, shown: Mapping[str, Shown], views: Views, names: list[str]
) -> tuple[list[Drawn], list[Drawn]]:
    """Return the maps of methods and of controls, with what the scores hold them against."""
    subject, needs = others.subject, {SCORES[name].needs for name in names}
    rivals = others.rivals() if "rivals" in needs else {}
    copies = others.copies() if "copies" in needs else {}
    methods = [
        Drawn(
            method,
            smoothed(its.raw, shown[method].box),
            shown[method].cells,
            its.blank,
            rivals.get(method),
            copies.get(method),
        )
        for method, its in others.made.maps.items()
    ]
    noisy = _noisy_views(others) if "copies" in needs else []
    return methods, class_blind(views, subject.digests, subject.activations, subject.cells, noisy)


def _noisy_views(others: Others) -> list[tuple[Views, torch.Tensor]]:
    """Return the noisy copies of all pictures as views (N, S, S, 3), with their activations."""
    backbone = others.network.backbone
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (backbone.mean, backbone.std))
    return [
        ((255 * (pictures * std + mean)).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy(), activations)
        for pictures, activations in others.noisy()
    ]
