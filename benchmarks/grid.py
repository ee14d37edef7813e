"""The grid of eight, from process start to process end, against plain loops that look at every picture in every epoch.

    python benchmarks/grid.py [FOLDER --target NAME] [--name city7] [--pictures N]

Ours: `python train.py -m optimizer=sgd,adam epochs=5,10 partition=binary,multi` with a frozen ResNet50 at 64 px, with
an empty bank, with an empty bank and one view per picture (augment.views=1), and with the bank that the first one left.
Plain loops: frozen backbone under no_grad in eval mode, the head trained on its features, a DataLoader with a worker
per core that decodes every picture in every epoch; *as in the paper* (fp32, NCHW, batch 32) and *tuned* (precision,
memory format and backbone batch as ours had them). One epoch of each, training and validation, is measured before ours
(SGD) and one after (Adam); their mean times the grid's 60 epochs counts.
"""

from __future__ import annotations

import copy
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from common import (
    ROOT,
    fresh_cache,
    now,
    options,
    pictures_of,
    random_weights,
    scratch,
    seconds,
    settle,
    words,
)
from results import Ratio, cores, report
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from citycam.bank.extract import TORCH_FORMATS
from citycam.bank.frozen import FrozenBody
from citycam.config import AdamConfig, SgdConfig
from citycam.data.inputs import PlannedRun
from citycam.data.pictures import decode
from citycam.data.views import ViewSpec, normalise, render
from citycam.doors import door
from citycam.errors import CitycamError
from citycam.model.head import make_head
from citycam.model.optimizers import make_optimizer
from citycam.resolved import Resolved
from citycam.sweep.ledger import Ledger
from citycam.sweep.record import read_record

GRID = ("optimizer=sgd,adam", "epochs=5,10", "partition=binary,multi", "explain=none")
EPOCHS = 60  # of the grid's eight runs together
# Against the tuned loop: cold, cold with one view, warm; against the paper's: cold.
GOALS = {"city7": (5.5, 12.0, 16.0, 9.5), "intel": (6.0, 20.0, 30.0, 11.0)}
PAINTED = 365
WARM_BATCHES = 3


@dataclass(frozen=True)
class Sweep:
    """Where the seconds of one grid went. ``phases``: summed over its runs."""

    wall: float
    phases: dict[str, float]

    @property
    def rest(self) -> float:
        """Seconds outside the runs: imports, preparation with the bank, the table."""
        return self.wall - self.phases["total"]

    def words(self) -> str:
        """Wall time and its parts."""
        parts = [f"{name} {took:.1f}" for name, took in self.phases.items() if name != "total" and took >= 0.05]
        return f"{self.wall:.1f} s (runs: {', '.join(parts)}; outside the runs: {self.rest:.1f})"


@door
def main() -> int:
    """Measure and report."""
    parser = options(__doc__)
    parser.add_argument("--name", help="of the pictures in RESULTS.md; the folder's where it is not given")
    asked = parser.parse_args()
    name = asked.name or (asked.folder.resolve().name if asked.folder else "painted towns")
    if asked.pictures:
        name += f", {asked.pictures} pictures a city"
    with scratch() as folder:
        overrides = [
            *pictures_of(asked, folder, count=PAINTED, whole=True),
            f"backbone.weights='{random_weights(folder)}'",
        ]
        setting = settle(*overrides, "explain=none")
        loops = {"paper": PlainLoop(setting, tuned=False), "tuned": PlainLoop(setting, tuned=True)}
        epochs = {kind: [loop.measure("sgd")] for kind, loop in loops.items()}
        fresh_cache(folder)  # what was chosen for the loops is not known to ours
        cold, chosen = sweep(folder, "cold", overrides)
        if words(chosen) != words(setting.resolved):  # a measurement may fall out this way or that
            setting = replace(setting, resolved=chosen)
            loops["tuned"] = PlainLoop(setting, tuned=True)
            epochs["tuned"] = [loops["tuned"].measure("sgd")]
        warm, _ = sweep(folder, "warm", overrides)
        fresh_cache(folder)
        one_view, chosen = sweep(folder, "one-view", [*overrides, "augment.views=1"])
        for kind, loop in loops.items():
            epochs[kind].append(loop.measure("adam"))
    sides = {"cold": cold, "views=1": one_view, "warm": warm}
    notes = ["Painted pictures are no photographs: this section says nothing of the goals."] if not asked.folder else []
    if words(chosen) != words(setting.resolved):
        notes.append(f"With augment.views=1 the runs chose {words(chosen)}.")
    say(name, sides, epochs, setting, notes, asked.results)
    return 0


def say(
    name: str,
    sides: dict[str, Sweep],
    epochs: dict[str, list[float]],
    setting: PlannedRun,
    notes: list[str],
    results: Path,
) -> None:
    """Ratios, seconds, and where ours went."""
    tuned, paper = (EPOCHS * statistics.mean(epochs[kind]) for kind in ("tuned", "paper"))
    goals = GOALS.get(name, (None,) * 4)
    cold, one_view, warm = (sides[kind] for kind in ("cold", "views=1", "warm"))
    train, val = len(setting.inputs.train), len(setting.inputs.val)
    views, bank = 10 * train + val, cold.rest - warm.rest
    report(
        f"grid: {name}",
        how=f"`python benchmarks/grid.py` on {name}: {train + val:,} pictures, {words(setting.resolved)}.",
        ratios=[
            Ratio("tuned loop / cold bank, a fresh view per epoch", tuned / cold.wall, goals[0]),
            Ratio("tuned loop / cold bank, augment.views=1", tuned / one_view.wall, goals[1]),
            Ratio("tuned loop / warm bank", tuned / warm.wall, goals[2]),
            Ratio("the paper's loop / cold bank, a fresh view per epoch", paper / cold.wall, goals[3]),
        ],
        figures={
            "tuned loop": _loop_words(tuned, epochs["tuned"]),
            "the paper's loop": _loop_words(paper, epochs["paper"]),
            "ours, cold": cold.words(),
            "ours, views=1": one_view.words(),
            "ours, warm": warm.words(),
            "the cold bank (cold less warm, outside the runs)": f"{bank:.1f} s, {views / bank:,.0f} views/s",
        },
        notes=notes,
        device=setting.resolved.device,
        path=results,
    )


def _loop_words(total: float, epochs: list[float]) -> str:
    return f"{total:,.0f} s ({EPOCHS} epochs of {' and '.join(f'{one:.2f}' for one in epochs)} s)"


def sweep(folder: Path, name: str, overrides: Sequence[str]) -> tuple[Sweep, Resolved]:
    """One grid as a person starts it, and how it chose to compute."""
    command = [sys.executable, str(ROOT / "train.py"), "-m", *GRID, *overrides, f"sweep.name={name}"]
    begun = now("cpu")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    wall = now("cpu") - begun
    if done.returncode:
        raise CitycamError(f"The grid ended with code {done.returncode}: {done.stderr.strip()[-800:]}", exit_code=1)
    results = folder / "multirun" / name
    records = [record for path in sorted(results.glob("*/run.json")) if (record := read_record(path.parent))]
    phases: dict[str, float] = {}
    for record in records:
        for phase, took in record.seconds.items():
            phases[phase] = phases.get(phase, 0.0) + took
    print(f"{name}: {wall:.1f} s", file=sys.stderr, flush=True)
    chosen = Ledger(results).resolved(records[0].config_hash)
    assert chosen is not None
    return Sweep(wall, phases), chosen


class Views(Dataset[tuple[Tensor, int]]):
    """Pictures decoded anew whenever they are asked for. An item is asked by (catalog row, whether it trains)."""

    def __init__(self, setting: PlannedRun, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        self._inputs, self._mean, self._std = setting.inputs, mean, std

    def __getitem__(self, place: tuple[int, bool]) -> tuple[Tensor, int]:
        row, training = place
        picture = self._inputs.catalog.pictures[row]
        spec: ViewSpec = self._inputs.train_spec if training else self._inputs.val_spec
        view = render(decode(self._inputs.catalog.path(picture)), spec, 0, picture.digest)
        return normalise(torch.from_numpy(view[None]), self._mean, self._std)[0], int(self._inputs.labels.values[row])


class Order(Sampler[tuple[int, bool]]):
    """What the next epoch asks for; changed between epochs, so that the workers live on."""

    def __init__(self, rows: np.ndarray, training: bool) -> None:
        self.rows, self._training = rows, training

    def __iter__(self) -> Iterator[tuple[int, bool]]:
        rows = np.random.permutation(self.rows) if self._training else self.rows
        return iter([(int(row), self._training) for row in rows])

    def __len__(self) -> int:
        return len(self.rows)


class PlainLoop:
    """A frozen backbone and a head as a careful person writes them down, in the multi partition."""

    def __init__(self, setting: PlannedRun, *, tuned: bool) -> None:
        resolved = setting.resolved
        self._setting, self._device = setting, torch.device(resolved.device)
        shared = FrozenBody(setting).backbone
        layout = TORCH_FORMATS[resolved.memory_format] if tuned else torch.contiguous_format
        self._backbone, self._format = copy.deepcopy(shared).to(memory_format=layout), layout
        self._bf16 = tuned and resolved.precision == "bf16"
        self._step = setting.config.batch_size
        batch = resolved.batch if tuned else self._step
        views = Views(setting, shared.mean, shared.std)
        self._orders = [Order(setting.inputs.train, True), Order(setting.inputs.val, False)]
        self._loaders = [self._loader(views, order, batch) for order in self._orders]

    def measure(self, optimizer: str) -> float:
        """Seconds of one epoch of training and validation, after a few batches that are not counted."""
        config = SgdConfig() if optimizer == "sgd" else AdamConfig()
        inputs = self._setting.inputs
        head = make_head(self._setting.config.head, self._backbone.num_features, inputs.labels.n_logits, 0)
        head = head.to(self._device)
        trains = make_optimizer(config, head.parameters())
        everything = [order.rows for order in self._orders]
        for order, loader in zip(self._orders, self._loaders, strict=True):
            order.rows = order.rows[: WARM_BATCHES * int(loader.batch_size or 1)]
        self._epoch(head, trains)
        for order, rows in zip(self._orders, everything, strict=True):
            order.rows = rows
        return seconds(lambda: self._epoch(head, trains), str(self._device))

    def _loader(self, views: Views, order: Order, batch: int) -> DataLoader[tuple[Tensor, int]]:
        return DataLoader(
            views,
            batch,
            sampler=order,
            num_workers=cores(),
            persistent_workers=True,
            pin_memory=self._device.type == "cuda",
        )

    def _epoch(self, head: nn.Module, trains: torch.optim.Optimizer) -> float:
        """Train, validate, and return the accuracy."""
        training, validation = self._loaders
        head.train()
        for pictures, labels in training:
            features, labels = self._features(pictures), labels.to(self._device)
            for start in range(0, len(features), self._step):
                some = slice(start, start + self._step)
                loss = F.cross_entropy(head(features[some]), labels[some])
                trains.zero_grad()
                loss.backward()
                trains.step()
        head.eval()
        with torch.no_grad():
            logits = [(head(self._features(pictures)), labels) for pictures, labels in validation]
        right = sum(int((answer.argmax(1).cpu() == labels).sum()) for answer, labels in logits)
        return right / len(self._orders[1])

    @torch.no_grad()
    def _features(self, pictures: Tensor) -> Tensor:
        pictures = pictures.to(self._device, non_blocking=True).contiguous(memory_format=self._format)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16):
            features: Tensor = self._backbone(pictures)
        return features.float()


if __name__ == "__main__":
    sys.exit(main())
