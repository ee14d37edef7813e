"""Heads are trained as the program trains them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from citycam.bank.frozen import FrozenBody
from citycam.cli.selfcheck import subject_of
from citycam.data.inputs import PlannedRun, load_inputs
from citycam.errors import CitycamError
from citycam.inference.network import load_network, resolve_here
from citycam.inference.runs import find_run
from citycam.selfcheck.heads import train_head
from tests.conftest import Outcome, forget
from tests.selfcheck.conftest import settings_of

Train = Callable[..., Outcome]


@pytest.mark.parametrize("more", [("optimizer=adam",), ("optimizer=sgd", "partition=binary", "batch_size=7", "seed=3")])
def test_a_head_on_plain_features_is_that_of_the_program(train: Train, more: tuple[str, ...]) -> None:
    (folder,) = train("augment=none", "epochs=3", "explain=none", *more).runs
    run = find_run(folder)
    planned = PlannedRun(run.config, load_inputs(run.config), resolve_here(run))
    reader = FrozenBody(planned).reader(training=True, epochs=3)
    features = reader(planned.inputs.train, 0).numpy()
    before = torch.get_num_threads()
    head = train_head(planned, features, torch.device("cpu"))
    assert torch.get_num_threads() == before
    expected = load_network(run, planned.resolved).head.state_dict()
    assert {name: its.shape for name, its in head.state_dict().items()} == {n: its.shape for n, its in expected.items()}
    for name, values in head.state_dict().items():
        assert torch.equal(values, expected[name]), name


def test_divergence_is_a_sentence(many: Path, tiny_weights: Path) -> None:
    forget()
    run = subject_of(settings_of(many, tiny_weights)).run
    features = np.full((len(run.inputs.train), 8), np.inf, dtype=np.float32)
    with pytest.raises(CitycamError, match=r"diverged by the end of epoch 1; try a smaller optimizer\.lr"):
        train_head(run, features, torch.device("cpu"))
