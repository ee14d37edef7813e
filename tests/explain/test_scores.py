"""The registry of scores, the controls beside methods, what is excluded, and the table and its tests."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from citycam.cells import CellGrid
from citycam.explain.controls import activation_norm
from citycam.explain.scores.controls import class_blind, dealt_maps
from citycam.explain.scores.make import score_maps
from citycam.explain.scores.registry import HIGHER, LOWER, NEEDS, SCORES, Score
from citycam.explain.scores.subject import Drawn, Subject
from citycam.explain.scores.table import compare, summarise, write_scores
from tests.explain.scored import SIDE, drawn, make_causes, make_subject, part, random_maps
from tests.explain.tails import B, H, W

CITIES = ["york"] * B
CHEAP = ["removal", "removal_order", "sparseness", "contrast"]


def views(count: int = B) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def scores_of(**more: object) -> dict[str, dict[str, np.ndarray]]:
    subject = make_subject()
    methods = [drawn(random_maps(seed=seed), name, rivals=random_maps(seed=9)) for seed, name in enumerate(("a", "b"))]
    controls = class_blind(views(), list(subject.digests), subject.activations, subject.cells)
    return score_maps(subject, methods, controls, CHEAP, CITIES, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("its", SCORES.values(), ids=SCORES)
def test_every_score_says_its_direction_and_what_it_does_not_show(its: Score) -> None:
    assert its.better in (HIGHER, LOWER)
    assert its.needs in NEEDS
    assert its.title
    assert its.hides[0].isupper()
    assert its.hides.endswith(".")
    assert its.formula.__doc__ or its.needs == "passes"


@pytest.mark.parametrize("its", SCORES.values(), ids=SCORES)
def test_every_score_is_a_number_for_each_picture(its: Score) -> None:
    subject = make_subject(causes=make_causes())
    maps = drawn(random_maps(), rivals=random_maps(seed=1), copies=random_maps(seed=2)[None])
    values = its.formula(subject, maps)
    assert values.shape == (B,)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("its", SCORES.values(), ids=SCORES)
def test_a_batch_of_one_equals_a_batch_of_many(its: Score) -> None:
    maps, rivals, copies = random_maps(), random_maps(seed=1), random_maps(seed=2)[None]
    whole = its.formula(make_subject(causes=make_causes()), drawn(maps, rivals=rivals, copies=copies))
    again = its.formula(make_subject(causes=make_causes()), drawn(maps, rivals=rivals, copies=copies))
    np.testing.assert_array_equal(whole, again)
    for place in range(B):
        some = slice(place, place + 1)
        own = drawn(maps[some], rivals=rivals[some], copies=copies[:, some])
        alone = its.formula(part(make_subject(causes=make_causes()), place), own)
        np.testing.assert_allclose(alone, whole[some], atol=1e-3 if its.name == "road" else 2e-5)


@pytest.mark.parametrize("its", SCORES.values(), ids=SCORES)
def test_the_network_is_left_as_it_was(its: Score) -> None:
    subject = make_subject(causes=make_causes())
    network = subject.network
    assert isinstance(network, torch.nn.Module)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    random = torch.random.get_rng_state()
    its.formula(subject, drawn(random_maps(), rivals=random_maps(), copies=random_maps()[None]))
    assert all((value == state[key]).all() for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert (torch.random.get_rng_state() == random).all()
    assert not network.training


def test_beside_every_method_stand_the_controls_and_its_own_maps_dealt() -> None:
    names = ["a", "b", "random", "centred", "edges", "activation_norm", "dealt_a", "dealt_b"]
    scores = scores_of()
    assert list(scores) == names
    assert all(list(its) == CHEAP for its in scores.values())


def test_maps_that_know_no_class_are_the_same_for_the_runner_up() -> None:
    scores = scores_of()
    for name in ("random", "centred", "edges", "activation_norm"):
        np.testing.assert_allclose(scores[name]["contrast"], 1)
    assert np.isnan(scores["dealt_a"]["contrast"]).all()
    assert np.isnan(scores["dealt_a"]["sparseness"]).all()
    assert np.isfinite(scores["dealt_a"]["removal"]).all()


def test_controls_are_what_they_say() -> None:
    subject = make_subject()
    made = {its.name: its for its in class_blind(views(), subject.digests, subject.activations, subject.cells)}
    np.testing.assert_allclose(made["activation_norm"].maps, activation_norm(subject.activations.numpy()), rtol=1e-6)
    assert made["activation_norm"].cells == subject.cells
    assert made["random"].maps.shape == (B, SIDE, SIDE)
    dealt = dealt_maps(drawn(random_maps(), "a"), CITIES, 0)
    assert dealt.name == "dealt_a"
    assert sorted(dealt.maps.sum(axis=(1, 2))) == sorted(random_maps().sum(axis=(1, 2)))
    assert not (dealt.maps == random_maps()).all(axis=(1, 2)).any()


def test_blank_maps_are_excluded_and_counted() -> None:
    subject = make_subject()
    blank = np.array([True, False, False, True, False])
    maps = random_maps()
    maps[0], maps[3] = 0, np.nan
    methods = [Drawn("a", maps, CellGrid.even(H, W), blank, rivals=random_maps(seed=1))]
    scores = score_maps(subject, methods, [], CHEAP, CITIES)
    summary = summarise(scores, ["a"], None)
    for name in CHEAP:
        assert (np.isnan(scores["a"][name]) == blank).all()
        assert summary["a"][name]["n"] == 3
        assert summary["a"][name]["excluded"] == 2
        assert summary["a"][name]["mean"] == pytest.approx(scores["a"][name][~blank].mean())
    assert np.isnan(scores["dealt_a"]["removal"]).sum() == 2


def test_all_maps_blank_leave_no_numbers_and_no_verdict() -> None:
    methods = [Drawn("a", np.zeros((B, H, W)), CellGrid.even(H, W), np.ones(B, dtype=bool))]
    subject = make_subject()
    controls = class_blind(views(), subject.digests, subject.activations, subject.cells)
    summary = summarise(score_maps(subject, methods, controls, CHEAP, CITIES), ["a"], None)
    for name in CHEAP:
        assert summary["a"][name] == {"mean": None, "low": None, "high": None, "n": 0, "groups": None, "excluded": B}


def test_the_table_has_a_row_for_each_picture_and_map(tmp_path: Path) -> None:
    scores = scores_of()
    scores["a"]["removal"][1] = np.nan
    names, digests = [f"{place}.png" for place in range(B)], [f"d{place}" for place in range(B)]
    write_scores(tmp_path / "scores.csv", names, digests, scores)
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["picture", "digest", "method", *CHEAP]
    assert len(rows) == B * len(scores)
    assert [row["picture"] for row in rows[: len(scores)]] == ["0.png"] * len(scores)
    for row in rows:
        place, its = names.index(row["picture"]), scores[row["method"]]
        assert row["digest"] == digests[place]
        for column in CHEAP:
            value = its[column][place]
            assert (row[column] == "") if np.isnan(value) else (float(row[column]) == value)


def pairs(better: float, count: int = 30) -> dict[str, dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    base = random.standard_normal(count)
    made = {
        "good": base + better + 0.2 * random.standard_normal(count),
        "same": base + 0.2 * random.standard_normal(count),
        "random": base + 0.2 * random.standard_normal(count),
        "dealt_good": base - 5,
        "dealt_same": base + 5,
    }
    return {name: {"removal": values, "deletion_blur": values} for name, values in made.items()}


def test_better_is_what_a_paired_test_shows() -> None:
    methods = ["good", "same"]
    summary = summarise(pairs(1.0), methods, None)
    assert summary["good"]["removal"]["better_than"] == ["same", "random", "dealt_good"]
    assert "better_than" not in summary["same"]["removal"]
    assert summary["same"]["removal"]["worse_than"] == ["good", "dealt_same"]
    assert "better_than" not in summary["random"]["removal"]
    # Where lower is better, the same numbers say the reverse.
    assert summary["good"]["deletion_blur"]["worse_than"] == ["same", "random", "dealt_good"]
    assert summary["same"]["deletion_blur"]["better_than"] == ["good", "dealt_same"]
    equal = summarise(pairs(0.0), methods, None)
    assert equal["good"]["removal"]["better_than"] == ["dealt_good"]


def test_a_method_is_not_held_against_the_dealt_maps_of_another() -> None:
    assert list(compare(pairs(1.0), ["good", "same"], "removal", None)) == [
        ("good", "same"), ("good", "random"), ("good", "dealt_good"), ("same", "random"), ("same", "dealt_same"),
    ]  # fmt: skip


def test_few_walks_show_no_difference() -> None:
    walks = [f"walk {place % 5}" for place in range(30)]
    summary = summarise(pairs(1.0), ["good", "same"], walks)
    assert "better_than" not in summary["good"]["removal"]
    alone = summarise(pairs(0.0), ["good", "same"], None)["good"]["removal"]
    clustered = summary["good"]["removal"]
    assert clustered["high"] - clustered["low"] != alone["high"] - alone["low"]


def test_pictures_without_one_of_the_two_scores_are_no_evidence() -> None:
    scores = pairs(1.0)
    scores["random"]["removal"][:] = np.nan
    scores["same"]["removal"][::2] = np.nan
    found = compare(scores, ["good", "same"], "removal", None)
    assert ("good", "random") not in found
    half = {name: {"removal": its["removal"][1::2]} for name, its in scores.items()}
    assert found["good", "same"][1] == compare(half, ["good", "same"], "removal", None)["good", "same"][1]


def test_progress_counts_every_map() -> None:
    told: list[int] = []
    scores_of(progress=told.append)
    assert sum(told) == B * len(CHEAP) * 8


def test_the_seed_decides_what_is_random() -> None:
    assert isinstance(make_subject(), Subject)
    first, again = scores_of(), scores_of()
    for name, its in first.items():
        for column, values in its.items():
            np.testing.assert_array_equal(values, again[name][column])
