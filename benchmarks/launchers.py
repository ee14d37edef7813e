"""The grid of eight with a filled bank: two jobs at a time by the joblib launcher, and one after the other.

    python benchmarks/launchers.py FOLDER

Both from process start to end, in turn, each pair one ratio. Then what another number of threads changes in the numbers
of the grid, and of a grid that fine-tunes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, options, pictures_of, random_weights, scratch
from results import Ratio, cores, report

from citycam.doors import door
from citycam.errors import CitycamError
from citycam.files import read_csv
from citycam.sweep.record import read_record

GRID = ("optimizer=sgd,adam", "epochs=5,10", "partition=binary,multi", "explain=none")
TUNED = ("optimizer=sgd,adam", "epochs=2", "partition=multi", "explain=none", "backbone=resnet18", "precision=fp32")
FEW = ("data.limit=40", "backbone.weights=random")
GOAL, PAINTED = 1.3, 365


@door
def main() -> int:
    """Measure and report."""
    parser = options(__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="sweeps of each kind; 3")
    asked = parser.parse_args()
    with scratch() as folder:
        pictures = pictures_of(asked, folder, count=PAINTED, whole=True)
        overrides = [*GRID, *pictures, f"backbone.weights='{random_weights(folder)}'"]
        sweep(folder, "fill", overrides)
        taken: dict[int, list[float]] = {1: [], 2: []}
        for number in range(asked.pairs):
            for jobs in (1, 2) if number % 2 else (2, 1):
                taken[jobs].append(sweep(folder, f"{number}-{jobs}", [*overrides, *at_once(jobs)]))
        sweep(folder, "one-thread", [*overrides, "threads=1"])
        results = folder / "multirun"
        equal = equality(results / "one-thread", results / "0-2")
        for threads in (1, 2):
            sweep(folder, f"tuned-{threads}", [*TUNED, *pictures, *FEW, f"threads={threads}"])
        changes = {
            "the grid, frozen": change(results / "0-2", results / "0-1"),
            "fine-tuned": change(results / "tuned-1", results / "tuned-2"),
        }
        phases = {jobs: parts(results / f"0-{jobs}") for jobs in taken}
    say(asked.results, taken, equal, changes, phases, asked.folder)
    return 0


def say(
    results: Path,
    taken: dict[int, list[float]],
    equal: str,
    changes: dict[str, str],
    phases: dict[int, str],
    pictures: Path | None,
) -> None:
    """Ratios, seconds, and what threads change."""
    ratio = statistics.median(one / two for one, two in zip(taken[1], taken[2], strict=True))
    words = {jobs: ", ".join(f"{one:.1f}" for one in every) + " s" for jobs, every in taken.items()}
    name = pictures.resolve().name if pictures else "painted towns"
    report(
        f"launchers: {name}",
        how=f"`python benchmarks/launchers.py` on {name}: eight runs, ResNet50's features kept, {cores()} cores.",
        ratios=[Ratio("one job after the other / two at a time by joblib", ratio, GOAL)],
        figures={
            "one after the other, two threads": f"{words[1]}; in its runs: {phases[1]}",
            "two at a time, a thread each": f"{words[2]}; in its runs: {phases[2]}",
            "with a thread each, tables equal byte for byte": equal,
            **{f"two threads instead of one: {what}": change for what, change in changes.items()},
        },
        device="cpu",
        path=results,
    )


def at_once(jobs: int) -> list[str]:
    """Overrides for so many jobs at a time."""
    return [] if jobs == 1 else ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"]


def sweep(folder: Path, name: str, overrides: Sequence[str]) -> float:
    """Seconds of a sweep as a person starts it."""
    command = [sys.executable, str(ROOT / "train.py"), "-m", *overrides, f"sweep.name={name}"]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    took = time.perf_counter() - begun
    if done.returncode:
        raise CitycamError(f"The sweep ended with code {done.returncode}: {done.stderr.strip()[-800:]}", exit_code=1)
    print(f"{name}: {took:.1f} s", file=sys.stderr, flush=True)
    return took


def equality(one: Path, other: Path) -> str:
    """Whether the tables of two sweeps are equal, in words. ``precision=auto`` is measured for each number of threads,
    and its answer may be another one."""
    if tables(one) == tables(other):
        return "yes"
    ways = [arithmetic(sweep) for sweep in (one, other)]
    return "no" if ways[0] == ways[1] else f"no: precision=auto was {ways[0]} for threads=1 and {ways[1]} for all cores"


def arithmetic(results: Path) -> str:
    """How the runs of a sweep computed."""
    records = [read_record(path.parent) for path in results.glob("*/run.json")]
    return " and ".join(sorted({f"{its.precision} in {its.memory_format}" for its in records if its is not None}))


def tables(results: Path) -> list[bytes]:
    """Numbers of every run, in the order of their names up to the hash."""
    runs = sorted(path.parent for path in results.glob("*/run.json"))
    return [(run / name).read_bytes() for run in runs for name in ("metrics.csv", "predictions.csv")]


def change(one: Path, other: Path) -> str:
    """What differs between the runs of two sweeps."""
    pairs = list(
        zip(*(sorted(path.parent for path in sweep.glob("*/run.json")) for sweep in (one, other)), strict=True)
    )
    losses = [[float(read_csv(run / "metrics.csv")[-1]["val_loss"]) for run in pair] for pair in pairs]
    answers = [[[row["predicted"] for row in read_csv(run / "predictions.csv")] for run in pair] for pair in pairs]
    other_answers = sum(a != b for first, second in answers for a, b in zip(first, second, strict=True))
    total = sum(len(first) for first, _ in answers)
    relative = max(abs(a - b) / a for a, b in losses)
    return f"validation loss by at most {relative:.1e} of itself; {other_answers} of {total:,} predictions"


def parts(results: Path) -> str:
    """Seconds by phase, summed over the runs of a sweep."""
    phases: dict[str, float] = {}
    for path in results.glob("*/run.json"):
        record = read_record(path.parent)
        for phase, took in record.seconds.items() if record is not None else ():
            phases[phase] = phases.get(phase, 0.0) + took
    return ", ".join(f"{phase} {took:.1f}" for phase, took in phases.items() if took >= 0.05)


if __name__ == "__main__":
    sys.exit(main())
