"""Do maps depend on the network at all? Weights are drawn anew from the head downwards, and maps have to change
(Adebayo et al. 2018, Sanity Checks for Saliency Maps); and the map of another class has to be another map."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy import stats
from torch import nn

from citycam import progress
from citycam.model.backbone import Backbone, make_backbone
from citycam.model.head import make_head
from citycam.model.stages import stage_units
from citycam.selfcheck.drawn import Drawn, Looked, method_maps
from citycam.selfcheck.subject import Subject

HEAD = "head"
# Pictures whose maps are compared.
_PICTURES = 12


def randomised(looked: Looked, head: nn.Module, methods: Sequence[str], seed: int) -> dict[str, dict[str, float]]:
    """Return for each method the mean rank correlation of its maps with those of networks that are drawn anew: first
    the head, then the stages of the body from the top, each on top of the ones before.

    Args:
        looked: at the explained pictures.
        head: as trained.
        seed: of what is drawn.
    """
    some = looked.some(_PICTURES)
    trained = method_maps(some, head, methods)
    config = looked.subject.run.config
    device = next(looked.subject.backbone.parameters()).device
    features = looked.subject.backbone.num_features
    outputs = looked.subject.run.inputs.labels.n_logits
    other_head = make_head(config.head, features, outputs, _other(seed, config.seed)).to(device)
    other_head.requires_grad_(False).eval()
    results: dict[str, dict[str, float]] = {name: {} for name in methods}
    stages = list(cascade(looked.subject, _other(seed, config.seed)))
    with progress.bar("random weights", 1 + len(stages), unit="networks") as advance:
        for step, subject in [(HEAD, None), *stages]:
            seen = some if subject is None else Looked.at(subject, some.views, some.digests)
            for name, drawn in method_maps(seen, other_head, methods).items():
                results[name][step] = correlation(trained[name], drawn)
            advance(1)
    return results


def class_swap(looked: Looked, head: nn.Module, methods: Sequence[str]) -> dict[str, float]:
    """Return for each method the mean rank correlation of the map of the city with that of the class that comes next;
    nothing with a single logit, where the other class's map is the negative."""
    some = looked.some(_PICTURES)
    with torch.no_grad():
        logits = looked.tail(head)(some.activations).cpu().numpy()
    if logits.shape[1] < 2:
        return {}
    logits[:, looked.city] = -np.inf
    others = [int(logit) for logit in logits.argmax(axis=1)]
    own, other = method_maps(some, head, methods), method_maps(some, head, methods, others)
    return {name: correlation(own[name], other[name]) for name in methods}


def correlation(one: Drawn, other: Drawn) -> float:
    """Return the mean over pictures of Spearman's rank correlation of two maps; that of a constant map is 0."""
    rows = []
    for a, b in zip(one.maps, other.maps, strict=True):
        ranks = [stats.rankdata(values) - (values.size + 1) / 2 for values in (a.ravel(), b.ravel())]
        norm = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
        rows.append(float((ranks[0] * ranks[1]).sum()) / norm if norm else 0.0)
    return float(np.mean(rows))


def _other(seed: int, own: int) -> int:
    """A seed of weights that are not the run's."""
    return own + 1 + seed


def cascade(subject: Subject, seed: int) -> Iterator[tuple[str, Subject]]:
    """Yield each stage from the top with the subject whose body, from there on, has weights drawn anew by ``seed``."""
    config = subject.run.config
    fresh = make_backbone(dataclasses.replace(config.backbone, finetune="none"), config.image_size, seed)
    units = stage_units(subject.backbone.net)
    backbone = subject.backbone
    for number, stage in enumerate(reversed(units), 1):
        backbone = _with_fresh(backbone, fresh, units[stage], whole=number == len(units))
        yield stage, dataclasses.replace(subject, backbone=backbone)


def _with_fresh(backbone: Backbone, fresh: Backbone, paths: Sequence[str], *, whole: bool) -> Backbone:
    """Return a copy of a body with the modules at ``paths`` of another; ``whole``: and with all that is left."""
    changed = copy.deepcopy(backbone)
    state = fresh.net.state_dict()
    own = {key: value for key, value in state.items() if whole or key.startswith(tuple(f"{path}." for path in paths))}
    changed.net.load_state_dict(own, strict=False)
    return changed.eval()
