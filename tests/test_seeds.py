"""Streams are set by their name alone: on every machine, in every process, whatever was drawn before."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import torch

from citycam import seeds


def test_streams_in_numbers() -> None:
    # Numbers drawn once and kept: a stream that moves would deal other splits and other towns.
    assert seeds.derive(0, "order", 3) == 109950347633547931852744454391296717589
    assert seeds.stream(0, "order", 3).integers(0, 1000, 5).tolist() == [749, 473, 383, 546, 447]


def test_every_part_and_its_place_and_kind_matter() -> None:
    names = [(0, "a"), (1, "a"), (0, "b"), ("a", 0), ("0", "a"), (0, "a", 0), (0, "a", ""), ("0a",), (0,)]
    assert len({seeds.derive(*parts) for parts in names}) == len(names)
    assert seeds.derive("a", "b") != seeds.derive("ab")


def test_a_stream_does_not_know_what_was_drawn_before() -> None:
    first = seeds.stream(0, "split").random(4)
    np.random.default_rng().random(10)
    torch.manual_seed(5)
    seeds.stream(0, "order").random(100)
    assert (seeds.stream(0, "split").random(4) == first).all()


def test_streams_of_torch_leave_the_global_one_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    mine = torch.rand(3, generator=seeds.torch_stream(0, "weights"))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.rand(3, generator=seeds.torch_stream(0, "weights")), mine)
    assert not torch.equal(torch.rand(3, generator=seeds.torch_stream(1, "weights")), mine)


def test_another_process_draws_the_same() -> None:
    code = "from citycam import seeds; print(seeds.stream(4, 'view', 'abc').integers(0, 2**62))"
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert int(printed.stdout) == seeds.stream(4, "view", "abc").integers(0, 2**62)


def test_streams_of_neighbouring_names_are_not_correlated() -> None:
    draws = np.array([seeds.stream(seed, "noise").standard_normal(4000) for seed in range(6)])
    off = np.corrcoef(draws)[~np.eye(6, dtype=bool)]
    assert np.abs(off).max() < 0.07
