"""The LightningModule, for features and pictures, binary and multi, frozen and fine-tuned."""

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
from citycam.model.divergence import divergence_error, list_names
from citycam.model.network import Network
from citycam.model.norms import average_norms
from citycam.model.optimizers import make_optimizer, make_schedule
from citycam.model.outputs import EpochOutputs
from citycam.seeds import derive

# One or more batches, as the loader returns them: (inputs, labels int64 (N,), indices int64 (N,) of the pictures in the
# catalog, positions int64 (N,) in the order of the epoch). Inputs are features (N, D) of a frozen backbone, or pictures
# (N, 3, S, S). If several processes train, a chunk has a share of every batch; a position of -1 marks padding, that is
# a picture of another process that keeps the numbers of steps equal.
Chunk = tuple[Tensor, Tensor, Tensor, Tensor]

# The key of a checkpoint for the results of training so far, and the attributes of the module that hold them.
_RESULTS_KEY = "found"
_RESULTS = ("history", "validation", "best_row", "best_validation", "epoch_seconds")
_BODY = "network.backbone."

# The best epoch is the first with the highest value; plain accuracy would reward predicting the majority class.
BEST_BY = "val_balanced_accuracy"
# Sums of the same recalls in another order differ by less.
_ROUNDING = 1e-9
# Logged for the checkpoint of the best epoch: it rises with every new one, whatever the precision it is kept in.
BEST_EPOCH = "best_epoch"


class CityModule(pl.LightningModule):
    """The training of a `Network`; metrics are computed once per epoch from the collected logits.

    Lightning's own work around a step takes as long as a step of a head. Therefore the loader returns several batches
    at once and `training_step` takes several steps; ``trainer.global_step`` counts these chunks.

    Args:
        network: backbone and head.
        partition: ``binary`` or ``multi``.
        optimizer: settings for `make_optimizer`.
        class_weights: (K,) weights of the classes in the loss, or None.
        batch_size: pictures per step, of all processes together.
        train_pictures: number of training pictures.
        names: of all pictures, in the order of the catalog.
        seed: of dropout.
        about: description of the network for checkpoints; see `citycam.model.checkpoint.describe_network`.
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
        self._epoch_start = 0.0
        self._steps = 0
        self._outputs = {"train": EpochOutputs(), "val": EpochOutputs()}

    @property
    def has_started(self) -> bool:
        """Whether an epoch of training has started in this process."""
        return self._epoch_start > 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (B, K) of features (B, D) or pictures (B, 3, S, S)."""
        if inputs.ndim == 2:
            return self.network.from_features(inputs)
        logits: Tensor = self.network(inputs)
        return logits

    def on_train_batch_start(self, _chunk: Chunk, chunk_idx: int) -> None:
        """Seed dropout at the start of each epoch, from the run's seed and the epoch."""
        # Not in on_train_epoch_start: between the two, Lightning draws from the global generator, and in a first or
        # resumed epoch in another order than in later ones.
        if chunk_idx == 0:
            # Each process draws for its share of a batch; process 0 has the seed of training in one process.
            rank = (self.global_rank,) if self.global_rank else ()
            torch.manual_seed(derive(self.seed, "dropout", self.current_epoch, *rank) % 2**63)

    def training_step(self, chunk: Chunk, _chunk_idx: int) -> None:
        """Take one step of the optimizer for each batch of a chunk.

        Raises:
            CitycamError: the loss of a step is not finite.
        """
        inputs, labels, indices, positions = chunk
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        outputs, losses = [], []
        batches = list(zip(self._split(inputs), self._split(labels), strict=True))
        for number, (batch_inputs, batch_labels) in enumerate(batches, 1):
            logits = self(batch_inputs)
            loss = metrics.loss(logits, batch_labels, self.partition, self.class_weights)
            weight = self._share_weight(self._steps + number)
            if weight != 1.0:
                loss = loss * weight
            optimizer.zero_grad()
            self.manual_backward(loss)
            # Lightning counts only the last step of a chunk.
            (optimizer if number == len(batches) else optimizer.optimizer).step()
            outputs.append(logits.detach())
            losses.append(loss.detach())
        # Once per chunk, since reading a value from a GPU waits for it.
        self._check_losses(torch.stack(losses), outputs, chunk)
        self._steps += len(batches)
        self._outputs["train"].add(torch.cat(outputs), labels, indices, positions)

    def _split(self, column: Tensor) -> tuple[Tensor, ...]:
        """Return a column of a chunk by steps: this process's share of every batch."""
        return torch.split(column, _share(self.batch_size, self.global_rank, self.trainer.world_size))

    def _share_weight(self, step: int) -> float:
        """Return the weight of this process's mean loss in a step.

        With it the mean of the gradients over processes is the gradient of the mean loss over the batch.
        """
        size = min(self.batch_size, self._train_pictures - (step - 1) * self.batch_size)
        ranks = self.trainer.world_size
        return ranks * _share(size, self.global_rank, ranks) / size

    def _check_losses(self, losses: Tensor, logits: list[Tensor], chunk: Chunk) -> None:
        """Check that the losses (steps,) of a chunk are finite.

        Raises:
            CitycamError: for the first step whose loss is not; the same error on all processes.
        """
        if self.trainer.world_size > 1:
            distributed.all_reduce(losses)
            losses /= self.trainer.world_size
        finite = torch.isfinite(losses)
        if bool(finite.all()):
            return
        bad = int((~finite).nonzero()[0])
        inputs, labels, indices, positions = (self._split(column)[bad] for column in chunk)
        picture_losses = metrics.losses(logits[bad], labels, self.partition, self.class_weights)
        finite_inputs = torch.isfinite(inputs.flatten(1)).all(1)
        picture_losses, finite_inputs, indices, _ = self._gather((picture_losses, finite_inputs, indices, positions))
        raise divergence_error(
            Path(self.trainer.default_root_dir) if self.trainer.is_global_zero else None,
            [self._names[index] for index in indices.tolist()],
            picture_losses,
            finite_inputs,
            loss=float(losses[bad]),
            epoch=self.current_epoch + 1,
            step=self._steps + bad + 1,
            steps=-(-self._train_pictures // self.batch_size),
            lr=self.optimizer_config.lr,
        )

    def _gather(self, columns: Chunk) -> Chunk:
        """Return the rows of all processes without padding, sorted by the last column, their positions."""
        if self.trainer.world_size == 1:
            return columns
        gathered: list[Any] = [None] * self.trainer.world_size
        distributed.all_gather_object(gathered, tuple(column.cpu() for column in columns))
        values, labels, indices, positions = (torch.cat(column) for column in zip(*gathered, strict=True))
        order = torch.argsort(positions)[int((positions < 0).sum()) :]
        return values[order], labels[order], indices[order], positions[order]

    def validation_step(self, chunk: Chunk, _chunk_idx: int) -> None:
        """Collect the logits of a chunk."""
        inputs, labels, indices, positions = chunk
        # In batches of the same size as in training, so that rounding does not depend on the size of chunks.
        logits = torch.cat([self(batch_inputs) for batch_inputs in self._split(inputs)])
        self._outputs["val"].add(logits, labels, indices, positions)

    def on_train_epoch_start(self) -> None:
        """Clear the last epoch's logits, and start the clock."""
        self._outputs["train"].clear()
        self._steps = 0
        self._epoch_start = time.perf_counter()

    def on_validation_epoch_start(self) -> None:
        """Clear the last epoch's logits, and let all processes validate the same network."""
        self._outputs["val"].clear()
        if self.trainer.world_size > 1:
            average_norms(self.network)

    def on_validation_epoch_end(self) -> None:
        """Compute the metrics of the epoch: train, from the logits of its steps, and val.

        Lightning calls this before `on_train_epoch_end`.

        Raises:
            CitycamError: a logit is not finite.
        """
        row: dict[str, float] = {}
        for part, seen in self._outputs.items():
            logits, labels, indices, _ = self._gather(seen.columns())
            finite = torch.isfinite(logits).all(1)
            if not bool(finite.all()):
                pictures = [self._names[index] for index in indices[~finite].tolist()]
                raise CitycamError(
                    f"Training has diverged by the end of epoch {self.current_epoch + 1}: the logits of "
                    f"{list_names(pictures)} are not finite; try a smaller optimizer.lr (it is "
                    f"{self.optimizer_config.lr:g}).",
                    exit_code=1,
                )
            values = metrics.evaluate(logits, labels, self.partition, self.class_weights)
            row |= {f"{part}_{name}": value for name, value in values.items()}
            if part == "val":
                columns = {"logits": logits, "labels": labels, "indices": indices}
                # Copies: the next epoch writes over the columns.
                self.validation = {name: column.cpu().clone() for name, column in columns.items()}
        self.log_dict({**row, "step": float(self.current_epoch + 1)})
        self.history.append({"epoch": self.current_epoch + 1, **row})
        self.epoch_seconds.append(time.perf_counter() - self._epoch_start)
        if row[BEST_BY] > self.best_row.get(BEST_BY, -1.0) + _ROUNDING:
            self.best_row, self.best_validation = self.history[-1], self.validation
        self.log(BEST_EPOCH, float(self.best_row["epoch"]), logger=False)

    def on_train_epoch_end(self) -> None:
        """Step the decay of the learning rate, if there is one."""
        schedule = self.lr_schedulers()
        if schedule is not None:
            schedule.step()  # type: ignore[union-attr]

    def configure_optimizers(self) -> Any:
        """Return the optimizer over the parameters that train, and the step decay if there is one."""
        optimizer = make_optimizer(self.optimizer_config, [p for p in self.parameters() if p.requires_grad])
        schedule = make_schedule(self.optimizer_config, optimizer)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description of the network and the results so far, and drop a frozen backbone.

        A sweep has one file of its frozen backbone, so that no checkpoint holds it.
        """
        checkpoint[ABOUT] = self.about
        checkpoint[_RESULTS_KEY] = {name: getattr(self, name) for name in _RESULTS}
        if self.network.backbone.frozen:
            state: Mapping[str, Tensor] = checkpoint["state_dict"]
            checkpoint["state_dict"] = {k: v for k, v in state.items() if not k.startswith(_BODY)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the results so far; a frozen backbone stays as it is.

        Raises:
            CitycamError: the checkpoint is of another network, or of another frozen body.
        """
        if checkpoint[ABOUT] != self.about:
            raise CitycamError("The checkpoint to resume from is of another network; choose another sweep.name.")
        for name, value in checkpoint[_RESULTS_KEY].items():
            setattr(self, name, value)
        if self.network.backbone.frozen:
            checkpoint["state_dict"] |= {k: v for k, v in self.state_dict().items() if k.startswith(_BODY)}


def _share(size: int, rank: int, ranks: int) -> int:
    """Return how many pictures of a batch of ``size`` process ``rank`` has."""
    return len(range(rank, size, ranks))
