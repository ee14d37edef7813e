"""Training by Lightning is the plain loop that it stands for, and ends at the first step that leads nowhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from citycam.config import BackboneConfig, HeadConfig, SgdConfig
from citycam.data.datamodule import CityDataModule
from citycam.errors import CitycamError
from citycam.files import read_csv
from citycam.model.backbone import make_backbone
from citycam.model.head import make_head
from citycam.model.module import CityModule
from citycam.model.network import Network
from citycam.seeds import stream
from tests.conftest import TINY

# A frozen backbone is in eval mode on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training")
COUNT, BATCH, EPOCHS, CLASSES, SEED = 21, 8, 3, 3, 4
NAMES = [f"town/{number:02d}.png" for number in range(COUNT)]


def features() -> torch.Tensor:
    values = np.random.default_rng(0).normal(size=(COUNT, 1280)) + np.arange(COUNT)[:, None] % CLASSES
    return torch.from_numpy(values).float()


LABELS = np.arange(COUNT) % CLASSES


def make_module(lr: float = 0.01) -> CityModule:
    backbone = make_backbone(BackboneConfig(name=TINY, strides=[32]), 64, 0)
    backbone.freeze("none")
    network = Network(backbone, make_head(HeadConfig(), backbone.num_features, CLASSES, SEED))
    return CityModule(
        network,
        partition="multi",
        optimizer=SgdConfig(lr=lr, momentum=0.5),
        class_weights=None,
        batch_size=BATCH,
        train_pictures=COUNT,
        names=NAMES,
        seed=SEED,
        about={},
    )


def train(module: CityModule, inputs: torch.Tensor, folder: Path, *, batches: int) -> None:
    def read(indices: np.ndarray, _epoch: int) -> torch.Tensor:
        return inputs[torch.from_numpy(indices)]

    rows = np.arange(COUNT)
    data = CityDataModule(
        train_reader=read,
        val_reader=read,
        train=rows,
        val=rows,
        labels=LABELS,
        batch=BATCH,
        chunk=batches * BATCH,
        seed=SEED,
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(module, data)


@pytest.mark.parametrize("batches", [1, 2, 16])
def test_training_is_the_plain_loop(batches: int, tmp_path: Path) -> None:
    module, plain, inputs = make_module(), make_module().network.head, features()
    train(module, inputs, tmp_path, batches=batches)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.5)
    for epoch in range(EPOCHS):
        order = torch.from_numpy(stream(SEED, "order", epoch).permutation(COUNT))
        for chosen in torch.split(order, BATCH):
            optimizer.zero_grad()
            F.cross_entropy(plain(inputs[chosen]), torch.from_numpy(LABELS)[chosen]).backward()
            optimizer.step()
    for found, wanted in zip(module.network.head.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)
    assert module.validation["indices"].tolist() == list(range(COUNT))


def place(epoch: int, picture: int) -> int:
    """The step, counted from 1, at which a picture comes."""
    order = stream(SEED, "order", epoch).permutation(COUNT).tolist()
    return int(order.index(picture)) // BATCH + 1


@pytest.mark.parametrize("batches", [1, 16])
def test_a_picture_whose_features_are_no_numbers_is_named_alone(batches: int, tmp_path: Path) -> None:
    inputs = features()
    inputs[13, 5] = torch.inf
    with pytest.raises(CitycamError, match=r"what the backbone makes of town/13\.png are not numbers") as raised:
        train(make_module(), inputs, tmp_path, batches=batches)
    assert f"in epoch 1, step {place(0, 13)} of 3:" in str(raised.value)
    assert "precision=fp32" in str(raised.value)
    assert raised.value.exit_code == 1
    rows = {row["picture"]: float(row["loss"]) for row in read_csv(tmp_path / "diverged.csv")}
    assert [name for name, loss in rows.items() if not np.isfinite(loss)] == ["town/13.png"]
    assert all(place(0, NAMES.index(name)) == place(0, 13) for name in rows)


def test_a_picture_whose_own_loss_is_none_is_named_alone(tmp_path: Path) -> None:
    inputs = features()
    inputs[8] = 3e38 * inputs[8].sign()  # overflows in the head
    with pytest.raises(CitycamError, match=r"the loss is (nan|inf) over town/08\.png \(the whole batch") as raised:
        train(make_module(lr=1e-30), inputs, tmp_path, batches=16)
    assert f"in epoch 1, step {place(0, 8)} of 3:" in str(raised.value)
    assert "try a smaller optimizer.lr (it is 1e-30)." in str(raised.value)


def test_answers_that_are_no_numbers_after_the_last_step_are_named(tmp_path: Path) -> None:
    module = make_module(lr=1e38)
    module.batch_size = COUNT  # one step an epoch
    with pytest.raises(CitycamError, match="by the end of epoch 1: the network's answers to town/") as raised:
        train(module, features(), tmp_path, batches=16)
    assert "more pictures are not numbers; try a smaller optimizer.lr (it is 1e+38)." in str(raised.value)
