"""What the benchmarks share: their options, pictures to run on, random weights, a cache of their own, and a clock."""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from results import RESULTS
from torch import Tensor, nn
from torch.nn import functional as F

from citycam.bank.extract import TORCH_FORMATS
from citycam.bank.frozen import FrozenBody
from citycam.config import BackboneConfig, Precision
from citycam.data.inputs import PlannedRun, load_inputs
from citycam.data.pictures import decode
from citycam.data.views import normalise, render
from citycam.errors import CitycamError
from citycam.jobs.resolve import resolve
from citycam.model.backbone import make_backbone
from citycam.model.optimizers import make_optimizer
from citycam.model.weights import save_weights
from citycam.resolved import Arithmetic, Resolved
from citycam.sweep.gate import read_request
from citycam.train.run import fit, make_datamodule, make_module, make_network
from citycam.train.trainer import make_trainer

ROOT = Path(__file__).resolve().parent.parent
TOWNS, SIDES = 7, (275, 183)


def options(doc: str | None) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="pictures, a folder per city; without it some are painted")
    parser.add_argument("--target", help="the city of data.target; the first by name where it is not given")
    parser.add_argument("--pictures", type=int, help="at most so many of each city")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the section goes; RESULTS.md")
    return parser


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder, and in it an empty cache for this process and those that it starts."""
    with tempfile.TemporaryDirectory(prefix="citycam-bench-", ignore_cleanup_errors=True) as name:
        fresh_cache(Path(name))
        yield Path(name)


def fresh_cache(folder: Path) -> None:
    """From now on, keep things in an empty cache below ``folder``."""
    os.environ["CITYCAM_CACHE"] = tempfile.mkdtemp(prefix="cache-", dir=folder)


def pictures_of(asked: argparse.Namespace, folder: Path, *, count: int, whole: bool = False) -> list[str]:
    """Overrides for the pictures that were asked for, painted into ``folder`` where none were given.

    Of each city ``--pictures`` are taken, else ``count``; all of a given folder where ``whole`` is set.

    Raises:
        CitycamError: there are no cities below the folder.
    """
    root = asked.folder.resolve() if asked.folder is not None else paint(folder / "towns", asked.pictures or count)
    cities = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not cities:
        raise CitycamError(f"{root} holds no folders of pictures, one per city; give another folder, or none.")
    overrides = ["data=folder", f"data.root='{root}'", f"data.target='{asked.target or cities[0]}'"]
    if asked.pictures or not whole:
        overrides.append(f"data.limit={asked.pictures or count}")
    return overrides


def paint(root: Path, count: int, sides: tuple[int, int] = SIDES) -> Path:
    """Seven towns of ``count`` JPEGs, as large and as costly to decode as small photographs."""
    for town in range(TOWNS):
        rng = np.random.default_rng(town)
        (root / f"town{town}").mkdir(parents=True)
        for number in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (18, 27, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize(sides, Image.Resampling.BICUBIC), dtype=np.int16)
            grain = rng.integers(-12, 13, smooth.shape, dtype=np.int16)
            picture = Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
            picture.save(root / f"town{town}" / f"{number:05d}.jpg", quality=85)
    return root


def random_weights(folder: Path) -> Path:
    """A weights file of a ResNet50 with random values, the same ones every time."""
    path = folder / "resnet50.safetensors"
    save_weights(make_backbone(BackboneConfig(name="resnet50", strides=[32, 16, 8]), 64, 0), path)
    return path


def settle(*overrides: str) -> PlannedRun:
    """What ``python train.py OVERRIDES`` would run with."""
    request = read_request([*overrides, "sweep.name=bench"])
    assert request is not None
    config = request.jobs[0].config
    inputs = load_inputs(config)
    return PlannedRun(config, inputs, resolve(config, inputs, print))


def views_in_memory(setting: PlannedRun, rows: np.ndarray, *, training: bool) -> Tensor:
    """First views of catalog rows, normalised float32 (B, 3, S, S), in the run's memory format and on its device."""
    spec = setting.inputs.train_spec if training else setting.inputs.val_spec
    catalog = setting.inputs.catalog
    chosen = [catalog.pictures[row] for row in rows.tolist()]
    views = np.stack([render(decode(catalog.path(picture)), spec, 0, picture.digest) for picture in chosen])
    backbone = FrozenBody(setting).backbone
    made = normalise(torch.from_numpy(views), backbone.mean, backbone.std)
    return made.to(setting.resolved.device, memory_format=TORCH_FORMATS[setting.resolved.memory_format])


def bare_forward(network: nn.Module, arithmetic: Arithmetic) -> Callable[[Tensor], Tensor]:
    """The plain network in an arithmetic: nothing folded, nothing prepared."""
    copied = copy.deepcopy(network).to(memory_format=TORCH_FORMATS[arithmetic.memory_format])
    bf16 = arithmetic.precision is Precision.bf16

    @torch.inference_mode()
    def forward(pictures: Tensor) -> Tensor:
        with torch.autocast(pictures.device.type, dtype=torch.bfloat16, enabled=bf16):
            values: Tensor = copied(pictures)
        return values

    return forward


def words(resolved: Resolved) -> str:
    """How the network computes."""
    return f"{resolved.precision} in {resolved.memory_format}, backbone batch {resolved.batch}"


def now(device: str) -> float:
    """The clock in seconds, read when the device has done all it was given."""
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter()


def seconds(work: Callable[[], object], device: str) -> float:
    """What ``work`` takes."""
    begun = now(device)
    work()
    return now(device) - begun


class BareLoop:
    """Training as short as PyTorch allows: batches are rows of tensors in the device's memory. A call is an epoch.

    Args:
        network: from rows of ``inputs`` to logits.
        inputs, labels: all that is learnt from, in memory.
        setting: names optimizer, batch size, device and precision.
    """

    def __init__(self, network: nn.Module, inputs: Tensor, labels: Tensor, setting: PlannedRun) -> None:
        self._device = setting.resolved.device
        self._network = network.to(self._device).train()
        self._inputs, self._labels = inputs.to(self._device), labels.to(self._device)
        weights = setting.inputs.weights
        self._weights = None if weights is None else torch.from_numpy(weights).to(self._device)
        self._optimizer = make_optimizer(setting.config.optimizer, network.parameters())
        self._batch = setting.config.batch_size
        self._bf16 = setting.resolved.precision == "bf16" and not setting.resolved.frozen

    def __call__(self) -> float:
        """Train for an epoch, and say how many seconds it took."""
        return seconds(self._epoch, self._device)

    def _epoch(self) -> None:
        for rows in torch.randperm(len(self._inputs), device=self._device).split(self._batch):
            with torch.autocast(torch.device(self._device).type, dtype=torch.bfloat16, enabled=self._bf16):
                logits = self._network(self._inputs[rows])
                loss = F.cross_entropy(logits.float(), self._labels[rows], self._weights)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()


class Alternating(pl.Callback):
    """Seconds of the framework's epochs (training, not validation), each followed by one of the bare loop.

    The first epoch of both is not kept: it fills caches and chooses kernels.
    """

    def __init__(self, bare: BareLoop, device: str) -> None:
        self.ours: list[float] = []
        self.bare: list[float] = []
        self._loop, self._device = bare, device
        self._begun = 0.0

    def on_train_epoch_start(self, *_: object) -> None:
        """Ours begins."""
        self._begun = now(self._device)

    def on_validation_start(self, trainer: pl.Trainer, _module: pl.LightningModule) -> None:
        """Ours has trained."""
        if trainer.current_epoch > 0:
            self.ours.append(now(self._device) - self._begun)

    def on_train_epoch_end(self, trainer: pl.Trainer, _module: pl.LightningModule) -> None:
        """The other side's turn."""
        took = self._loop()
        if trainer.current_epoch > 0:
            self.bare.append(took)


def train_beside(setting: PlannedRun, bare: BareLoop, folder: Path) -> Alternating:
    """Train as train.py does, epoch by epoch in turn with a bare loop."""
    clock = Alternating(bare, setting.resolved.device)
    network = make_network(setting)
    module = make_module(setting, folder, network)
    datamodule = make_datamodule(setting, network)
    fit(make_trainer(setting.config, folder, setting.resolved, [clock]), module, datamodule)
    return clock
