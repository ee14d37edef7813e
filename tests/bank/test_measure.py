"""The fastest arithmetic is taken, once, and only where it is worth its rounding."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from citycam import processes
from citycam.bank import measure
from citycam.bank.extract import Extractor, prepared
from citycam.config import BackboneConfig, Precision
from citycam.model.backbone import Backbone, make_backbone
from citycam.resolved import MEMORY_FORMATS, Arithmetic
from tests.conftest import TINY, Outcome, forget


@pytest.fixture
def backbone() -> Backbone:
    made = make_backbone(BackboneConfig(name=TINY), 64, 0)
    made.freeze("none")
    return made.eval()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No test knows what another one measured."""
    yield
    forget()


def rates(**of: float) -> object:
    """In place of the clock: pictures per second by precision and memory format."""

    def rate(_backbone: Backbone, arithmetic: Arithmetic, _size: int, batch: int, _hopeless: float) -> float:
        return of[f"{arithmetic.precision.name}_{arithmetic.memory_format}"] + batch / 1000

    return rate


@pytest.mark.parametrize(
    ("nchw", "bf16", "wanted", "expected"),
    [
        (1000.0, 100.0, Precision.auto, Arithmetic(Precision.fp32, "nchw")),  # accepted, but without a unit for it
        (1000.0, 1100.0, Precision.auto, Arithmetic(Precision.fp32, "nchw")),  # faster, but not worth its rounding
        (1000.0, 2000.0, Precision.auto, Arithmetic(Precision.bf16, "channels_last")),
        (1000.0, 300.0, Precision.bf16, Arithmetic(Precision.bf16, "channels_last")),
        (1000.0, 2000.0, Precision.fp32, Arithmetic(Precision.fp32, "nchw")),
        (540.0, 2000.0, Precision.fp32, Arithmetic(Precision.fp32, "channels_last")),  # no more than chance
    ],
)
def test_the_fastest_is_taken_and_kept(
    nchw: float,
    bf16: float,
    wanted: Precision,
    expected: Arithmetic,
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    clock = rates(fp32_channels_last=500.0, fp32_nchw=nchw, bf16_channels_last=bf16, bf16_nchw=bf16 - 1)
    monkeypatch.setattr(measure, "_rate", clock)
    choice = measure.choose(backbone, 64, wanted, threads=1, say=print)
    assert choice.arithmetic == expected
    assert choice.batch == 64
    assert set(choice.rates) == {
        f"{precision} {memory_format}"
        for precision in (["fp32", "bf16"] if wanted is Precision.auto else [wanted.name])
        for memory_format in MEMORY_FORMATS
    }
    forget()
    monkeypatch.setattr(measure, "_measure", None)  # the second call measures nothing
    assert measure.choose(backbone, 64, wanted, threads=1, say=print) == choice


def test_a_damaged_note_is_measured_again(backbone: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    first = measure.choose(backbone, 64, Precision.fp32, threads=1, say=print)
    (note,) = (tmp_path / "arithmetic").glob("*.json")
    note.write_text('{"precision": "fp64"}')
    assert (
        measure.choose(backbone, 64, Precision.fp32, threads=1, say=print).arithmetic.precision
        == first.arithmetic.precision
    )


@pytest.mark.parametrize(("disturbed", "attempts"), [(1, 2), (2, 3), (9, 3)])
def test_a_disturbed_measurement_is_repeated_and_holds_until_another_is_not(
    disturbed: int,
    attempts: int,
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    lost = itertools.chain.from_iterable((0, 10**9) if number < disturbed else (0, 0) for number in range(attempts))
    monkeypatch.setattr(processes, "preemptions", lost.__next__)
    made: list[None] = []

    def rate(*_: object) -> float:
        made.append(None)
        return 1000.0 + len(made)

    monkeypatch.setattr(measure, "_rate", rate)
    choice = measure.choose(backbone, 64, Precision.fp32, threads=1, say=print)
    assert len(made) == attempts * 4  # two memory formats, two batches
    quiet = disturbed < attempts
    assert choice.quiet == quiet
    (note,) = tmp_path.glob("arithmetic/*.json")
    assert json.loads(note.read_text())["quiet"] == quiet
    said = capsys.readouterr().out
    assert said.startswith(f"Measuring how {TINY} computes fastest here at 64 px, once")
    assert ("Other programs disturbed the measurement" in said) == (not quiet)
    assert measure.choose(backbone, 64, Precision.fp32, threads=1, say=print) == choice
    assert capsys.readouterr().out == ""  # the next job of this request measures nothing
    forget()
    monkeypatch.setattr(processes, "preemptions", itertools.count(0, 10**9).__next__)
    assert measure.choose(backbone, 64, Precision.fp32, threads=1, say=print) == choice  # until an undisturbed one
    monkeypatch.setattr(processes, "preemptions", lambda: 0)
    forget()
    assert measure.choose(backbone, 64, Precision.fp32, threads=1, say=print).quiet


def test_a_measurement_ends_in_time(backbone: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    monkeypatch.setattr(processes, "preemptions", itertools.count(0, 10**9).__next__)
    seconds = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: seconds[0])

    def rate(*_: object) -> float:
        seconds[0] += 8
        return 2.0

    monkeypatch.setattr(measure, "_rate", rate)
    choice = measure.choose(backbone, 64, Precision.auto, threads=1, say=print)
    assert choice.arithmetic == Arithmetic(Precision.fp32, "channels_last")
    assert seconds[0] <= 15 + 2 * 8  # a pass that has started, and one of a batch


@pytest.mark.slow
def test_a_precision_found_under_load_is_said_and_recorded(
    train: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "preemptions", itertools.count(0, 10**9).__next__)
    outcome = train("precision=auto", "explain=none")
    assert outcome.code == 0, outcome.err
    (run,) = outcome.runs
    warnings = {one["code"]: one["sentence"] for one in json.loads((run / "run.json").read_text())["warnings"]}
    assert "while other programs used the same cores" in warnings["measured_under_load"]


def test_bf16_is_what_autocast_makes_of_the_folded_network(backbone: Backbone) -> None:
    arithmetic = Arithmetic(Precision.bf16)
    pictures = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    values = Extractor(backbone, arithmetic, batch=4).pictures(pictures)
    exact = Extractor(backbone, Arithmetic(), batch=4).pictures(pictures)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = prepared(backbone, Arithmetic())(pictures.contiguous(memory_format=torch.channels_last)).float()
    np.testing.assert_array_equal(values, wanted.numpy())
    assert 0 < np.abs(values - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("memory_format", MEMORY_FORMATS)
def test_a_picture_does_not_depend_on_its_neighbours(memory_format: str, backbone: Backbone) -> None:
    extractor = Extractor(backbone, Arithmetic(memory_format=memory_format), batch=4)
    pictures = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    together = extractor.pictures(pictures)
    np.testing.assert_array_equal(together[5:], extractor.pictures(pictures[5:]))
    np.testing.assert_array_equal(together[[2, 0]], extractor.pictures(pictures[[2, 0]]))
