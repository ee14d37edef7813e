"""A lattice is measured, and never a default; a stride asked for stays, with a warning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.explain import lattice
from citycam.explain.lattice import LARGEST, lattice_share
from tests.conftest import Outcome

Train = Callable[..., Outcome]


def noise(side: int, count: int = 400) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, side, side))


@pytest.mark.parametrize(("side", "step"), [(8, 4), (12, 4), (4, 2), (6, 2), (7, 2), (10, 4)])
def test_noise_has_no_share_and_a_pure_lattice_the_whole(side: int, step: int) -> None:
    assert abs(lattice_share(noise(side), step)) < 0.02
    phases = np.random.default_rng(1).normal(size=(2, 3, step, step))
    repeats = -(-side // step)
    pure = np.tile(phases, (1, 1, repeats, repeats))[..., :side, :side]
    assert lattice_share(pure, step) == pytest.approx(1)


def test_the_share_by_hand() -> None:
    # Phases of 1, 0, 0, 0 on 4 x 4 cells, and 3 more in one cell: means 1.75, 0, 0, 0 about 7 / 16.
    maps = np.zeros((1, 1, 4, 4))
    maps[..., ::2, ::2] = 1
    maps[..., 0, 0] = 4
    between = 4 * ((1.75 - 7 / 16) ** 2 + 3 * (7 / 16) ** 2)
    total = between + (2.25**2 + 3 * 0.75**2)
    share, chance = between / total, 3 / 15
    assert lattice_share(maps, 2) == pytest.approx((share - chance) / (1 - chance))


@given(st.floats(-100, 100), st.floats(0.01, 100))
def test_level_and_scale_of_maps_do_not_count(level: float, scale: float) -> None:
    maps = noise(8, 2) + np.tile(noise(4, 2), (1, 1, 2, 2))
    assert lattice_share(maps * scale + level, 4) == pytest.approx(lattice_share(maps, 4), abs=1e-6)


def test_maps_without_variance_or_with_nan_do_not_count() -> None:
    maps = noise(8, 3)
    alone = lattice_share(maps[:1], 4)
    maps[1], maps[2, 0, 0, 0] = 7.0, np.nan
    assert lattice_share(maps, 4) == alone
    assert lattice_share(maps[1:], 4) == 0


def test_where_every_cell_is_a_phase_of_its_own_all_is_lattice() -> None:
    assert lattice_share(noise(4, 2), 4) == lattice_share(noise(2, 2), 4) == 1


def record(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text()))


def codes(run: Path) -> set[str]:
    return {warning["code"] for warning in record(run)["warnings"]}


@pytest.fixture(params=["frozen", "trained"])
def body(request: pytest.FixtureRequest) -> list[str]:
    return [] if request.param == "frozen" else ["backbone.finetune=blocks.5"]


@pytest.mark.parametrize(("share", "stride"), [(LARGEST, 8), (0.5, 32)])
def test_auto_takes_the_plain_grid_instead_of_a_lattice_and_says_so(
    share: float, stride: int, body: list[str], train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lattice, "lattice_share", lambda *_: share)
    outcome = train("explain.methods=[cam]", "explain.pictures=2", *body)
    assert outcome.code == 0, outcome.err
    (run,) = outcome.runs
    explained = record(run)["explained"]
    assert (explained["stride"], explained["offset"]) == (stride, 0.5)
    assert explained["map_size"] == [64 // stride, 64 // stride]
    assert explained["lattice"] == {"stride": 8, "share": share, "pictures": 2}
    assert f"At explain.stride=8, {share:.0%} of the variance" in outcome.err
    assert ({"plain_grid", "small_map"} <= codes(run)) is (stride == 32)
    assert "lattice" not in codes(run)
    sentences = [warning["sentence"] for warning in record(run)["warnings"]]
    assert not any("a smaller explain.stride" in sentence for sentence in sentences)
    with np.load(run / "explain" / "maps.npz") as maps:
        assert maps["cell_rows"].tolist() == [(0.5 + stride * cell) / 64 for cell in range(64 // stride)]


def test_a_stride_asked_for_stays_with_a_warning(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice, "lattice_share", lambda *_: 0.5)
    (run,) = train("explain.methods=[cam]", "explain.pictures=2", "explain.stride=16").runs
    assert record(run)["explained"]["stride"] == 16
    assert "lattice" in codes(run)
    assert "plain_grid" not in codes(run)
    (sentence,) = [warning["sentence"] for warning in record(run)["warnings"] if warning["code"] == "lattice"]
    assert sentence.startswith("At explain.stride=16, 50% of the variance of activations beyond chance")
    assert "explain.stride=auto" in sentence


def test_runs_of_a_sweep_are_measured_once_and_alike(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    monkeypatch.setattr(lattice, "lattice_share", lambda maps, _: (measured.append(len(maps)), 0.5)[1])
    outcome = train("explain.methods=[cam]", "explain.pictures=2", "seed=0,1", multirun=True)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("At explain.stride=8") == 1
    first, second = (record(run)["explained"] for run in outcome.runs)
    assert first["lattice"] == second["lattice"]
    assert first["stride"] == second["stride"] == 32
    content = json.loads((outcome.results / "sweep.json").read_text())
    assert {its["stride"] for its in content["resolved"].values()} == {32}
    assert measured == [2, 2]  # when the jobs are prepared; none measures again


def test_real_maps_are_measured_on_the_pictures_that_are_explained(train: Train) -> None:
    (run,) = train("explain.methods=[cam]", "explain.pictures=3").runs
    found = record(run)["explained"]["lattice"]
    assert (found["stride"], found["pictures"]) == (8, 3)
    assert -1 < found["share"] <= 1
