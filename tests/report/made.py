"""Made-up run folders with predictions, for the tests of comparisons; small, in the layout of real ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from citycam import files

CLASSES = ("arden", "brill")


def make_run(
    folder: Path,
    right: Sequence[int],
    *,
    overrides: Sequence[str] = ("optimizer=adam",),
    seed: int = 0,
    groups: Sequence[str] | None = None,
    digest: str = "d0",
    classes: Sequence[str] = CLASSES,
    **changes: Any,
) -> Path:
    """Write a completed run.

    Args:
        right: 1 or 0 per validation picture, whether the prediction is correct.
        groups: of each picture.
        changes: of run.json.
    """
    accuracy = sum(right) / len(right)
    pictures = [f"{CLASSES[k % 2]}/{k:03d}.png" for k in range(len(right))]
    files.write_csv(
        folder / "predictions.csv",
        ["path", "city", "label", "predicted"],
        [[path, CLASSES[k % 2], CLASSES[k % 2], CLASSES[(k + 1 - right[k]) % 2]] for k, path in enumerate(pictures)],
    )
    rows = [[path, f"{k:032x}", CLASSES[k % 2], groups and groups[k], "val"] for k, path in enumerate(pictures)]
    files.write_csv(folder / "split.csv", ["path", "digest", "city", "group", "part"], rows)
    header = ["epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy"]
    files.write_csv(folder / "metrics.csv", header, [[1, 0.7, 0.6, 0.5, 0.6], [2, 0.5, 0.4, 0.8, accuracy]])
    record = {
        "schema": 1,
        "status": "completed",
        "error": None,
        "pid": 1,
        "host": "elsewhere",
        "overrides": list(overrides),
        "command": f"python train.py {' '.join(overrides)}",
        "seconds": {"total": 3.0},
        "final": _final(accuracy, len(right)),
        "best": {},
        "warnings": [],
        "data": {"kind": "folder", "digest": digest, "counts": {"val": {"arden": 20, "brill": 20}}},
        "split": {"kind": "group", "leaky": False},
        "backbone": {"name": "resnet50", "weights": {"origin": "file", "digest": "w"}},
        "classes": list(classes),
        "seed": seed,
    }
    files.write_json(folder / "run.json", record | changes)
    return folder


def _final(accuracy: float, number: int) -> dict[str, float | list[float]]:
    interval = [max(0.0, accuracy - 0.1), min(1.0, accuracy + 0.1)]
    return {
        "val_accuracy": accuracy,
        "val_balanced_accuracy": accuracy,
        "n_val": number,
        "majority_accuracy": 0.5,
        "val_accuracy_interval": interval,
        "val_balanced_accuracy_interval": interval,
        "chance": 0.5,
    }


def answers(number: int, wrong: int, start: int = 0) -> list[int]:
    """Return 1 for ``number`` correct predictions, except 0 for ``wrong`` in a row from index ``start``."""
    return [0 if start <= index < start + wrong else 1 for index in range(number)]
