"""How many jobs run at a time, and what each of them gets; without GPUs: a device is a name here."""

from __future__ import annotations

import dataclasses
import gc
import json
import platform
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from citycam.config import Config
from citycam.devices import Device
from citycam.errors import CitycamError
from citycam.jobs.job import _devices
from citycam.jobs.sharing import Share, check_devices, share
from citycam.resolved import Arithmetic, Resolved
from citycam.sweep.gate import read_request
from citycam.sweep.ledger import Ledger
from tests.conftest import TINY, Outcome
from tests.sweep.test_ledger import RESOLVED

FOUR = [Device("cpu", f"core{number}") for number in range(4)]
GPUS = [Device(f"cuda:{number}", f"GPU-{number}") for number in range(4)]


def config(*overrides: str) -> Config:
    request = read_request(overrides)
    assert request is not None
    return request.jobs[0].config


def prepared(device: str) -> Resolved:
    return dataclasses.replace(RESOLVED, device=device, threads=1)


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("citycam.jobs.sharing.cpu_devices", lambda: FOUR)


@pytest.mark.parametrize(
    ("overrides", "devices", "asked", "jobs", "expected"),
    [
        ((), FOUR, 1, 8, Share(1, 4, 4)),
        ((), FOUR, 2, 8, Share(2, 2, 2)),
        ((), FOUR, 3, 8, Share(3, 1, 1)),
        ((), FOUR, None, 8, Share(4, 1, 1)),
        ((), FOUR, 64, 8, Share(4, 1, 1)),
        ((), FOUR, 64, 2, Share(2, 2, 2)),
        (("threads=4",), FOUR, None, 8, Share(1, 4, 4)),
        (("threads=64",), FOUR, None, 8, Share(1, 64, 4)),
        (("sweep.jobs_per_device=2",), FOUR, None, 99, Share(8, 1, 1)),
        (("trainer=ddp",), FOUR, 1, 8, Share(1, 4, 4)),
        ((), GPUS, 1, 8, Share(1, 4, 1)),
        ((), GPUS, None, 8, Share(4, 1, 1)),
        ((), GPUS, 2, 8, Share(2, 2, 1)),
        (("sweep.jobs_per_device=3",), GPUS[:1], None, 8, Share(3, 1, 1)),
        (("trainer=ddp", "trainer.devices=4"), GPUS, 1, 8, Share(1, 4, 4)),
    ],
)
def test_a_machine_is_shared_so_that_jobs_do_not_fight(
    overrides: tuple[str, ...], devices: list[Device], asked: int | None, jobs: int, expected: Share
) -> None:
    assert share(config(*overrides), devices, asked=asked, jobs=jobs) == expected


def test_jobs_hold_gpus_of_the_machine_they_run_on_and_ranks_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("citycam.jobs.job.machine_devices", lambda kind: GPUS if kind == "cuda" else [])
    resolved = prepared("cuda:7")  # on another machine
    with (
        _devices(config(), tmp_path / "one", resolved) as one,
        _devices(config("trainer=ddp", "trainer.devices=3"), tmp_path / "two", resolved) as two,
    ):
        assert sorted(one + two) == [device.name for device in GPUS]
        assert (len(one), len(two)) == (1, 3)


def test_a_job_on_a_machine_with_too_few_devices_is_refused_instead_of_waiting_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("citycam.jobs.job.machine_devices", lambda _kind: GPUS[:1])
    resolved, ranks = prepared("cuda:0"), config("trainer=ddp", "trainer.devices=2")
    with (
        pytest.raises(CitycamError, match=r"one needs 2 devices of a kind of which .* has 1; run it on a machine"),
        _devices(ranks, tmp_path / "one", resolved),
    ):
        pytest.fail("it has a device")


def test_a_job_does_not_need_to_know_the_devices_of_the_machine_that_prepared(
    train: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Ledger.add
    monkeypatch.setattr(Ledger, "add", lambda self, **given: add(self, **given | {"devices": {}}))
    outcome = train("explain=none")
    assert outcome.code == 0, outcome.err
    assert json.loads((outcome.results / "sweep.json").read_text())["devices"] == {platform.node(): {}}


def test_a_process_that_moves_to_another_device_leaves_nothing_on_the_one_before(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from citycam.bank.body import frozen_body
    from citycam.bank.extract import Extractor
    from citycam.jobs import job, resolve

    monkeypatch.setattr(job, "_warm", [])
    job.computes_on("cpu")
    body = frozen_body(TINY, (32, 16, 8), 64, str(tiny_weights), None, "cpu")
    Extractor(body, Arithmetic(), batch=2)
    resolve._check_grid(body, 8)
    there = weakref.ref(body)
    del body
    job.computes_on("cpu")
    assert there() is not None
    job.computes_on("mps")
    gc.collect()
    assert there() is None


def test_more_devices_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("citycam.jobs.sharing.choose_device", lambda _: torch.device("mps"))
    with pytest.raises(CitycamError, match=r"trainer.devices=2, but there is 1 of mps here; use trainer.devices=1."):
        check_devices(config("trainer=ddp"))


def test_every_gpu_is_known_by_what_the_driver_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from citycam.devices import machine_devices

    class Properties:
        def __init__(self, number: int) -> None:
            self.uuid = f"aaaa-{number}"

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    assert machine_devices("cuda") == [Device("cuda:0", "GPU-aaaa-0"), Device("cuda:1", "GPU-aaaa-1")]
