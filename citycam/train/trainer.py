"""Lightning's Trainer as citycam sets it up: whole checkpoints, our own bar, TensorBoard."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy

from citycam import progress
from citycam.config import Config, Precision
from citycam.data.datamodule import EpochLoader
from citycam.model.checkpoint import WholeCheckpointIO
from citycam.model.module import BEST_EPOCH
from citycam.resolved import Resolved
from citycam.seeds import derive


class TrainingBar(pl.Callback):
    """Shows the pictures of the whole training on one bar."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._advance: progress.Advance | None = None

    def on_train_start(self, trainer: pl.Trainer, _module: pl.LightningModule) -> None:
        """Open the bar."""
        self._advance = self._stack.enter_context(
            progress.bar("training", _loader(trainer).pictures * int(trainer.max_epochs or 0))
        )

    def on_train_batch_end(self, trainer: pl.Trainer, _module: Any, _outputs: Any, _chunk: Any, number: int) -> None:
        """Advance by the pictures of a chunk."""
        if self._advance is not None:
            self._advance(_loader(trainer).handed_over(number))

    def teardown(self, *_: Any, **__: Any) -> None:
        """Close the bar, also after an exception."""
        self._stack.close()
        self._advance = None

    on_train_end = teardown
    on_exception = teardown


class HeadThreads(pl.Callback):
    """Trains a head alone on one thread.

    Its matrices are too small for more. Two threads save a quarter of a step on an idle machine, but make it ten times
    longer when another process takes one of the cores, since every operation waits for the slower thread.
    """

    def __init__(self) -> None:
        self._threads = torch.get_num_threads()

    def on_train_start(self, *_: Any) -> None:
        """Use one thread."""
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def on_train_end(self, *_: Any) -> None:
        """Restore the number of threads."""
        torch.set_num_threads(self._threads)

    def on_exception(self, *_: Any) -> None:
        """Restore the number of threads."""
        torch.set_num_threads(self._threads)


class MovableCheckpoint(ModelCheckpoint):
    """Knows the files that it wrote also if the run's folder was moved since.

    Lightning's own class forgets them, and with them which epoch was the best.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state whose paths may be those of another place."""
        then = str(state_dict["dirpath"])
        super().load_state_dict({key: self._here(value, then) for key, value in state_dict.items()})

    def _here(self, value: Any, then: str) -> Any:
        if isinstance(value, str) and value.startswith(then):
            return f"{self.dirpath}{value.removeprefix(then)}"
        if isinstance(value, dict):
            return {self._here(key, then): score for key, score in value.items()}
        return value


def make_trainer(
    config: Config,
    folder: Path,
    resolved: Resolved,
    callbacks: list[pl.Callback],
    *,
    done: int = 0,
    devices: Sequence[str] = (),
) -> pl.Trainer:
    """Return a Trainer for one run.

    Args:
        folder: the run's; checkpoints and TensorBoard's events go there.
        callbacks: further ones.
        done: epochs of an earlier attempt; TensorBoard skips what it logged after them.
        devices: of all processes that train the model together (see `citycam.train.ranks`).
    """
    # Its information on devices and tips repeats run.json; warnings stay.
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    _hush()
    torch.manual_seed(derive(config.seed, "global") % 2**63)
    checkpoints = [
        _checkpoint(folder, "best", monitor=BEST_EPOCH, mode="max"),
        # Lightning's save_last is a copy of the best one so far, not the last.
        _checkpoint(folder, "last"),
    ]
    device, all_devices = torch.device(resolved.device), devices or [resolved.device]
    head_alone = resolved.frozen and config.bank.enabled
    bf16 = not resolved.frozen and resolved.precision == Precision.bf16.name
    return pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=[torch.device(name).index or 0 for name in all_devices] if device.type == "cuda" else len(all_devices),
        strategy=_together(device) if len(all_devices) > 1 else "auto",
        use_distributed_sampler=False,
        precision="bf16-mixed" if bf16 else "32-true",
        max_epochs=config.epochs,
        default_root_dir=folder,
        logger=TensorBoardLogger(save_dir=folder, name="", version="", default_hp_metric=False, purge_step=done + 1),
        callbacks=[*checkpoints, TrainingBar(), *([HeadThreads()] if head_alone else []), *callbacks],
        # Named, or Lightning would read variables that a cluster sets for this process as its own.
        plugins=[WholeCheckpointIO(), *([LightningEnvironment()] if len(all_devices) > 1 else [])],
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def _together(device: torch.device) -> DDPStrategy:
    """Return DDP, which averages gradients; the module handles buffers (see `citycam.model.norms`)."""
    return DDPStrategy(process_group_backend=backend(device), broadcast_buffers=False)


def backend(device: torch.device) -> str:
    """Return the library through which processes on devices of this kind communicate."""
    return "nccl" if device.type == "cuda" else "gloo"


def _loader(trainer: pl.Trainer) -> EpochLoader:
    loader = trainer.train_dataloader
    if not isinstance(loader, EpochLoader):
        raise TypeError("training reads from an EpochLoader")
    return loader


def _checkpoint(folder: Path, name: str, **which: Any) -> MovableCheckpoint:
    """Keep checkpoints/NAME.ckpt: of every epoch, or of the best by ``monitor`` and ``mode``."""
    return MovableCheckpoint(
        dirpath=folder / "checkpoints",
        filename=name,
        save_top_k=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
        auto_insert_metric_name=False,
        **which,
    )


def _hush() -> None:
    """Silence warnings that are known to be harmless, by their text."""
    # Lightning 2.6 asks torch 2.15's tree library in the old way.
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    # A run resumes in its own folder.
    warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty")
    # Every process has computed the metrics from the logits of all.
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self\.log\(.*sync_dist=True")
    # torch 2.15 wants the first and later buffers named apart, which torch 2.6 does not know.
    warnings.filterwarnings("ignore", message=r"`broadcast_buffers` is deprecated")
    # A frozen backbone is in eval mode on purpose.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
