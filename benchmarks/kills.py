"""A sweep killed (-9) at random moments and gone on with, held against one that was left alone.

    python benchmarks/kills.py --times 20

Each time everything is new: cache, body, bank, runs. The sweep is killed while it teaches its body, fills its bank,
trains, draws or compares, wherever chance has it; every third time it runs under the joblib launcher and is killed with
its workers, every third time only its first process is. `sweep.resume` then finishes it, and tables, weights and maps
of every run must equal those of the sweep that was left alone: tables byte for byte, arrays value for value.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import ROOT, options, pictures_of, scratch
from results import Ratio, report

from citycam.doors import door
from citycam.errors import CitycamError
from citycam.sweep.record import read_record

SWEEP = ("optimizer=sgd,adam", "epochs=4,6", "threads=1", "precision=fp32", "image_size=64", "backbone=resnet18")
SMALL = ("backbone.lesson=400", "explain.pictures=4")
TABLES = ("metrics.csv", "predictions.csv", "confusion.csv", "per_class.csv", "split.csv", "explain_sample.csv")
WAYS = ("basic", "joblib", "joblib, its first process alone")
PICTURES = 24


@dataclass(frozen=True)
class Place:
    """Where one sweep lives: its working folder, cache and temporary folder."""

    folder: Path

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """``python train.py -m WORDS`` in a process group of its own; what it says goes to a file."""
        environment = os.environ | {
            "CITYCAM_CACHE": str(self.folder / "cache"),
            "TMPDIR": str(self.folder / "tmp"),
            "JOBLIB_TEMP_FOLDER": str(self.folder / "tmp"),
        }
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        with (self.folder / "said.log").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, str(ROOT / "train.py"), "-m", *words],
                cwd=self.folder,
                env=environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """All that was said so far."""
        path = self.folder / "said.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def sweep(self) -> Path:
        """The sweep's folder."""
        return self.folder / "multirun" / "s"

    def phase(self) -> str:
        """What the sweep is doing now, as its files tell it."""
        if not list((self.folder / "cache" / "bodies").glob("*.safetensors")):
            return "the body's lesson"
        records = [record for path in self.sweep.glob("*/run.json") if (record := read_record(path.parent))]
        if not records:
            return "the bank"
        if any(record.status != "completed" for record in records):
            return "a run"
        return "between runs" if len(records) < 4 else "the comparison"


@door
def main() -> int:
    """Kill, go on, compare, report."""
    parser = options(__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills; 20")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; 0")
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    with scratch() as folder:
        words = [*SWEEP, *SMALL, *pictures_of(asked, folder, count=PICTURES), "sweep.name=s"]
        calm = Place(folder / "calm")
        begun, took = undisturbed(calm, words)
        phases: Counter[str] = Counter()
        wrong: list[str] = []
        equal = 0
        for number in range(asked.times):
            place = Place(folder / f"{number}")
            way = WAYS[number % len(WAYS)]
            phase = killed(place, calm, words, way, chance, begun, took)
            differs = went_on(place, calm, words)
            phases[f"{phase} ({way})"] += 1
            wrong += [f"{phase} ({way}): {reason}" for reason in differs]
            equal += not differs
            said = "; ".join(differs) or "equal"
            print(f"{number + 1}: killed in {phase} ({way}): {said}", file=sys.stderr, flush=True)
            shutil.rmtree(place.folder)
    report(
        "kills",
        how=f"`python benchmarks/kills.py --times {asked.times} --seed {asked.seed}`: a sweep of four runs with its "
        f"own body (resnet18), bank and maps, {took:.0f} s when left alone.",
        ratios=[Ratio("equal after going on / kills", equal / asked.times, 1.0)],
        figures={f"killed in {phase}": str(count) for phase, count in sorted(phases.items())},
        notes=wrong,
        device="cpu",
        path=asked.results,
    )
    return 1 if wrong else 0


def undisturbed(place: Place, words: list[str]) -> tuple[float, float]:
    """Run the sweep to its end; seconds until its first word, and until its end."""
    began, first = time.perf_counter(), 0.0
    process = place.start(*words)
    while process.poll() is None:
        if not first and "citycam:" in place.said:
            first = time.perf_counter() - began
        time.sleep(0.05)
    if process.returncode:
        raise CitycamError(f"The sweep that was left alone ended with code {process.returncode}: {place.said[-800:]}")
    return first, time.perf_counter() - began


def killed(
    place: Place, calm: Place, words: list[str], way: str, chance: random.Random, begun: float, took: float
) -> str:
    """Start the sweep and kill it at a random moment of its work, again where it was done before; gives the phase."""
    # Which arithmetic is fastest is measured once on a machine; another answer would be another configuration.
    shutil.copytree(calm.folder / "cache" / "arithmetic", place.folder / "cache" / "arithmetic")
    more = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"] if way != WAYS[0] else []
    process = place.start(*words, *more)
    moment = chance.uniform(begun, took)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        phase = place.phase()
        if way == WAYS[2]:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return phase
    shutil.rmtree(place.folder)  # a busy machine is slower or faster than it was; this time it was done
    return killed(place, calm, words, way, chance, begun, took)


def went_on(place: Place, calm: Place, words: list[str]) -> list[str]:
    """Finish a killed sweep; in what it differs from the calm one then."""
    # Killed before its first file there is no sweep to go on with, and the same command begins it.
    begun = (place.sweep / "sweep.json").exists()
    process = place.start(*(["sweep.resume=multirun/s"] if begun else words))
    process.wait()
    if process.returncode:
        return [f"going on ended with code {process.returncode}: {place.said[-400:]}"]
    return differences(place, calm)


def differences(place: Place, calm: Place) -> list[str]:
    """What of a finished sweep is not as in the calm one."""
    runs = {path.parent.name for path in calm.sweep.glob("*/run.json")}
    faults = []
    for name in sorted(runs):
        one, other = place.sweep / name, calm.sweep / name
        if (record := read_record(one)) is None or record.status != "completed":
            faults.append(f"{name} is not completed")
            continue
        faults += [f"{name}/{table}" for table in TABLES if (one / table).read_bytes() != (other / table).read_bytes()]
        faults += [f"{name}/{ckpt}" for ckpt in ("last.ckpt", "best.ckpt") if not same_weights(one, other, ckpt)]
        if not same_maps(one, other):
            faults.append(f"{name}/maps.npz")
    faults += [f"left behind: {path.name}" for path in place.folder.rglob("*.part")]
    # Python's own folder for the socket of joblib's processes, which a killed process cannot remove, is no result.
    left = [path.name for path in (place.folder / "tmp").iterdir() if not path.name.startswith("pymp-")]
    faults += [f"left in the temporary folder: {name}" for name in left]
    return faults


def same_weights(one: Path, other: Path, name: str) -> bool:
    """Whether two checkpoints hold equal tensors."""
    a, b = (torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"] for run in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def same_maps(one: Path, other: Path) -> bool:
    """Whether two runs' maps are equal."""
    with np.load(one / "explain" / "maps.npz") as a, np.load(other / "explain" / "maps.npz") as b:
        return set(a.files) == set(b.files) and all(np.array_equal(a[key], b[key]) for key in a.files)


if __name__ == "__main__":
    sys.exit(main())
