"""A device is held by one job at a time, among all processes, and is free when its process has ended. Without GPUs: a
device is a name here."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from citycam.devices import Device, cpu_devices
from citycam.jobs.slots import hold, room
from tests.conftest import ROOT

GPUS = [Device(f"cuda:{number}", f"GPU-{number}") for number in range(4)]

# Does jobs one after the other, and prints when each takes its devices and when it gives them back. A job is
# [name, seconds of its work]; "crash" in its name raises inside, "die" kills the process there.
WORKER = """
import json, os, signal, sys, time
sys.path.insert(0, {root!r})
from citycam.devices import Device
from citycam.jobs.slots import hold
devices = [Device(f"cuda:{{n}}", f"GPU-{{n}}") for n in range({devices})]
def tell(what, name, held=()):
    line = json.dumps([what, name, [device.identity for device in held], time.monotonic()])
    os.write(1, (line + "\\n").encode())
tell("ready", "")
sys.stdin.readline()
for name, seconds in json.loads(sys.argv[1]):
    tell("wait", name)
    try:
        with hold(devices, count={count}, per_device={per_device}, run=name, waiting=lambda _: None) as held:
            tell("take", name, held)
            time.sleep(seconds)
            if "die" in name:
                os.kill(os.getpid(), signal.SIGKILL)
            if "crash" in name:
                raise RuntimeError
            tell("give", name, held)
    except RuntimeError:
        tell("give", name, held)
"""


def worker(
    jobs: list[tuple[str, float]], *, devices: int = 4, count: int = 1, per_device: int = 1
) -> subprocess.Popen[str]:
    code = WORKER.format(root=str(ROOT), devices=devices, count=count, per_device=per_device)
    return subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(jobs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def read_until(one: subprocess.Popen[str], what: str) -> None:
    assert one.stdout is not None
    assert any(json.loads(line)[0] == what for line in one.stdout), f"the worker never printed {what}"


def begin(one: subprocess.Popen[str]) -> None:
    assert one.stdin is not None
    one.stdin.write("\n")
    one.stdin.flush()


def events(workers: list[subprocess.Popen[str]]) -> list[tuple[str, str, list[str]]]:
    """What the workers printed, in the order of time; they start together."""
    for one in workers:
        read_until(one, "ready")
    for one in workers:
        begin(one)
    lines = [json.loads(line) for one in workers for line in one.communicate()[0].splitlines()]
    return [(what, name, held) for what, name, held, _ in sorted(lines, key=lambda line: line[3])]


def most_at_once(lines: list[tuple[str, str, list[str]]]) -> dict[str, int]:
    """The largest number of jobs that held each device at a time; one that died held it until its last line."""
    held: dict[str, set[str]] = {}
    most: dict[str, int] = {}
    dead = {name for what, name, _ in lines if what == "take"} - {name for what, name, _ in lines if what == "give"}
    for what, name, devices in lines:
        for device in devices:
            holders = held.setdefault(device, set())
            if what == "take":
                holders -= {other for other in holders if other in dead}
                holders.add(name)
            else:
                holders.discard(name)
            most[device] = max(most.get(device, 0), len(holders))
    return most


@pytest.fixture(autouse=True)
def own_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def claims(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("slots/*/*"))


def test_a_hundred_uneven_jobs_of_two_sweeps_share_four_devices(own_claims: Path) -> None:
    jobs = [(f"{number}{'-crash' if number % 17 == 3 else ''}", 0.002 * (number * 37 % 29)) for number in range(100)]
    jobs[41] = ("41-die", 0.01)
    workers = [worker(jobs[start::8]) for start in range(8)]
    lines = events(workers)
    assert sorted(one.returncode for one in workers) == [-signal.SIGKILL] + [0] * 7
    assert set(most_at_once(lines).values()) == {1}
    done = {name for what, name, _ in lines if what == "give"}
    # What came after the job that killed its process was never begun; the ledger's business, not that of slots.
    assert done == {name for name, _ in jobs} - {name for name, _ in jobs[41 % 8 :: 8][41 // 8 :]}
    with hold(GPUS, count=4, per_device=1, run="all", waiting=pytest.fail):
        pass
    assert claims(own_claims) == ["claims.lock"]


def test_a_device_may_be_shared_and_spreads_jobs_evenly() -> None:
    lines = events([worker([(f"{n}-{m}", 0.02) for m in range(5)], devices=2, per_device=2) for n in range(6)])
    assert max(most_at_once(lines).values()) <= 2
    with (
        hold(GPUS[:2], count=1, per_device=2, run="one", waiting=pytest.fail) as one,
        hold(GPUS[:2], count=1, per_device=2, run="two", waiting=pytest.fail) as two,
    ):
        assert {one[0], two[0]} == set(GPUS[:2])
        with hold(GPUS[:2], count=2, per_device=2, run="three", waiting=pytest.fail) as three:
            assert set(three) == set(GPUS[:2])


def test_a_job_that_needs_a_device_alone_waits_for_those_that_share_it_and_names_them() -> None:
    sharing = worker([("/sweep/one", 600)], devices=1, per_device=2)
    begin(sharing)
    read_until(sharing, "take")
    sentences = []

    def waiting(sentence: str) -> None:
        sentences.append(sentence)
        sharing.send_signal(signal.SIGKILL)  # the kernel frees its claim

    with hold(GPUS[:1], count=1, per_device=1, run="mine", waiting=waiting) as held:
        assert held == GPUS[:1]
    assert sentences == [f"waiting for 1 of 1 cuda devices: held by /sweep/one (process {sharing.pid})."]
    sharing.communicate()


def test_several_devices_are_taken_all_or_none() -> None:
    lines = events([worker([(f"{n}-{m}", 0.01) for m in range(6)], devices=3, count=2) for n in range(3)])
    assert max(most_at_once(lines).values()) == 1
    assert {len(held) for what, _, held in lines if what == "take"} == {2}


def test_a_warm_device_comes_first_and_then_the_one_with_most_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nprintf 'GPU-0, 100\\nGPU-1, [N/A]\\nGPU-2, 900\\nGPU-3, 300\\n'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)

    def first(warm: str | None) -> str:
        with hold(GPUS, count=1, per_device=1, run="x", waiting=pytest.fail, warm=warm) as held:
            return held[0].identity

    assert first(None) == "GPU-2"
    assert first("cuda:3") == "GPU-3"


def test_cores_of_the_processor_are_devices() -> None:
    cores = cpu_devices()
    assert {core.name for core in cores} == {"cpu"}
    assert len({core.identity for core in cores}) == len(cores)
    assert room(GPUS, 1, 1) == 4
    assert room(GPUS, 3, 1) == 1
    assert room(GPUS, 1, 3) == 12
