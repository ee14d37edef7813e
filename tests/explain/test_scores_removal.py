"""Cells taken out of the activations: against the tail evaluated in double precision without them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from citycam.cells import CellGrid
from citycam.explain.maps import explain
from citycam.explain.scores.ranks import ranks
from citycam.explain.scores.removal import SHARE, removal, removal_order, without_cells
from citycam.explain.scores.subject import Drawn
from citycam.explain.tail import Tail
from citycam.explain.targets import Contrast, Difference, LogitTarget, Negative, Target
from tests.explain.scored import drawn, make_subject, part, random_maps
from tests.explain.tails import B, C, H, K, W, make_activations, make_tail, mean_pool

TARGETS: list[Target] = [LogitTarget(1), Negative(0), Difference(2, 0), Contrast(1), LogitTarget(0)]


def slow_loss(tail: Tail, activations: np.ndarray, target: Target, removed: np.ndarray) -> float:
    """What is explained, less what is left where the cells ``removed`` (h, w) are zero, in double precision."""
    double = copy.deepcopy(tail).double().eval()
    full = torch.from_numpy(activations).double()[None]
    left = full * torch.from_numpy(~removed)
    with torch.no_grad():
        return float(target(double(full)[0]) - target(double(left)[0]))


@pytest.mark.parametrize("pool_kind", ["mean", "linear"])
def test_the_loss_is_that_of_the_tail_without_the_cells(pool_kind: str) -> None:
    tail, activations = make_tail(pool_kind), make_activations()
    subject = make_subject(tail=tail, targets=TARGETS)
    maps = random_maps()
    losses = removal(subject, drawn(maps))
    count = round(SHARE * H * W)
    for place in range(B):
        removed = np.zeros(H * W, dtype=bool)
        removed[np.argsort(-maps[place].ravel())[:count]] = True
        wanted = slow_loss(tail, activations[place].numpy(), TARGETS[place], removed.reshape(H, W))
        assert losses[place] == pytest.approx(wanted, abs=2e-6)


@pytest.mark.parametrize("pool_kind", ["mean", "linear"])
def test_the_order_is_that_of_the_losses_of_single_cells(pool_kind: str) -> None:
    tail, activations = make_tail(pool_kind), make_activations()
    subject, maps = make_subject(tail=tail, targets=TARGETS), random_maps()
    agreement = removal_order(subject, drawn(maps))
    for place in range(B):
        single = [
            slow_loss(tail, activations[place].numpy(), TARGETS[place], cell.reshape(H, W))
            for cell in np.eye(H * W, dtype=bool)
        ]
        assert agreement[place] == pytest.approx(np.corrcoef(maps[place].ravel(), single)[0, 1], abs=1e-5)


def test_cam_behind_a_linear_head_is_the_loss_itself() -> None:
    torch.manual_seed(5)
    tail = Tail(mean_pool, nn.Linear(C, K), pool_kind="mean").eval()
    subject = make_subject(tail=tail)
    maps = explain("cam", tail, subject.activations, list(subject.targets)).raw
    np.testing.assert_allclose(removal_order(subject, drawn(maps)), 1, atol=1e-6)
    best = removal(subject, drawn(maps))
    for seed in range(20):
        assert (removal(subject, drawn(random_maps(seed=seed))) <= best + 1e-6).all()


def test_a_denser_grid_takes_cells_from_the_mean_that_maps_explain() -> None:
    tail = Tail(mean_pool, nn.Linear(C, K), pool_kind="mean", plain_stride_step=2).eval()
    activations = make_activations()
    subject = make_subject(tail=tail)
    single = torch.eye(H * W, dtype=torch.bool).expand(B, -1, -1)
    losses = without_cells(subject, single).reshape(B, H, W)
    maps = explain("cam", tail, activations, list(subject.targets)).raw
    np.testing.assert_allclose(losses, maps / (H * W), atol=1e-6)


def test_maps_of_pixels_are_averaged_over_what_is_nearest_to_a_cell() -> None:
    subject = make_subject()
    pixels = random_maps(height=24, width=24)
    cells = CellGrid((0.1, 0.35, 0.6, 0.95), (0.2, 0.5, 0.8))
    moved = Drawn("integrated", pixels, CellGrid.even(24, 24), np.zeros(B, dtype=bool)).on_cells(cells, 24)
    places = (np.arange(24) + 0.5) / 24
    nearest = [np.abs(places[:, None] - np.array(centres)).argmin(axis=1) for centres in (cells.rows, cells.columns)]
    for row, column in np.ndindex(4, 3):
        inside = pixels[:, nearest[0] == row][:, :, nearest[1] == column]
        np.testing.assert_allclose(moved[:, row, column], inside.mean(axis=(1, 2)), atol=1e-6)
    assert np.isfinite(removal(subject, drawn(pixels))).all()


def test_a_cell_that_looks_past_the_border_has_a_value() -> None:
    maps = random_maps(height=4, width=4)
    moved = drawn(maps).on_cells(CellGrid((-0.2, -0.1, 0.5, 1.4), (0.5,)), 8)
    assert np.isfinite(moved).all()


@pytest.mark.parametrize("formula", [removal, removal_order])
@pytest.mark.parametrize("pool_kind", ["mean", "linear"])
def test_a_batch_of_one_equals_a_batch_of_many(formula, pool_kind: str, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    subject, maps = make_subject(tail=make_tail(pool_kind)), random_maps()
    whole = formula(subject, drawn(maps))
    alone = [formula(part(subject, place), drawn(maps[place : place + 1]))[0] for place in range(B)]
    np.testing.assert_allclose(alone, whole, atol=1e-6)
    monkeypatch.setattr("citycam.explain.scores.removal._AT_ONCE", 1)
    np.testing.assert_allclose(formula(make_subject(tail=subject.tail), drawn(maps)), whole, atol=1e-6)


def test_the_tail_is_left_as_it_was() -> None:
    tail = make_tail("linear").train()
    tail.head[0].weight.requires_grad_(False)
    before = [part.training for part in tail.modules()], [p.requires_grad for p in tail.parameters()]
    subject = make_subject(tail=tail)
    removal(subject, drawn(random_maps()))
    removal_order(subject, drawn(random_maps()))
    assert ([part.training for part in tail.modules()], [p.requires_grad for p in tail.parameters()]) == before
    assert all(parameter.grad is None for parameter in tail.parameters())
    assert not subject.activations.requires_grad


def test_equal_cells_are_taken_by_chance_and_the_same_every_time() -> None:
    flat = np.zeros((40, 4, 4), dtype=np.float32)
    digests = [str(place) for place in range(40)]
    first, again = ranks(flat, digests, 0), ranks(flat, digests, 0)
    assert (first == again).all()
    assert (ranks(flat, digests, 1) != first).any()
    # Each cell is the highest now and then, and never two of them.
    tops = (first == 0).flatten(1)
    assert (tops.sum(dim=1) == 1).all()
    assert tops.any(dim=0).sum() > 10
