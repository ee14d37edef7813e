"""The pictures that are explained, their targets and their noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from citycam.config import Partition
from citycam.errors import CitycamError
from citycam.explain.sample import choose, noisy_copies, write_sample
from citycam.explain.targets import Contrast, Difference, LogitTarget, Negative, Target, choose_targets, settle_target
from citycam.explain_config import ExplainTarget
from citycam.files import read_csv

ROWS = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(["paris", "rome"]), st.sampled_from(["train", "val", "test"])),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[0],
)


def chosen_names(rows: list[tuple[int, str, str]], count: int, seed: int) -> list[str]:
    names = [f"{city}/{number}.jpg" for number, city, _ in rows]
    digests = [f"{number:032x}" for number, _, _ in rows]
    cities, parts = [row[1] for row in rows], [row[2] for row in rows]
    return [names[i] for i in choose(names, digests, cities, parts, target="paris", count=count, seed=seed)]


@settings(max_examples=50, deadline=None)
@given(rows=ROWS, count=st.integers(1, 20), seed=st.integers(0, 5), shuffle=st.randoms(use_true_random=False))
def test_sample_does_not_depend_on_row_order(
    rows: list[tuple[int, str, str]], count: int, seed: int, shuffle: object
) -> None:
    candidates = {f"paris/{number}.jpg" for number, city, part in rows if (city, part) == ("paris", "val")}
    if not candidates:
        with pytest.raises(CitycamError, match="no picture of paris"):
            chosen_names(rows, count, seed)
        return
    names = chosen_names(rows, count, seed)
    shuffled = list(rows)
    shuffle.shuffle(shuffled)  # type: ignore[attr-defined]
    assert chosen_names(shuffled, count, seed) == names
    assert set(names) <= candidates
    assert len(names) == len(set(names)) == min(count, len(candidates))
    assert chosen_names(rows, count + 3, seed)[: len(names)] == names


def test_another_seed_chooses_other_pictures() -> None:
    rows = [(number, "paris", "val") for number in range(200)]
    assert chosen_names(rows, 20, 0) != chosen_names(rows, 20, 1)


def test_other_cities_and_parts_do_not_change_the_sample() -> None:
    rows = [(number, "paris", "val") for number in range(30)]
    more = [(1000 + number, "rome", "val") for number in range(9)] + [(2000, "paris", "train")]
    assert chosen_names(rows + more, 10, 0) == chosen_names(rows, 10, 0)


def test_the_sample_is_written_as_a_table(tmp_path: Path) -> None:
    write_sample(tmp_path / "explain_sample.csv", [("paris/a,b.jpg", "00", "paris", None)])
    assert read_csv(tmp_path / "explain_sample.csv") == [
        {"picture": "paris/a,b.jpg", "digest": "00", "city": "paris", "group": ""}
    ]


MULTI = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
MULTI_CASES: dict[ExplainTarget, list[Target]] = {
    ExplainTarget.city: [LogitTarget(2), LogitTarget(2)],
    ExplainTarget.predicted: [LogitTarget(0), LogitTarget(1)],
    ExplainTarget.true: [LogitTarget(1), LogitTarget(2)],
    ExplainTarget.runner_up: [LogitTarget(2), LogitTarget(2)],
    ExplainTarget.difference: [Difference(2, 0), Difference(2, 1)],
    ExplainTarget.contrast: [Contrast(2), Contrast(2)],
}
BINARY_CASES: dict[ExplainTarget, list[Target]] = {
    ExplainTarget.city: [LogitTarget(0), LogitTarget(0)],
    ExplainTarget.predicted: [LogitTarget(0), Negative(0)],
    ExplainTarget.true: [Negative(0), LogitTarget(0)],
    ExplainTarget.runner_up: [Negative(0), LogitTarget(0)],
    ExplainTarget.difference: [LogitTarget(0), LogitTarget(0)],
    ExplainTarget.contrast: [LogitTarget(0), LogitTarget(0)],
}


@pytest.mark.parametrize("kind", [kind for kind in ExplainTarget if kind is not ExplainTarget.auto])
def test_targets_of_multi(kind: ExplainTarget) -> None:
    labels = np.array([1, 2])
    targets = choose_targets(kind, MULTI, labels, 2, Partition.multi, ["paris", "pune", "rome"])
    assert targets == MULTI_CASES[kind]
    assert all(target.words for target in targets)


@pytest.mark.parametrize("kind", [kind for kind in ExplainTarget if kind is not ExplainTarget.auto])
def test_targets_of_binary(kind: ExplainTarget) -> None:
    logits, labels = np.array([[0.1], [-0.1]]), np.array([0, 1])
    targets = choose_targets(kind, logits, labels, 1, Partition.binary, ["rest", "paris"])
    assert targets == BINARY_CASES[kind]
    assert {target.words for target in targets} <= {"paris", "rest (not paris)"}


def test_auto_is_the_city_for_cells_and_the_contrast_for_whole_pictures() -> None:
    assert settle_target(ExplainTarget.auto, whole=False) is ExplainTarget.city
    assert settle_target(ExplainTarget.auto, whole=True) is ExplainTarget.contrast
    assert all(settle_target(kind, whole=True) is kind for kind in ExplainTarget if kind is not ExplainTarget.auto)


def test_a_difference_names_both_classes() -> None:
    target = choose_targets(ExplainTarget.difference, MULTI, np.array([2, 2]), 2, Partition.multi, ["a", "b", "c"])[0]
    assert target.words == "c minus a"
    assert float(target(torch.tensor(MULTI[0]))) == -1.0


def test_noise_is_a_share_of_the_range_of_its_picture_alone() -> None:
    pictures = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    pictures[1] *= 10
    digests = ["aa", "bb", "cc"]
    copies = list(noisy_copies(pictures, digests, noise=0.1, samples=2, seed=5))
    spread = (copies[0] - pictures).std(dim=(1, 2, 3))
    span = pictures.amax(dim=(1, 2, 3)) - pictures.amin(dim=(1, 2, 3))
    torch.testing.assert_close(spread / span, torch.full((3,), 0.1), rtol=0.05, atol=0)
    alone = list(noisy_copies(pictures[1:2], ["bb"], noise=0.1, samples=2, seed=5))
    assert torch.equal(alone[1][0], copies[1][1])
    assert not torch.equal(copies[0], copies[1])
    drawn = copies[0] - pictures
    assert not torch.allclose(drawn[0] / span[0], drawn[2] / span[2], atol=1e-3)
    assert not torch.equal(copies[0], next(noisy_copies(pictures, digests, noise=0.1, samples=1, seed=6)))
