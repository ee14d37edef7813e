"""A hundred uneven jobs of two sweeps on four emulated devices: how busy these are, and whether one is held twice.

    python benchmarks/slots.py

Eight processes, four of each sweep, do jobs of 20 to 500 ms (they sleep). A device is idle wrongly while any job waits.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from results import RESULTS, Ratio, report

from citycam.devices import Device
from citycam.jobs.slots import hold

DEVICES = [Device(f"cuda:{number}", f"GPU-{number}") for number in range(4)]
JOBS, PROCESSES = 100, 8


@dataclass(frozen=True)
class Job:
    """When a job began to wait, held its device from and until (monotonic seconds), and which one."""

    waits: float
    begins: float
    ends: float
    device: str


def main() -> int:
    """Measure and report; or, given times, be one of the processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of the jobs' times; 0")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the section goes; RESULTS.md")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        return work(json.loads(asked.work))
    chance = random.Random(asked.seed)
    times = [chance.uniform(0.02, 0.5) for _ in range(JOBS)]
    jobs = everyone([times[start::PROCESSES] for start in range(PROCESSES)])
    busy, waited = shares(jobs)
    report(
        "slots",
        how=f"`python benchmarks/slots.py --seed {asked.seed}`: {JOBS} jobs of 20 to 500 ms by {PROCESSES} processes "
        f"on {len(DEVICES)} emulated devices.",
        ratios=[Ratio("time that devices are held while a job waits / that time", busy, 0.95)],
        figures={
            "jobs done": str(len(jobs)),
            "a device held twice": str(double(jobs)),
            "time with a job waiting": f"{waited:.1f} s",
        },
        device="cpu",
        path=asked.results,
    )
    return 0


def work(times: Sequence[float]) -> int:
    """Do jobs one after the other, and print when."""
    for seconds in times:
        waits = time.monotonic()
        with hold(DEVICES, count=1, per_device=1, run="job", waiting=lambda _: None) as devices:
            begins = time.monotonic()
            time.sleep(seconds)
            ends = time.monotonic()
        print(json.dumps([waits, begins, ends, devices[0].identity]))
    return 0


def everyone(parts: Sequence[Sequence[float]]) -> list[Job]:
    """Every process at its part of the work, at the same time."""
    with tempfile.TemporaryDirectory(prefix="citycam-bench-") as cache:
        started = [
            subprocess.Popen(
                [sys.executable, __file__, "--work", json.dumps(part)],
                stdout=subprocess.PIPE,
                env=os.environ | {"CITYCAM_CACHE": cache},
            )
            for part in parts
        ]
        return [Job(*json.loads(line)) for one in started for line in one.communicate()[0].splitlines()]


def double(jobs: Sequence[Job]) -> int:
    """How often a device was held by two jobs at a time."""
    ordered = sorted(jobs, key=lambda job: (job.device, job.begins))
    return sum(a.device == b.device and a.ends > b.begins for a, b in itertools.pairwise(ordered))


def shares(jobs: Sequence[Job]) -> tuple[float, float]:
    """Share of the devices' time that they were held, over the time when a job waited; and that time in seconds."""
    moments = sorted({moment for job in jobs for moment in (job.waits, job.begins, job.ends)})
    held = waited = 0.0
    for start, end in itertools.pairwise(moments):
        if any(job.waits <= start and job.begins >= end for job in jobs):
            waited += end - start
            held += (end - start) * sum(job.begins <= start and job.ends >= end for job in jobs)
    return held / (waited * len(DEVICES)), waited


if __name__ == "__main__":
    sys.exit(main())
