"""Weights that are drawn anew, stage by stage, and the correlation of maps."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from citycam.cells import CellGrid
from citycam.cli.selfcheck import subject_of
from citycam.model.backbone import make_backbone
from citycam.selfcheck.drawn import Drawn
from citycam.selfcheck.randomisation import cascade, correlation
from citycam.selfcheck.subject import Subject
from tests.conftest import forget
from tests.selfcheck.conftest import settings_of


@pytest.fixture
def subject(many: Path, tiny_weights: Path) -> Subject:
    """A frozen body."""
    forget()
    return subject_of(settings_of(many, tiny_weights, "explain=none"))


def drawn(maps: np.ndarray) -> Drawn:
    """Maps on an even grid."""
    return Drawn(maps, CellGrid.even(*maps.shape[1:]))


def test_the_correlation_is_the_mean_of_spearmans() -> None:
    one, other = np.random.default_rng(0).integers(0, 9, (2, 4, 5, 6)).astype(float)
    expected = np.mean([stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)])
    assert correlation(drawn(one), drawn(other)) == pytest.approx(expected)
    assert correlation(drawn(one), drawn(3 * one - 1)) == pytest.approx(1)
    assert correlation(drawn(one), drawn(-one)) == pytest.approx(-1)
    assert correlation(drawn(one), drawn(np.zeros_like(one))) == 0


def test_stages_are_drawn_anew_from_the_top_and_the_body_itself_is_left_alone(subject: Subject) -> None:
    before = {name: values.clone() for name, values in subject.backbone.state_dict().items()}
    steps = list(cascade(subject, 7))
    stages = list(subject.backbone.stages)
    assert [name for name, _ in steps] == stages[::-1]
    fresh = make_backbone(subject.run.config.backbone, subject.run.config.image_size, 7).state_dict()
    changed: list[set[str]] = []
    for _, step in steps:
        state = step.backbone.state_dict()
        differing = {name for name in state if not torch.equal(state[name], before[name])}
        assert all(torch.equal(state[name], fresh[name]) for name in differing)
        assert step.backbone.frozen
        assert not step.backbone.training
        changed.append(differing)
    assert all(fewer < more for fewer, more in itertools.pairwise(changed))
    last = steps[-1][1].backbone.state_dict()
    assert all(torch.equal(values, fresh[name]) for name, values in last.items())
    for name, values in subject.backbone.state_dict().items():
        assert torch.equal(values, before[name])
