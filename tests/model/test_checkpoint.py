"""A checkpoint is loaded whole into its network, or refused in a sentence."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from citycam.config import BackboneConfig, HeadConfig
from citycam.errors import CitycamError
from citycam.model.backbone import make_backbone
from citycam.model.checkpoint import ABOUT, WholeCheckpointIO, describe_network, load_checkpoint
from citycam.model.head import make_head
from citycam.model.network import Network
from citycam.model.weights import save_weights
from tests.conftest import TINY

CLASSES = ("arden", "brill", "corvo")


def network(seed: int = 0, *, frozen: bool = True, classes: int = 3, name: str = TINY) -> Network:
    backbone = make_backbone(BackboneConfig(name=name), 64, seed)
    backbone.freeze("none" if frozen else "all")
    return Network(backbone, make_head(HeadConfig(hidden=8), backbone.num_features, classes, seed))


def write(folder: Path, of: Network, *, frozen: bool = True, **changes: Any) -> Path:
    body = None
    if frozen:
        body = folder / "bodies" / "body.safetensors"
        save_weights(of.backbone, body)
    path = folder / "run" / "checkpoints" / "last.ckpt"
    state = {f"network.{key}": value for key, value in of.state_dict().items()}
    if frozen:
        state = {key: value for key, value in state.items() if not key.startswith("network.backbone.")}
    content = {
        "state_dict": state,
        ABOUT: describe_network(
            of,
            classes=CLASSES,
            partition="multi",
            image_size=64,
            body=body,
            checkpoint_folder=path.parent,
            head={"kind": "mlp"},
        )
        | changes,
    }
    WholeCheckpointIO().save_checkpoint(content, path)
    return path


@pytest.mark.parametrize("frozen", [True, False])
def test_a_saved_network_loads_unchanged(frozen: bool, tmp_path: Path) -> None:
    saved, fresh = network(0, frozen=frozen), network(1, frozen=frozen)
    path = write(tmp_path, saved, frozen=frozen)
    load_checkpoint(path, fresh, CLASSES)
    for key, value in saved.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value)


def test_a_moved_sweep_still_loads(tmp_path: Path) -> None:
    saved, fresh = network(), network(1)
    path = write(tmp_path / "a", saved)
    (tmp_path / "a").rename(tmp_path / "b")
    load_checkpoint(tmp_path / "b" / path.relative_to(tmp_path / "a"), fresh, CLASSES)
    assert all(torch.equal(fresh.state_dict()[key], value) for key, value in saved.state_dict().items())


def test_another_body_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, network())
    save_weights(network(7).backbone, tmp_path / "bodies" / "body.safetensors")
    with pytest.raises(CitycamError, match=r"is not the body that .* was trained with"):
        load_checkpoint(path, network(), CLASSES)
    (tmp_path / "bodies" / "body.safetensors").unlink()
    with pytest.raises(CitycamError, match="which is not there"):
        load_checkpoint(path, network(), CLASSES)


def test_other_classes_and_other_networks_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, network())
    with pytest.raises(CitycamError, match="is of the classes arden, brill, corvo, not arden, brill"):
        load_checkpoint(path, network(classes=2), ("arden", "brill"))
    with pytest.raises(CitycamError, match=f"is of {TINY} at 64 px, not of resnet18"):
        load_checkpoint(path, network(name="resnet18"), CLASSES)
    other = Network(network().backbone, make_head(HeadConfig(kind="linear"), 1280, 3, 0))
    with pytest.raises(CitycamError, match=r"is of another network: .*missing head"):
        load_checkpoint(path, other, CLASSES)


def test_refused_weights_leave_the_network_as_it_was(tmp_path: Path) -> None:
    path, mine = write(tmp_path, network()), network(3, classes=2)
    before = {key: value.clone() for key, value in mine.state_dict().items()}
    with pytest.raises(CitycamError):
        load_checkpoint(path, mine, CLASSES)
    assert all(torch.equal(value, before[key]) for key, value in mine.state_dict().items())


class Planted:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    path, trap = tmp_path / "bad.ckpt", tmp_path / "trap"
    torch.save({"state_dict": {}, ABOUT: Planted(trap)}, path, pickle_module=pickle)
    with pytest.raises(CitycamError, match="is no whole checkpoint"):
        load_checkpoint(path, network(), CLASSES)
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_damaged_and_other_files_are_refused_in_a_sentence(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    if content is None:
        whole = write(tmp_path, network()).read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    with pytest.raises(CitycamError, match=r"x\.ckpt is no whole checkpoint"):
        load_checkpoint(path, network(), CLASSES)
    with pytest.raises(CitycamError, match="There is no checkpoint"):
        load_checkpoint(tmp_path / "none.ckpt", network(), CLASSES)
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(CitycamError, match="is no checkpoint of citycam"):
        load_checkpoint(path, network(), CLASSES)


def test_equal_bodies_have_equal_digests(tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        save_weights(network().backbone, tmp_path / f"{number}.safetensors")
        digests.add(hashlib.sha256((tmp_path / f"{number}.safetensors").read_bytes()).hexdigest())
    assert len(digests) == 1
