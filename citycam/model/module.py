"""The LightningModule: one for features and pictures, binary and multi, frozen and fine-tuned."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, distributed

from citycam.config import OptimizerConfig
from citycam.errors import CitycamError
from citycam.model import metrics
from citycam.model.checkpoint import ABOUT
from citycam.model.divergence import diverged, named
from citycam.model.network import Network
from citycam.model.norms import average_norms
from citycam.model.optimizers import make_optimizer, make_schedule
from citycam.seeds import derive

# What the loader gives at once, one or more batches: (inputs, labels int64 (N,), indices int64 (N,) of the pictures in
# the catalog, places int64 (N,) in the epoch's order). Inputs are features (N, D) of a frozen backbone, or pictures
# (N, 3, S, S). Where several processes train, this is a share of every batch; a place of -1 marks a picture that is
# another process's and only keeps the steps together.
Chunk = tuple[Tensor, Tensor, Tensor, Tensor]

# In a checkpoint: what training has found so far, and which of the module's attributes that is.
FOUND = "found"
_FOUND = ("history", "validation", "best_row", "best_validation", "epoch_seconds")
_BODY = "network.backbone."

# The best epoch is the first with the highest of these; accuracy alone rewards answering the most frequent class.
BEST_BY = "val_balanced_accuracy"


class CityModule(pl.LightningModule):
    """Trains a `Network`; metrics are computed once per epoch from its collected logits.

    Lightning's own work around a step takes as long as the step of a head, so the loader hands over several batches at
    once and the steps are taken here, one after the other; ``trainer.global_step`` counts what was handed over.

    Args:
        network: backbone and head.
        partition: ``binary`` or ``multi``.
        optimizer: what `make_optimizer` takes.
        class_weights: (K,) weights of the classes in the loss, or None.
        batch_size: pictures a step, of all processes together.
        train_pictures: how many there are to train on.
        names: of all pictures, in catalog order.
        seed: names the stream of dropout.
        about: what checkpoints say of the network (`citycam.model.checkpoint.about`).
    """

    def __init__(
        self,
        network: Network,
        *,
        partition: str,
        optimizer: OptimizerConfig,
        class_weights: Tensor | None,
        batch_size: int,
        train_pictures: int,
        names: Sequence[str],
        seed: int,
        about: dict[str, Any],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network
        self.batch_size = batch_size
        self._train_pictures, self._names = train_pictures, names
        self.partition = partition
        self.optimizer_config = optimizer
        self.seed = seed
        self.about = about
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.history: list[dict[str, float]] = []
        self.validation: dict[str, Tensor] = {}
        self.best_row: dict[str, float] = {}
        self.best_validation: dict[str, Tensor] = {}
        self.epoch_seconds: list[float] = []
        self._epoch_begun = 0.0
        self._steps = 0
        # (logits, labels, indices, places) of each chunk.
        self._seen: dict[str, list[Chunk]] = {"train": [], "val": []}

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D) or pictures (B, 3, S, S)."""
        if inputs.ndim == 2:
            return self.network.from_features(inputs)
        logits: Tensor = self.network(inputs)
        return logits

    def on_train_batch_start(self, _chunk: Chunk, chunk_idx: int) -> None:
        """Seed dropout at the start of each epoch, from the run's seed and the epoch."""
        # Here and not at the epoch's start: Lightning draws from the global generator in between, in another order
        # in a first or resumed epoch than in later ones.
        if chunk_idx == 0:
            # One device draws for a whole batch; several draw each for their share, which cannot be the same.
            own = (self.global_rank,) if self.global_rank else ()
            torch.manual_seed(derive(self.seed, "dropout", self.current_epoch, *own) % 2**63)

    def training_step(self, chunk: Chunk, _chunk_idx: int) -> None:
        """One step of the optimizer for each batch of ``batch_size`` pictures.

        Raises:
            CitycamError: the loss of a step is not finite.
        """
        inputs, labels, indices, places = chunk
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        seen, losses = [], []
        batches = list(zip(self._batches(inputs), self._batches(labels), strict=True))
        for number, (some, answers) in enumerate(batches, 1):
            logits = self(some)
            loss = metrics.loss(logits, answers, self.partition, self.class_weights)
            weight = self._weight_of_share(self._steps + number)
            if weight != 1.0:
                loss = loss * weight
            optimizer.zero_grad()
            self.manual_backward(loss)
            # Lightning counts the last step, and leaves the others alone.
            (optimizer if number == len(batches) else optimizer.optimizer).step()
            seen.append(logits.detach())
            losses.append(loss.detach())
        # Once a chunk, since looking at a number of a GPU waits for it.
        self._check(torch.stack(losses), seen, chunk)
        self._steps += len(batches)
        self._seen["train"].append((torch.cat(seen), labels, indices, places))

    def _batches(self, column: Tensor) -> tuple[Tensor, ...]:
        """A chunk's column by steps: of every batch this process's share, which is as large in all but the last."""
        return torch.split(column, _share(self.batch_size, self.global_rank, self.trainer.world_size))

    def _weight_of_share(self, step: int) -> float:
        """What a share's mean loss counts in a step of the epoch, so that the mean over processes, which is what their
        gradients come to, is the mean over the batch."""
        size = min(self.batch_size, self._train_pictures - (step - 1) * self.batch_size)
        ranks = self.trainer.world_size
        return ranks * _share(size, self.global_rank, ranks) / size

    def _check(self, losses: Tensor, logits: list[Tensor], chunk: Chunk) -> None:
        """Find the first step of a chunk whose loss (steps,) is not finite.

        Raises:
            CitycamError: there is one; the same on all processes.
        """
        if self.trainer.world_size > 1:
            distributed.all_reduce(losses)
            losses /= self.trainer.world_size
        finite = torch.isfinite(losses)
        if bool(finite.all()):
            return
        bad = int((~finite).nonzero()[0])
        inputs, labels, indices, places = (self._batches(column)[bad] for column in chunk)
        each = metrics.losses(logits[bad], labels, self.partition, self.class_weights)
        readable = torch.isfinite(inputs.flatten(1)).all(1)
        each, readable, indices, _ = self._of_all((each, readable, indices, places))
        raise diverged(
            Path(self.trainer.default_root_dir) if self.trainer.is_global_zero else None,
            [self._names[index] for index in indices.tolist()],
            each,
            readable,
            loss=float(losses[bad]),
            epoch=self.current_epoch + 1,
            step=self._steps + bad + 1,
            steps=-(-self._train_pictures // self.batch_size),
            lr=self.optimizer_config.lr,
        )

    def _of_all(self, columns: Chunk) -> Chunk:
        """The rows of all processes in the order of their places, the last column, on each of them."""
        if self.trainer.world_size == 1:
            return columns
        found: list[Any] = [None] * self.trainer.world_size
        distributed.all_gather_object(found, tuple(column.cpu() for column in columns))
        values, labels, indices, places = (torch.cat(column) for column in zip(*found, strict=True))
        order = torch.argsort(places)[int((places < 0).sum()) :]
        return values[order], labels[order], indices[order], places[order]

    def validation_step(self, chunk: Chunk, _chunk_idx: int) -> None:
        """Collect the logits of some pictures."""
        inputs, labels, indices, places = chunk
        # By the same batches as training, so that no rounding tells who read the pictures.
        logits = torch.cat([self(some) for some in self._batches(inputs)])
        self._seen["val"].append((logits, labels, indices, places))

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's logits."""
        self._seen["train"].clear()
        self._steps = 0
        self._epoch_begun = time.perf_counter()

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's logits; all processes validate one network."""
        self._seen["val"].clear()
        if self.trainer.world_size > 1:
            average_norms(self.network)

    def on_validation_epoch_end(self) -> None:
        """Metrics of the epoch, train (while it learnt) and val. Runs before Lightning's train epoch ends."""
        row: dict[str, float] = {}
        for part, seen in self._seen.items():
            columns = [torch.cat(column) for column in zip(*seen, strict=True)]
            logits, labels, indices, _ = self._of_all((columns[0], columns[1], columns[2], columns[3]))
            finite = torch.isfinite(logits).all(1)
            if not bool(finite.all()):
                pictures = [self._names[index] for index in indices[~finite].tolist()]
                raise CitycamError(
                    f"Training has diverged by the end of epoch {self.current_epoch + 1}: the network's answers to "
                    f"{named(pictures)} are not numbers; try a smaller optimizer.lr (it is "
                    f"{self.optimizer_config.lr:g}).",
                    exit_code=1,
                )
            found = metrics.evaluate(logits, labels, self.partition, self.class_weights)
            row |= {f"{part}_{name}": value for name, value in found.items()}
            if part == "val":
                self.validation = {"logits": logits.cpu(), "labels": labels.cpu(), "indices": indices.cpu()}
        self.log_dict({**row, "step": float(self.current_epoch + 1)})
        self.history.append({"epoch": self.current_epoch + 1, **row})
        self.epoch_seconds.append(time.perf_counter() - self._epoch_begun)
        if row[BEST_BY] > self.best_row.get(BEST_BY, -1.0):
            self.best_row, self.best_validation = self.history[-1], self.validation

    def on_train_epoch_end(self) -> None:
        """Step decay, where asked for."""
        schedule = self.lr_schedulers()
        if schedule is not None:
            schedule.step()  # type: ignore[union-attr]

    def configure_optimizers(self) -> Any:
        """The optimizer over what trains, with step decay where asked for."""
        optimizer = make_optimizer(self.optimizer_config, [p for p in self.parameters() if p.requires_grad])
        schedule = make_schedule(self.optimizer_config, optimizer)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the network is, and what it has found so far, so that training can go on; a frozen backbone is kept
        once per sweep, not in every checkpoint."""
        checkpoint[ABOUT] = self.about
        checkpoint[FOUND] = {name: getattr(self, name) for name in _FOUND}
        if self.network.backbone.frozen:
            state: Mapping[str, Tensor] = checkpoint["state_dict"]
            checkpoint["state_dict"] = {k: v for k, v in state.items() if not k.startswith(_BODY)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what was found before; the frozen backbone is the one that is here already.

        Raises:
            CitycamError: the checkpoint is of another network, or of another frozen body.
        """
        if checkpoint[ABOUT] != self.about:
            raise CitycamError("The checkpoint to go on from is of another network; choose another sweep.name.")
        for name, value in checkpoint[FOUND].items():
            setattr(self, name, value)
        if self.network.backbone.frozen:
            checkpoint["state_dict"] |= {k: v for k, v in self.state_dict().items() if k.startswith(_BODY)}


def _share(size: int, rank: int, ranks: int) -> int:
    """How many pictures of a batch of ``size`` are those of process ``rank``."""
    return len(range(rank, size, ranks))
