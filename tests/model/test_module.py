"""Training by Lightning equals a plain loop, and stops at the first step whose loss is not finite."""

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
def test_training_equals_a_plain_loop(batches: int, tmp_path: Path) -> None:
    module, plain, inputs = make_module(), make_module().network.head, features()
    train(module, inputs, tmp_path, batches=batches)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.5)
    for epoch in range(EPOCHS):
        order = torch.from_numpy(stream(SEED, "order", epoch).permutation(COUNT))
        for chosen in torch.split(order, BATCH):
            optimizer.zero_grad()
            F.cross_entropy(plain(inputs[chosen]), torch.from_numpy(LABELS)[chosen]).backward()
            optimizer.step()
    for actual, expected in zip(module.network.head.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(actual, expected)
    assert module.validation["indices"].tolist() == list(range(COUNT))


def step_of(epoch: int, picture: int) -> int:
    """Return the step of an epoch, from 1, that has a picture in its batch."""
    order = stream(SEED, "order", epoch).permutation(COUNT).tolist()
    return int(order.index(picture)) // BATCH + 1


@pytest.mark.parametrize("batches", [1, 16])
def test_only_the_picture_with_infinite_features_is_named(batches: int, tmp_path: Path) -> None:
    inputs = features()
    inputs[13, 5] = torch.inf
    with pytest.raises(CitycamError, match=r"the backbone's features of town/13\.png are not finite") as raised:
        train(make_module(), inputs, tmp_path, batches=batches)
    assert f"in epoch 1, step {step_of(0, 13)} of 3:" in str(raised.value)
    assert "precision=fp32" in str(raised.value)
    assert raised.value.exit_code == 1
    rows = {row["picture"]: float(row["loss"]) for row in read_csv(tmp_path / "diverged.csv")}
    assert [name for name, loss in rows.items() if not np.isfinite(loss)] == ["town/13.png"]
    assert all(step_of(0, NAMES.index(name)) == step_of(0, 13) for name in rows)


def test_only_the_picture_with_an_infinite_loss_is_named(tmp_path: Path) -> None:
    inputs = features()
    inputs[8] = 3e38 * inputs[8].sign()  # overflows in the head
    with pytest.raises(CitycamError, match=r"the loss is (nan|inf) over town/08\.png \(the whole batch") as raised:
        train(make_module(lr=1e-30), inputs, tmp_path, batches=16)
    assert f"in epoch 1, step {step_of(0, 8)} of 3:" in str(raised.value)
    assert "try a smaller optimizer.lr (it is 1e-30)." in str(raised.value)


def test_pictures_with_infinite_logits_after_the_last_step_are_named(tmp_path: Path) -> None:
    module = make_module(lr=1e38)
    module.batch_size = COUNT  # one step an epoch
    with pytest.raises(CitycamError, match="by the end of epoch 1: the logits of town/") as raised:
        train(module, features(), tmp_path, batches=16)
    assert "more pictures are not finite; try a smaller optimizer.lr (it is 1e+38)." in str(raised.value)
