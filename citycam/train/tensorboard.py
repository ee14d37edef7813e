"""What TensorBoard shows of a run besides its scalars: settings in the HPARAMS tab, and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from citycam.config import Config
from citycam.files import to_dict
from citycam.model.metrics import MEASURES

# The scalars that the HPARAMS tab can sort by; those whose higher values are better come first.
SORTED_BY = tuple(f"val_{name}" for name in sorted(MEASURES, key=lambda name: not MEASURES[name].higher_is_better))
_FIGURES = ("confusion", "curves")


def log_settings(trainer: pl.Trainer, config: Config, target: str) -> None:
    """Add a run to the HPARAMS tab, with the same columns for all runs, so that sweeps can be viewed together.

    Lightning's own way writes a zero for each measure before the first epoch, which then shows in the curves.
    """
    columns = settings(config, target)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            writer = logger.experiment._get_file_writer()
            for summary in hparams(columns, dict.fromkeys(SORTED_BY, 0.0)):  # type: ignore[no-untyped-call]
                writer.add_summary(summary)


def settings(config: Config, target: str) -> dict[str, Any]:
    """Return the columns of the HPARAMS tab.

    The tab sorts them by name and shows the first five until more are ticked; a sweep is usually over those.
    """
    content = to_dict(config)
    root = content["data"].get("root")
    return {
        "backbone": content["backbone"]["name"],
        "epochs": content["epochs"],
        "optimizer": content["optimizer"]["kind"],
        "optimizer.lr": content["optimizer"]["lr"],
        "partition": content["partition"],
        "seed": content["seed"],
        "setting.augment": content["augment"]["name"],
        "setting.batch_size": content["batch_size"],
        "setting.data": content["data"]["kind"] if root is None else Path(root).name,
        "setting.finetune": content["backbone"]["finetune"],
        "setting.head": content["head"]["kind"],
        "setting.image_size": content["image_size"],
        "setting.split": content["split"]["kind"],
        "target": target,
    }


def log_figures(folder: Path, epoch: int) -> None:
    """Add the figures of a finished run; TensorBoard reads all event files of a folder as one run."""
    with SummaryWriter(str(folder), filename_suffix=".figures") as writer:
        for name in _FIGURES:
            writer.add_image(
                name, np.asarray(Image.open(folder / f"{name}.png").convert("RGB")), epoch, dataformats="HWC"
            )
