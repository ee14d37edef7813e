"""A bank of a million rows: what one epoch of one head takes in memory, and what reading takes against the disk.

    python benchmarks/scale.py

The rows are made up, the store, the reader, the loader and the module are citycam's own. Training runs in a process of
its own, whose anonymous memory is sampled: what is mapped from the store can be given back by the kernel at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from results import RESULTS, Ratio, report

from citycam import progress, words
from citycam.doors import door
from citycam.errors import CitycamError
from citycam.files import cache_root
from citycam.shards import ShardStore, view_keys

LIMIT = 3.0
BLOCK, FEATURES, CLASSES, CHUNK = 8192, 2048, 4, 16
KEY = {"cut": "scale"}


@door
def main() -> int:
    """Make the bank, read it in file order, train on it in another process, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=cache_root(), help="on the disk to be measured; the cache")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the section goes; RESULTS.md")
    parser.add_argument("--train-below", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.train_below is not None:
        print(json.dumps(train(asked.train_below, asked.rows, asked.batch)))
        return 0
    needed = int(asked.rows * FEATURES * 4 * 1.05)
    asked.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(asked.folder).free
    if needed > free:
        raise CitycamError(
            f"The bank of {asked.rows:,} rows needs {words.size(needed)} below {asked.folder}, where "
            f"{words.size(free)} are free; give fewer --rows or another --folder."
        )
    with tempfile.TemporaryDirectory(prefix="scale-", dir=asked.folder) as name:
        folder = Path(name)
        write(folder, asked.rows)
        disk = asked.rows / seconds_in_file_order(folder)
        forget(folder)
        command = [sys.executable, __file__, "--train-below", name, f"--rows={asked.rows}", f"--batch={asked.batch}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CitycamError("The process that trains failed; its own words stand above.", exit_code=1)
    tell(asked, disk, json.loads(done.stdout.splitlines()[-1]))
    return 0


def tell(asked: argparse.Namespace, disk: float, cost: dict[str, float]) -> None:
    """Print and keep what was measured."""
    rates = {name: asked.rows / cost[name] for name in ("open", "read", "train")}
    report(
        "scale",
        how=f"`python benchmarks/scale.py --rows {asked.rows} --batch {asked.batch}`: {asked.rows:,} rows of "
        f"{FEATURES} features, {words.size(asked.rows * FEATURES * 4)} on disk, one epoch of one head. Checksums "
        "are verified from the disk; shuffled reading then finds in memory what the kernel has kept.",
        ratios=[
            Ratio(f"anonymous memory / {LIMIT:g} GB", cost["memory"] / LIMIT, 1.0, True),
            Ratio("rows read in an epoch's order / in file order from the disk", rates["read"] / disk),
            Ratio("rows that training takes / in file order from the disk", rates["train"] / disk),
        ],
        figures={
            "anonymous memory, at most": f"{cost['memory']:.2f} GB, of which {cost['imports']:.2f} GB after imports",
            "the disk, in file order": f"{disk:,.0f} rows/s",
            "checksums and places, once a process": f"{cost['open']:.0f} s, {rates['open']:,.0f} rows/s",
            "reading alone, shuffled": f"{cost['read']:.0f} s, {rates['read']:,.0f} rows/s",
            "training, shuffled": f"{cost['train']:.0f} s, {rates['train']:,.0f} rows/s",
        },
        device="cpu",
        path=asked.results,
    )


def digests(rows: int) -> list[str]:
    """Digests of pictures that nobody took."""
    drawn = np.random.default_rng(0).integers(0, 256, (rows, 16), dtype=np.uint8)
    return [row.tobytes().hex() for row in drawn]


def write(folder: Path, rows: int) -> None:
    """Write the store; blocks of rows repeat, so that this takes little but writing."""
    store, keys = ShardStore(KEY, folder), view_keys(digests(rows), [0])
    block = np.random.default_rng(1).random((BLOCK, FEATURES), dtype=np.float32)
    with progress.bar("write", rows, unit="rows") as advance:
        for start in range(0, rows, BLOCK):
            some = keys[start : start + BLOCK]
            store.add(some, block[: len(some)])
            advance(len(some))


def seconds_in_file_order(folder: Path) -> float:
    """What reading every shard from the disk takes, one after the other."""
    forget(folder)
    buffer = bytearray(2**23)
    begun = time.perf_counter()
    for path in sorted(folder.glob("*/*.safetensors")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - begun


def forget(folder: Path) -> None:
    """Ask the kernel to drop what it keeps of the files in memory."""
    for path in folder.glob("*/*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Memory:
    """The most anonymous memory of this process so far, in GB, sampled by a thread."""

    def __init__(self) -> None:
        self.most = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def now(self) -> float:
        """Anonymous memory at this moment."""
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 2**20
        raise CitycamError("/proc/self/status has no RssAnon; this benchmark runs on Linux.", exit_code=1)

    def _watch(self) -> None:
        while True:
            self.most = max(self.most, self.now())
            time.sleep(0.05)


def train(folder: Path, rows: int, batch: int) -> dict[str, float]:
    """One epoch of one head, as a run with a frozen body trains it; seconds by phase, and GB of anonymous memory."""
    import pytorch_lightning as pl

    memory = Memory()
    module = make_module(rows, batch)
    cost = {"imports": memory.now()}
    begun = time.perf_counter()
    data = make_data(folder, rows, batch)
    cost["open"] = time.perf_counter() - begun
    begun = time.perf_counter()
    read = sum(len(indices) for _, _, indices, _ in data.train_dataloader())
    cost["read"] = time.perf_counter() - begun
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(module, data)
    assert read == rows
    return cost | {"train": module.epoch_seconds[0], "memory": memory.most}


def make_module(rows: int, batch: int) -> Any:
    """The module of a frozen ResNet50 and its head."""
    from citycam.config import AdamConfig, BackboneConfig, HeadConfig
    from citycam.model.backbone import make_backbone
    from citycam.model.head import make_head
    from citycam.model.module import CityModule
    from citycam.model.network import Network

    backbone = make_backbone(BackboneConfig(name="resnet50", strides=[32]), 64, 0)
    backbone.freeze("none")
    network = Network(backbone, make_head(HeadConfig(), FEATURES, CLASSES, 0))
    return CityModule(
        network,
        partition="multi",
        optimizer=AdamConfig(),
        class_weights=None,
        batch_size=batch,
        train_pictures=rows,
        names=[],
        seed=0,
        about={},
    )


def make_data(folder: Path, rows: int, batch: int) -> Any:
    """All rows to train on, a hundredth of them also to validate on."""
    from citycam.bank.dataset import FeatureReader
    from citycam.config import AugmentConfig
    from citycam.data.catalog import Catalog, Picture
    from citycam.data.datamodule import CityDataModule

    pictures = tuple(Picture(f"town/{n}.jpg", digest, "town") for n, digest in enumerate(digests(rows)))
    catalog, store = Catalog("folder", folder, pictures), ShardStore(KEY, folder)
    store.refresh()
    parts = np.arange(rows), np.arange(0, rows, 100)
    readers = [FeatureReader(store, catalog, part, AugmentConfig(views=1), training=True, epochs=1) for part in parts]
    return CityDataModule(
        train_reader=readers[0],
        val_reader=readers[1],
        train=parts[0],
        val=parts[1],
        labels=np.random.default_rng(2).integers(0, CLASSES, rows),
        batch=batch,
        chunk=CHUNK * batch,
        seed=0,
    )


if __name__ == "__main__":
    sys.exit(main())
