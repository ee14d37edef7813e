"""A study of 100,000 peaks: what finding and testing take in time and memory, beside the passes of the network.

    python benchmarks/study_scale.py

Activations are made up: cells of noise, with things planted that some cities have more often. What finds, groups,
detects, nominates and tests them is citycam's own. It runs in a process of its own, whose anonymous memory is sampled;
the time that making the activations takes is measured alone and taken off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from results import RESULTS, Ratio, report

from citycam.cells import CellGrid
from citycam.doors import door
from citycam.study import describe, detectors
from citycam.study.clusters import cluster
from citycam.study.describe import describe_peaks
from citycam.study.detectors import detect, make_detectors
from citycam.study.nominate import nominate
from citycam.study.peaks import Peaks
from citycam.study.prevalence import discoveries, prevalence
from citycam.study.subject import Pictures

MINUTES, GIGABYTES = 5.0, 4.0
CITIES, WALK, SIDE, CHANNELS, THINGS, BATCH = 7, 20, 8, 512, 150, 64


@dataclass(frozen=True)
class Made:
    """Pictures of made-up activations: ``things`` float32 (T, C); ``shown`` int (N, 3), the things of a picture, each
    at a place (N, 3) of its own."""

    things: np.ndarray
    shown: np.ndarray
    places: np.ndarray
    noise: np.ndarray

    def units(self, chosen: slice) -> np.ndarray:
        """Return unit activations float32 (B, h, w, C)."""
        count = chosen.stop - chosen.start
        values = np.take(self.noise, np.arange(chosen.start, chosen.stop) % len(self.noise), axis=0)
        flat = values.reshape(count, SIDE * SIDE, CHANNELS)
        for one in range(3):
            flat[np.arange(count), self.places[chosen, one]] += 4 * self.things[self.shown[chosen, one]]
        return values / np.linalg.norm(values, axis=-1, keepdims=True)


def make(pictures: int, seed: int) -> tuple[Made, Pictures]:
    """Return made-up pictures of cities: each city has some things oftener than others have."""
    random = np.random.default_rng(seed)
    fixed = np.random.default_rng(0)
    things = fixed.standard_normal((THINGS, CHANNELS), dtype=np.float32)
    often = fixed.dirichlet(np.full(THINGS, 0.3), CITIES)
    cities = np.arange(pictures) // WALK % CITIES
    shown = np.stack([random.choice(THINGS, 3, p=often[city]) for city in cities.tolist()])
    places = np.argsort(random.random((pictures, SIDE * SIDE), dtype=np.float32), axis=1)[:, :3]
    noise = random.standard_normal((512, SIDE, SIDE, CHANNELS), dtype=np.float32)
    names = tuple(f"{seed}-{number}" for number in range(pictures))
    walks = tuple(f"{seed}-{number // WALK}" for number in range(pictures))
    return Made(things, shown, places, noise), Pictures(np.arange(pictures), names, names, cities, walks)


def study(peaks: int, tested: int) -> dict[str, float]:
    """Find and test elements; return seconds, by what they went to, and the highest anonymous memory in bytes."""
    most = [0]
    threading.Thread(target=watch, args=(most,), daemon=True).start()
    (made, finding), (other, testing) = make(peaks // 3, 1), make(tested, 2)
    sources = {id(finding): made, id(testing): other}
    seconds: dict[str, float] = {"making": 0.0}

    def units_of(_subject: Any, _stage: Any, some: Pictures, _what: str) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(some), BATCH):
            before = time.monotonic()
            chosen = slice(start, min(start + BATCH, len(some)))
            units = sources[id(some)].units(chosen)
            seconds["making"] += time.monotonic() - before
            yield chosen, units

    describe.units_of = detectors.units_of = units_of  # type: ignore[assignment]
    stage: Any = SimpleNamespace(cells=CellGrid.even(SIDE, SIDE))
    start = time.monotonic()
    row, column = np.divmod(made.places.ravel(), SIDE)
    where = Peaks(np.repeat(np.arange(len(finding)), 3), 2 * row, 2 * column)
    basis, descriptions = describe_peaks(None, stage, finding, where)  # type: ignore[arg-type]
    seconds["described"] = time.monotonic()
    clusters = cluster(descriptions, finding.cities[where.picture], 0)
    seconds["clustered"] = time.monotonic()
    its = make_detectors(descriptions, clusters, basis)
    in_finding, in_testing = (
        detect(None, stage, basis, its, some, "")  # type: ignore[arg-type]
        for some in (finding, testing)
    )
    seconds["detected"] = time.monotonic()
    nominations = nominate(in_finding.detected, finding, CITIES)
    p_values = []
    for one in nominations:
        own, others = testing.cities == one.city, ~np.isin(testing.cities, one.sharers)
        p_values.append(prevalence(in_testing.detected[:, one.element], testing.walks, own, others, 0).p)
    discoveries(p_values)
    seconds["tested"] = time.monotonic()
    times = {name: seconds[name] for name in ("described", "clustered", "detected", "tested")}
    took = dict(zip(times, np.diff([start, *times.values()]).tolist(), strict=True))
    whole = time.monotonic() - start - seconds["making"]
    return took | {"whole": whole, "elements": len(its), "pairs": len(nominations), "memory": most[0]}


def watch(most: list[int]) -> None:
    """Keep the highest anonymous memory of this process, in bytes."""
    while True:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                most[0] = max(most[0], int(line.split()[1]) * 1024)
        time.sleep(0.02)


@door
def main() -> int:
    """Study in another process, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peaks", type=int, default=100_000)
    parser.add_argument("--tested", type=int, default=10_000, help="pictures")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the section goes; RESULTS.md")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(study(asked.peaks, asked.tested)))
        return 0
    words = [sys.executable, __file__, "--child", "--peaks", str(asked.peaks), "--tested", str(asked.tested)]
    child = subprocess.run(words, check=True, capture_output=True, text=True)
    its = json.loads(child.stdout)
    parts = {name: f"{its[name]:.0f} s" for name in ("described", "clustered", "detected", "tested")}
    report(
        "study: many peaks",
        how=f"`python benchmarks/study_scale.py`: {asked.peaks:,} peaks of {CHANNELS} channels, "
        f"tested on {asked.tested:,} pictures.",
        ratios=[
            Ratio("minutes, without making activations", its["whole"] / 60, MINUTES, limit=True),
            Ratio("GB of anonymous memory", its["memory"] / 1e9, GIGABYTES, limit=True),
        ],
        figures={"elements": f"{its['elements']:.0f}", "pairs tested": f"{its['pairs']:.0f}", **parts},
        device="cpu",
        path=asked.results,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
