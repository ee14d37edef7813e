"""``citycam compare`` on a thousand run folders, and on the grid of eight: seconds, memory, size of the page.

The folders are made up, of the size that real ones have: 200 validation pictures in 40 walks, ten epochs, 25 explained
pictures with three methods. Each measured process is a new one, and says what its memory was at its highest (Linux).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from results import RESULTS, Ratio, report

CITIES = ("aravelle", "brindlewick", "corvessa", "dunmarrow", "elstrava", "galdermere", "hollowfen", "ivelstad")
PER_CITY, EPOCHS, EXPLAINED, METHODS = 25, 10, 25, ("cam", "gradcam", "smoothgradcampp")
TABLE = """
import sys
from pathlib import Path
from rich.console import Console
from citycam.report.compare import summary, write_comparison
from citycam.report.ranking import arrange
from citycam.sweep.runs import read_all
folder = Path(sys.argv[1])
found = arrange(read_all([folder]))
Console().print(summary(found))
write_comparison(folder, found)
"""
DOOR = """
import sys
from citycam.cli import main
assert main() == 0
"""
# Asked of the process itself: what its parent is told counts the parent's own memory before the two parted.
PEAK = """
from pathlib import Path
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 1024, file=sys.stderr)
"""


def main() -> None:
    """Make the folders, measure, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="folders; 1000")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the section goes; RESULTS.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="citycam-bench-") as name:
        many, grid = Path(name) / "many", Path(name) / "grid"
        for folder, count in ((many, asked.runs), (grid, 8)):
            for number in range(count):
                make_run(folder, number)
        table_seconds, table_memory = measure(TABLE, str(many))
        door_seconds, door_memory = measure(DOOR, "compare", str(many))
        grid_seconds, _ = measure(DOOR, "compare", str(grid))
        begun = time.perf_counter()
        subprocess.run([Path(sys.executable).with_name("citycam"), "--help"], stdout=subprocess.DEVNULL, check=True)
        help_seconds = time.perf_counter() - begun
        pages = {folder: (folder / "comparison.html").stat().st_size / 1e6 for folder in (many, grid)}
    report(
        "compare",
        how=f"`python benchmarks/compare.py` on {asked.runs:,} made-up run folders, and on 8.",
        ratios=[
            Ratio("seconds for table and CSV", table_seconds, 5, limit=True),
            Ratio("MB of memory for table and CSV", table_memory, 500, limit=True),
            Ratio("MB of memory with figures and page", door_memory, 500, limit=True),
            Ratio("MB of the page", pages[many], 5, limit=True),
            Ratio("seconds for the grid of eight, figures and page included", grid_seconds, 10, limit=True),
            Ratio("seconds for citycam --help", help_seconds, 0.5, limit=True),
        ],
        figures={
            "with figures and page": f"{door_seconds:.1f} s",
            "the page of the grid of eight": f"{pages[grid]:.2f} MB",
        },
        device="cpu",
        path=asked.results,
    )


def measure(code: str, *arguments: str) -> tuple[float, float]:
    """Seconds, and MB of memory at its highest, of Python code in a process of its own."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", code + PEAK, *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - begun, float(done.stderr.split()[-1])


def make_run(sweep: Path, number: int) -> None:
    """One run of a sweep over optimizer, learning rate, partition and seed."""
    rng = np.random.default_rng(number)
    multi, skill = number % 2 == 0, float(rng.uniform(0.6, 0.95))
    classes = CITIES if multi else ("rest", CITIES[1])
    folder = sweep / f"run{number:04d}"
    (folder / "explain").mkdir(parents=True)
    (folder / "thumbs").mkdir()
    pictures = [(f"{city}/walk{k // 5:02d}/{k:02d}.png", city, k // 5) for city in CITIES for k in range(PER_CITY)]
    labels = np.array([CITIES.index(city) if multi else int(city == CITIES[1]) for _, city, _ in pictures])
    right = rng.random(len(labels)) < skill
    answers = np.where(right, labels, (labels + 1) % len(classes))
    shares = rng.dirichlet(np.ones(len(classes)), len(labels))
    rows = zip(pictures, labels.tolist(), answers.tolist(), shares.tolist(), strict=True)
    header = ["path", "city", "label", "predicted", *(f"p_{name}" for name in classes)]
    table = [[path, city, classes[label], classes[answer], *share] for (path, city, _), label, answer, share in rows]
    write(folder / "predictions.csv", header, table)
    parts = [[path, f"{k:032x}", city, f"{city}/walk{walk}", "val"] for k, (path, city, walk) in enumerate(pictures)]
    write(folder / "split.csv", ["path", "digest", "city", "group", "part"], parts)
    columns = [f"{part}_{measure}" for part in ("train", "val") for measure in ("loss", "accuracy")]
    epochs = [[epoch + 1, *rng.random(len(columns)).tolist()] for epoch in range(EPOCHS)]
    write(folder / "metrics.csv", ["epoch", *columns], epochs)
    (folder / "run.json").write_text(json.dumps(record(number, classes, float(right.mean()), multi)))
    make_maps(folder, pictures, rng)


def record(number: int, classes: tuple[str, ...], accuracy: float, multi: bool) -> dict[str, Any]:
    """run.json of a completed run."""
    rate = 10.0 ** -(1 + number // 2 % 5)
    overrides = [f"optimizer={('adam', 'sgd')[number // 10 % 2]}", f"optimizer.lr={rate:g}"]
    overrides += [f"partition={'multi' if multi else 'binary'}", f"epochs={EPOCHS}", f"seed={number // 20}"]
    final = {
        "val_accuracy": accuracy,
        "val_balanced_accuracy": accuracy,
        "n_val": PER_CITY * len(CITIES),
        "majority_accuracy": 0.125 if multi else 0.875,
        "val_accuracy_interval": [accuracy - 0.05, min(1.0, accuracy + 0.05)],
        "val_balanced_accuracy_interval": [accuracy - 0.05, min(1.0, accuracy + 0.05)],
        "chance": 1 / len(classes),
    }
    return {
        "schema": 1,
        "status": "completed",
        "error": None,
        "overrides": overrides,
        "command": f"python train.py {' '.join(overrides)}",
        "seconds": {"train": 10.0, "total": 12.0},
        "final": final,
        "best": {"epoch": EPOCHS, **final},
        "warnings": [],
        "data": {"kind": "toytown", "digest": "made up", "counts": {"val": dict.fromkeys(CITIES, PER_CITY)}},
        "split": {"kind": "group", "leaky": False},
        "backbone": {"name": "resnet50", "weights": {"origin": "file", "digest": "made up"}},
        "classes": classes,
        "seed": number // 20,
    }


def make_maps(folder: Path, pictures: list[tuple[str, str, int]], rng: np.random.Generator) -> None:
    """maps.npz and thumbnails of the explained pictures."""
    chosen = [(k, path) for k, (path, city, _) in enumerate(pictures) if city == CITIES[1]][:EXPLAINED]
    told: dict[str, Any] = {
        "names": [path for _, path in chosen],
        "digests": [f"{k:032x}" for k, _ in chosen],
        "cities": [CITIES[1]] * len(chosen),
        "predicted": [CITIES[1]] * len(chosen),
        "probability": [0.9] * len(chosen),
        "correct": [True] * len(chosen),
        "targets": [CITIES[1]] * len(chosen),
    }
    for method in METHODS:
        raw = rng.random((len(chosen), 8, 8), dtype=np.float32)
        told |= {method: raw, f"{method}_max": raw.max(axis=(1, 2)), f"{method}_blank": np.zeros(len(chosen), bool)}
    np.savez(folder / "explain" / "maps.npz", **{key: np.array(value) for key, value in told.items()})
    for k, _ in chosen:
        content = io.BytesIO()
        pixels = np.random.default_rng(k).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(content, "JPEG", quality=80)
        (folder / "thumbs" / f"{k:032x}.jpg").write_bytes(content.getvalue())


def write(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    """A table, without making sure of the disk as results do."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


if __name__ == "__main__":
    main()
