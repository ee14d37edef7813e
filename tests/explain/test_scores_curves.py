"""Deletion and insertion, against loops in double precision written from Petsiuk et al. 2018, algorithm 1."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from citycam.explain.scores.curves import LEVELS, area, curve
from citycam.explain.scores.ranks import highest, lowest, ranks
from citycam.explain.scores.subject import Subject
from citycam.explain.targets import LogitTarget, Negative, Target
from tests.explain.scored import SIDE, drawn, make_subject, random_maps
from tests.explain.tails import B, K
from tests.explain.test_integrated import BASELINES, slow_blur

NAMES = ["blur", "mean"]


def slow_answer(subject: Subject, picture: np.ndarray, target: Target) -> float:
    """The contrast of a logit with the mean of the others, in double precision."""
    double = copy.deepcopy(subject.network).double()  # type: ignore[type-var]
    with torch.no_grad():
        logits = double(torch.from_numpy(picture)[None])[0].numpy()
    if isinstance(target, LogitTarget):
        return float(logits[target.index] - np.delete(logits, target.index).mean())
    return float(target(torch.from_numpy(logits)))


@pytest.mark.parametrize("inserting", [False, True])
@pytest.mark.parametrize("baseline", NAMES)
def test_curves_are_those_of_the_paper(baseline: str, inserting: bool) -> None:
    targets: list[Target] = [LogitTarget(0), LogitTarget(1), Negative(2), LogitTarget(2), LogitTarget(0)]
    subject, maps = make_subject(targets=targets), random_maps(height=SIDE, width=SIDE)
    answers = curve(subject, drawn(maps), baseline, inserting=inserting)
    assert answers.shape == (B, len(LEVELS))
    for place in range(B):
        picture = subject.pictures(slice(None))[place].double().numpy()
        empty = slow_blur(picture, BASELINES[baseline])
        order = np.argsort(-maps[place].ravel())
        for step, level in enumerate(LEVELS):
            start, end = (empty, picture) if inserting else (picture, empty)
            changed, moved = start.reshape(3, -1).copy(), end.reshape(3, -1)
            chosen = order[: round(level * SIDE * SIDE)]
            changed[:, chosen] = moved[:, chosen]
            wanted = slow_answer(subject, changed.reshape(picture.shape), targets[place])
            assert answers[place, step] == pytest.approx(wanted, abs=2e-5)


def test_the_area_is_the_mean_height() -> None:
    np.testing.assert_allclose(area(np.array([LEVELS, [1.0] * 11, np.square(LEVELS)])), [0.5, 1, 0.335])


@pytest.mark.parametrize("baseline", NAMES)
def test_deleting_the_highest_is_inserting_the_lowest(baseline: str) -> None:
    subject, maps = make_subject(), random_maps(height=SIDE, width=SIDE)
    deleted = curve(subject, drawn(maps), baseline, inserting=False)
    inserted = curve(subject, drawn(-maps), baseline, inserting=True)
    np.testing.assert_allclose(deleted, inserted[:, ::-1], atol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["flat", "relu", "distinct"])
def test_exactly_a_share_is_taken_whatever_is_equal(share: float, kind: str) -> None:
    maps = random_maps(20, 9, 9)
    maps = {"flat": np.zeros_like(maps), "relu": np.maximum(maps, 0), "distinct": maps}[kind]
    order = ranks(maps, [str(place) for place in range(20)], 0)
    count = round(share * 81)
    for place in range(20):
        top, low = highest(order, share)[place], lowest(order, share)[place]
        assert top.sum() == low.sum() == count
        assert maps[place][top.numpy()].min() >= maps[place][~top.numpy()].max()
        assert maps[place][low.numpy()].max() <= maps[place][~low.numpy()].min()
        if share <= 0.5:
            assert not (top & low).any()


def test_a_class_of_two_has_the_contrast_and_binary_the_logit() -> None:
    subject = make_subject(targets=[LogitTarget(0)] * B)
    pictures = subject.pictures(slice(None))
    logits = subject.network(pictures).detach().double().numpy()
    wanted = logits[:, 0] - logits[:, 1:].mean(axis=1)
    np.testing.assert_allclose(subject.answers(pictures, slice(None)), wanted, atol=1e-5)
    single = torch.nn.Sequential(subject.network, torch.nn.Linear(K, 1))  # type: ignore[arg-type]
    binary = make_subject(targets=[LogitTarget(0)] * B)
    object.__setattr__(binary, "network", single)
    np.testing.assert_allclose(binary.answers(pictures, slice(None)), single(pictures)[:, 0].detach(), atol=1e-6)
