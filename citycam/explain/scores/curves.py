"""Deletion and insertion: what the network answers while a map's pixels leave a picture, or enter an empty one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from citycam.explain.integrated import BASELINES, blurred
from citycam.explain.scores.ranks import highest, ranks
from citycam.explain.scores.registry import HIGHER, LOWER, Formula, score
from citycam.explain.scores.subject import Drawn, Subject

Array = NDArray[np.floating]
# Shares of the pixels at which the network is asked: 0, 0.1, ..., 1.
LEVELS = tuple(level / 10 for level in range(11))
# Pictures of a pass.
STEP = 32
_OUT = "Pictures in between are like none that the network was trained on"
_EDGES = "It favours maps of edges, which show a picture again: a map that knows no class may have the best value."


def curve(subject: Subject, drawn: Drawn, baseline: str, *, inserting: bool) -> Array:
    """Return the number answered (N, 11) at each of `LEVELS` while the pixels of a map, from its highest on, are
    replaced by those of a baseline, or replace them (Petsiuk et al. 2018, algorithm 1).

    Args:
        baseline: a name in `BASELINES`.
        inserting: whether the pixels enter the baseline.
    """
    parts = [
        _some(subject, drawn, baseline, slice(start, min(start + STEP, len(subject))), inserting=inserting)
        for start in range(0, len(subject), STEP)
    ]
    return np.concatenate(parts)


def _some(subject: Subject, drawn: Drawn, baseline: str, some: slice, *, inserting: bool) -> Array:
    pictures = subject.pictures(some)
    empty = blurred(pictures, BASELINES[baseline])
    first, last = (empty, pictures) if inserting else (pictures, empty)
    order = ranks(drawn.pixels(some, subject.size), subject.digests[some], subject.seed).to(pictures.device)
    answers = [
        subject.answers(torch.where(highest(order, level)[:, None], last, first), some) for level in LEVELS[1:-1]
    ]
    # No map changes the two ends.
    plain = subject.whole("plain", lambda batch: batch, some, STEP)
    bare = subject.whole(baseline, lambda batch: blurred(batch, BASELINES[baseline]), some, STEP)
    ends = (bare, plain) if inserting else (plain, bare)
    return np.stack([ends[0], *answers, ends[1]], axis=1)


def area(answers: Array) -> Array:
    """Return the mean height (N,) of curves (N, 11) over `LEVELS`, by the trapezoidal rule."""
    mean: Array = ((answers[:, 1:] + answers[:, :-1]) / 2).mean(axis=1)
    return mean


def _area_of(baseline: str, *, inserting: bool) -> Formula:
    def formula(subject: Subject, drawn: Drawn) -> Array:
        return area(curve(subject, drawn, baseline, inserting=inserting))

    return formula


for _baseline, _word in (("blur", "blurred picture"), ("mean", "mean colour")):
    score(
        f"deletion_{_baseline}",
        f"deletion, {_word}",
        better=LOWER,
        needs="passes",
        hides=f"{_OUT}, and what replaces the pixels decides which map is best.",
    )(_area_of(_baseline, inserting=False))
    score(
        f"insertion_{_baseline}",
        f"insertion, {_word}",
        better=HIGHER,
        needs="passes",
        hides=_EDGES,
    )(_area_of(_baseline, inserting=True))
