"""Made-up run folders with maps and thumbnails, for the tests of comparison.html."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from citycam.cells import CellGrid
from citycam.files import write_bytes, write_csv, write_json, write_whole

CITIES = ("arden", "brill")


def digest(number: int) -> str:
    """Return the digest of a made-up picture."""
    return f"{number:032x}"


def make_run(
    folder: Path,
    *,
    overrides: tuple[str, ...] = (),
    accuracy: float = 0.8,
    epochs: int = 5,
    pictures: int = 12,
    size: tuple[int, int] = (8, 8),
    methods: tuple[str, ...] = ("cam", "gradcam", "smoothgradcampp"),
    cities: tuple[str, ...] = CITIES,
    **changes: Any,
) -> Path:
    """Write a run folder with record, curves, predictions, thumbnails and maps (none if ``pictures`` is 0)."""
    record = {
        "schema": 1,
        "status": "completed",
        "error": None,
        "pid": 1,
        "host": "elsewhere",
        "overrides": [*overrides, "sweep.name=s"],
        "command": "python train.py",
        "split": {"kind": "group", "leaky": False},
        "seconds": {"total": 3.0},
        "final": {
            "val_accuracy": accuracy,
            "val_loss": 1 - accuracy,
            "val_balanced_accuracy": accuracy,
            "majority_accuracy": 0.5,
            "chance": 0.5,
            "n_val": 200,
            "val_accuracy_interval": [accuracy - 0.05, accuracy + 0.05],
            "val_balanced_accuracy_interval": [accuracy - 0.06, accuracy + 0.06],
        },
        "best": {},
        "warnings": [],
    }
    write_json(folder / "run.json", record | changes)
    header = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"]
    write_csv(
        folder / "metrics.csv", header, ([e, 1 / e, 1 - 0.5 / e, 1.2 / e, 0.9 - 0.5 / e] for e in range(1, epochs + 1))
    )
    if pictures:
        _write_pictures(folder, pictures, cities)
        write_maps(folder, pictures, size, methods, cities)
    return folder


def write_maps(
    folder: Path, pictures: int, size: tuple[int, int], methods: tuple[str, ...], cities: tuple[str, ...]
) -> None:
    """Write explain/maps.npz; picture 1 is predicted wrongly, and the first method's map of picture 2 is blank."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "names": np.array([f"{cities[0]}/{index}.jpg" for index in range(pictures)]),
        "digests": np.array([digest(index) for index in range(pictures)]),
        "cities": np.array([cities[0]] * pictures),
        "predicted": np.array([cities[index == 1] for index in range(pictures)]),
        "probability": np.linspace(0.5, 1, pictures),
        "correct": np.arange(pictures) != 1,
        "targets": np.array([cities[0]] * pictures),
    }
    cells = CellGrid.regular(*size, stride=8, centre=0.5, side=8 * max(size))
    arrays |= {"cell_rows": np.array(cells.rows), "cell_columns": np.array(cells.columns)}
    for number, method in enumerate(methods):
        raw = rng.normal(0, 2, (pictures, *size)).astype(np.float32)
        blank = np.zeros(pictures, dtype=bool)
        if number == 0:
            raw[2], blank[2] = -1, True
        arrays |= {method: raw, f"{method}_max": raw.max(axis=(1, 2)), f"{method}_blank": blank}
    write_whole(folder / "explain" / "maps.npz", lambda file: np.savez(file, **arrays))


def _write_pictures(folder: Path, pictures: int, cities: tuple[str, ...]) -> None:
    for index in range(pictures):
        rng = np.random.default_rng(index)
        image = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((96, 72))
        content = io.BytesIO()
        image.save(content, "JPEG", quality=80)
        write_bytes(folder / "thumbs" / f"{digest(index)}.jpg", content.getvalue())
    rows = []
    for number, city in enumerate(cities):
        own = [digest(index) for index in range(pictures) if index % len(cities) == number]
        rows += [[name, f"{city}/{name}", "typical", city, 0.9] for name in own[:6]]
        rows += [[name, f"{city}/{name}", "untypical", city, 0.1] for name in own[::-1][:6]]
    rows.append([digest(1), f"{cities[0]}/x", "confused", f"{cities[0]} as {cities[1]}", 0.02])
    write_csv(folder / "thumbs" / "index.csv", ["digest", "picture", "kind", "class", "own_probability"], rows)
    answers = [[f"{cities[0]}/x", cities[0], cities[0], cities[1]]]
    write_csv(folder / "predictions.csv", ["path", "city", "label", "predicted"], answers)
