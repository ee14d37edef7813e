"""One run, from its settings to a folder of results: the steps of training, in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.utilities.exceptions import SIGTERMException

from citycam.bank.body import body_file, load_body, shared_body
from citycam.bank.extract import TORCH_FORMATS
from citycam.bank.frozen import FrozenBody
from citycam.config import Config
from citycam.data.datamodule import CityDataModule, PictureReader, Reader
from citycam.data.inputs import Inputs, PlannedRun, load_inputs
from citycam.data.views import assert_range, open_working, scale, views
from citycam.errors import CitycamError
from citycam.explain.sample import validation_sample
from citycam.files import reason_of, to_dict, write_text
from citycam.model.backbone import synchronise_norms
from citycam.model.checkpoint import describe_network
from citycam.model.divergence import DIVERGED
from citycam.model.head import make_head
from citycam.model.module import CityModule
from citycam.model.network import Network
from citycam.model.norms import trained_norms
from citycam.processes import Terminated
from citycam.resolved import Resolved
from citycam.statistics import few_groups, marks
from citycam.sweep.record import BackboneRecord, DataRecord, SplitRecord
from citycam.sweep.recorder import Recorder
from citycam.train.results import write_inputs, write_results, write_thumb_files
from citycam.train.resume import ResumePoint, versions
from citycam.train.tensorboard import log_figures, log_settings
from citycam.train.test_part import TestPartCallback
from citycam.train.trainer import make_trainer
from citycam.words import say

if TYPE_CHECKING:
    from citycam.explain.callback import MapCallback

# Batches of features that Lightning gets at once: with more, the first step waits longer.
_BATCHES = 16


@dataclass(frozen=True)
class Attempt:
    """One try at a run, as a job hands it to training.

    Attributes:
        folder: the run's.
        record: its run.json, which the caller finishes.
        resume_from: where an earlier attempt stopped.
        devices: torch's names, one for each process that trains the model.
    """

    config: Config
    folder: Path
    resolved: Resolved
    record: Recorder
    resume_from: ResumePoint | None
    devices: tuple[str, ...]


def train(attempt: Attempt) -> None:
    """Train a run into its folder; of several processes this is the first, while the others `join`.

    Raises:
        CitycamError: what a person can mend.
    """
    folder, record, config = attempt.folder, attempt.record, attempt.config
    own = own_share(attempt)
    torch.set_num_threads(own.threads)
    with record.phase("data"):
        run = PlannedRun(config, load_inputs(config), own)
        describe(record, dataclasses.replace(run, resolved=attempt.resolved), attempt.devices)
        (folder / DIVERGED).unlink(missing_ok=True)
        write_text(folder / "config.yaml", yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True))
        write_inputs(folder, run.inputs)
    with record.phase("model"):
        network = make_network(run)
        for sentence in spread_norms(network, attempt.devices):
            say(f"note: {sentence}")
            record.warn("batch_norm_per_device", sentence)
        module = make_module(run, folder, network)
    with record.phase("bank"):
        datamodule = make_datamodule(run, network)
    maps = make_map_callback(run, folder)
    test = TestPartCallback(run, folder) if len(run.inputs.test) else None
    done = attempt.resume_from.epochs if attempt.resume_from is not None else 0
    callbacks: list[pl.Callback] = [callback for callback in (maps, test) if callback is not None]
    trainer = make_trainer(config, folder, own, callbacks, done=done, devices=attempt.devices)
    log_settings(trainer, config, run.inputs.target)
    with record.phase("train"):
        fit(trainer, module, datamodule, attempt.resume_from)
    with record.phase("files"):
        write_results(folder, run.inputs, module, record)
        log_figures(folder, config.epochs)
        if maps is not None:
            explained = [run.inputs.catalog.pictures[row].name for row in maps.rows.tolist()]
            write_thumb_files(folder, run.inputs.catalog, [*explained, *maps.nearest])
    finish(record, module, maps, test)


def join(attempt: Attempt) -> None:
    """Train on ``attempt.resolved.device`` as one of several processes; the one that runs `train` writes everything.

    Raises:
        CitycamError: what a person can mend.
    """
    own = own_share(attempt)
    torch.set_num_threads(own.threads)
    run = PlannedRun(attempt.config, load_inputs(attempt.config), own)
    network = make_network(run)
    spread_norms(network, attempt.devices)
    module = make_module(run, attempt.folder, network)
    datamodule = make_datamodule(run, network)
    trainer = make_trainer(attempt.config, attempt.folder, own, [], devices=attempt.devices)
    fit(trainer, module, datamodule, attempt.resume_from)


def own_share(attempt: Attempt) -> Resolved:
    """Return what one of several processes uses: its share of the threads."""
    return dataclasses.replace(
        attempt.resolved, threads=max(1, attempt.resolved.threads // max(1, len(attempt.devices)))
    )


def spread_norms(network: Network, devices: Sequence[str]) -> list[str]:
    """Synchronise batch norms that train over devices; return a warning for each way in which that is not possible."""
    if len(devices) < 2 or not trained_norms(network):
        return []
    if torch.device(devices[0]).type == "cuda":
        synchronise_norms(network.backbone)
        return []
    return [
        f"Batch norms of the fine-tuned stages see {len(devices)} shares of every batch apart, since PyTorch joins "
        "them on GPUs only; numbers differ from those of one device, as with a smaller batch_size."
    ]


def fit(
    trainer: pl.Trainer, module: CityModule, datamodule: CityDataModule, resume_from: ResumePoint | None = None
) -> None:
    """Run Lightning's fit, with Ctrl-C and SIGTERM as what they raise, for which Lightning calls ``sys.exit``.

    Raises:
        CitycamError: what a person can mend; or the checkpoint to resume from does not fit.
    """
    try:
        trainer.fit(module, datamodule, ckpt_path=resume_from.checkpoint if resume_from is not None else None)
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise type(error.__context__) from error
        if isinstance(error, SIGTERMException):
            raise Terminated from error
        raise
    except CitycamError:
        raise
    except Exception as error:
        if resume_from is None or module.has_started:
            raise
        raise CitycamError(
            f"{resume_from.checkpoint} cannot be resumed from ({type(error).__name__}: {reason_of(error)}); remove it, "
            "and the same command restarts the run.",
            exit_code=1,
        ) from error


def describe(record: Recorder, run: PlannedRun, devices: tuple[str, ...]) -> None:
    """Record what is known before training starts."""
    config, inputs, resolved = run.config, run.inputs, run.resolved
    counts = {
        part: dict(zip(*np.unique([inputs.catalog.pictures[i].city for i in rows], return_counts=True), strict=True))
        for part, rows in (("train", inputs.train), ("val", inputs.val), ("test", inputs.test))
    }
    record.update(
        data=DataRecord(
            kind=inputs.catalog.kind,
            root=str(inputs.catalog.root),
            digest=inputs.catalog.digest,
            target=inputs.target,
            counts={part: {str(city): int(n) for city, n in cities.items()} for part, cities in counts.items()},
            skipped=len(inputs.catalog.skipped),
        ),
        split=SplitRecord(inputs.split.kind, inputs.split.leaky),
        backbone=BackboneRecord(str(config.backbone.name), resolved.source, resolved.finetune),
        classes=inputs.labels.classes,
        device=resolved.device,
        devices=devices,
        threads=resolved.threads,
        precision=resolved.precision,
        versions=versions(),
        memory_format=resolved.memory_format,
        seed=config.seed,
    )
    for code, sentence in (inputs.warnings | resolved.warnings).items():
        record.warn(code, sentence)
    if inputs.weights is not None:
        record.warn(
            "ece_with_class_weights",
            "Classes are unequal and weighted in the loss, so probabilities are shifted on purpose and the expected "
            "calibration error (ece) is not that of the data as it is; balance=none trains without weights.",
        )


def make_network(run: PlannedRun) -> Network:
    """Return backbone and head; a frozen backbone is shared by all runs of the process."""
    config, resolved = run.config, run.resolved
    if resolved.frozen:
        backbone = shared_body(config, resolved.source, resolved.device)
    else:
        backbone = load_body(config.backbone, config.image_size, resolved.source, config.seed)
        backbone.freeze(resolved.finetune)
        backbone.to(memory_format=TORCH_FORMATS[resolved.memory_format])
    return Network(backbone, make_head(config.head, backbone.num_features, run.inputs.labels.n_logits, config.seed))


def make_module(run: PlannedRun, folder: Path, network: Network) -> CityModule:
    """Return the LightningModule of a run."""
    config, inputs, resolved = run.config, run.inputs, run.resolved
    return CityModule(
        network,
        partition=config.partition.name,
        optimizer=config.optimizer,
        class_weights=None if inputs.weights is None else torch.from_numpy(inputs.weights),
        batch_size=config.batch_size,
        train_pictures=len(inputs.train),
        names=[picture.name for picture in inputs.catalog.pictures],
        seed=config.seed,
        about=describe_network(
            network,
            classes=inputs.labels.classes,
            partition=config.partition.name,
            image_size=config.image_size,
            body=body_file(folder.parent, network.backbone, resolved.weights_digest) if resolved.frozen else None,
            checkpoint_folder=folder / "checkpoints",
            head=to_dict(config.head),
        ),
    )


def make_datamodule(run: PlannedRun, network: Network) -> CityDataModule:
    """Return batches of kept features if the body is frozen, else of pictures."""
    config, inputs, resolved = run.config, run.inputs, run.resolved
    assert_range(scale(first_views(inputs)))
    body = FrozenBody(run) if resolved.frozen else None
    if body is not None and config.bank.enabled:
        body.fill_features(config.epochs)
    batches = 1
    if body is not None:
        batches = _BATCHES if config.bank.enabled else max(1, resolved.batch // config.batch_size)
    readers: list[Reader] = []
    for training in (True, False):
        if body is not None and config.bank.enabled:
            readers.append(body.reader(training=training, epochs=config.epochs))
            continue
        pictures = PictureReader(
            inputs.catalog,
            inputs.train_spec if training else inputs.val_spec,
            config.augment,
            inputs.train if training else inputs.val,
            training=training,
            mean=network.backbone.mean,
            std=network.backbone.std,
            threads=resolved.threads,
            keep=config.bank.enabled and config.epochs > 1,
        )
        readers.append(pictures if body is None else body.passing(pictures))
    return CityDataModule(
        train_reader=readers[0],
        val_reader=readers[1],
        train=inputs.train,
        val=inputs.val,
        labels=inputs.labels.values,
        batch=config.batch_size,
        chunk=config.batch_size * batches,
        seed=config.seed,
    )


def first_views(inputs: Inputs, count: int = 4) -> torch.Tensor:
    """Return a few training views, uint8 (n, S, S, 3), to check their range."""
    chosen = [inputs.catalog.pictures[index] for index in inputs.train[:count].tolist()]
    spec = inputs.train_spec
    return torch.from_numpy(
        np.concatenate([views(open_working(inputs.catalog.path(p), spec), spec, [0], p.digest) for p in chosen])
    )


def make_map_callback(run: PlannedRun, folder: Path) -> MapCallback | None:
    """Return the callback that draws maps, or None without methods."""
    if not run.config.explain.methods:
        return None
    # Imported late: it takes half a second, which runs without maps need not wait for.
    from citycam.explain.callback import MapCallback

    return MapCallback(folder, run, validation_sample(run.config.explain, run.inputs))


def finish(record: Recorder, module: CityModule, maps: MapCallback | None, test: TestPartCallback | None) -> None:
    """Record the last facts: the test part, maps, marks and what training took by epoch."""
    if test is not None:
        known = record.record
        record.update(
            final={**known.final, **test.results["last"]},
            best={**known.best, **test.results["best"]},
        )
        _move_seconds(record, "test", test.seconds)
    if maps is not None:
        record.update(explained=maps.explained)
        for warning in maps.warnings:
            record.warn(**warning)
        _move_seconds(record, "maps", maps.seconds)
    record.update(epoch_seconds=tuple(module.epoch_seconds))
    final = record.record.final
    held = marks(
        accuracy=final["val_accuracy"],
        majority_accuracy=final["majority_accuracy"],
        balanced_accuracy=final["val_balanced_accuracy"],
        balanced_accuracy_interval=final["val_balanced_accuracy_interval"],
        chance=final["chance"],
        effective_groups=final.get("effective_groups"),
    )
    for mark in (*held, *few_groups(final.get("test_effective_groups"), "test")):
        record.warn(**mark.as_dict())


def _move_seconds(record: Recorder, phase: str, seconds: float) -> None:
    """Book what a callback did during training under a phase of its own."""
    before = record.record.seconds
    record.update(seconds={**before, "train": before["train"] - seconds, phase: seconds})
