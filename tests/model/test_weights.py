"""Weights files are loaded whole or refused in a sentence, and nothing in them is executed."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from citycam.config import BackboneConfig
from citycam.errors import CitycamError
from citycam.files import sha256
from citycam.model import weights
from citycam.model.backbone import Backbone, make_backbone
from citycam.model.weights import check_weights_file, find_weights, load_weights, save_weights

GIVEN = Path(__file__).parents[2] / ".." / "shared" / "weights" / "mobilenetv2_100.safetensors"


@pytest.fixture
def resnet() -> Backbone:
    return make_backbone(BackboneConfig(name="resnet18"), 64, seed=0)


def state_of(name: str = "resnet18", seed: int = 9, **extra: Any) -> dict[str, torch.Tensor]:
    """Return a state dict of other initial weights, with its classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(name, **extra).state_dict()


def holds(backbone: Backbone, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in backbone.net.state_dict().items())


def write(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


def refused(path: Path, name: str, sentence: str, backbone: Backbone | None = None) -> None:
    """Assert that both the check of a file and loading it refuse."""
    with pytest.raises(CitycamError, match=sentence):
        check_weights_file(path, name)
    if backbone is not None:
        before = {key: value.clone() for key, value in backbone.net.state_dict().items()}
        with pytest.raises(CitycamError, match=sentence):
            load_weights(backbone, path)
        assert holds(backbone, before)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto"])
def test_saved_weights_load_unchanged(name: str, tmp_path: Path) -> None:
    saved = make_backbone(BackboneConfig(name=name), 64, seed=0)
    path = tmp_path / "body.safetensors"
    digest = save_weights(saved, path)
    assert digest == sha256(path)[:32]
    assert {save_weights(saved, tmp_path / "again.safetensors") for _ in range(3)} == {digest}
    check_weights_file(path, name)
    loaded = make_backbone(BackboneConfig(name=name), 64, seed=1)
    load_weights(loaded, path)
    assert holds(loaded, saved.net.state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
def test_files_with_timms_names_and_a_classifier_load(resnet: Backbone, tmp_path: Path, suffix: str) -> None:
    state = state_of(num_classes=17)
    path = write(tmp_path / f"w{suffix}", state)
    check_weights_file(path, "resnet18")
    load_weights(resnet, path)
    assert holds(resnet, state)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_files_with_torchvisions_names_load(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = getattr(torchvision.models, name)(num_classes=5).eval()
    path = write(tmp_path / "tv.pth", theirs.state_dict())
    check_weights_file(path, name)
    ours = make_backbone(BackboneConfig(name=name), 64, seed=0).eval()
    load_weights(ours, path)
    x = torch.randn(2, 3, 64, 64)
    theirs.fc = torch.nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_files_with_prefixes_of_wrappers_load(tmp_path: Path) -> None:
    state = state_of()
    wrapped = {f"module.{key}": value for key, value in state.items()}
    for number, content in enumerate([wrapped, {"state_dict": state, "epoch": 3}, {"model": wrapped}]):
        fresh = make_backbone(BackboneConfig(name="resnet18"), 64, seed=0)
        load_weights(fresh, write(tmp_path / f"{number}.pth", content))
        assert holds(fresh, state)


def test_counters_of_batch_norms_may_be_missing(resnet: Backbone, tmp_path: Path) -> None:
    state = {key: value for key, value in state_of().items() if not key.endswith("num_batches_tracked")}
    path = write(tmp_path / "old.pth", state)
    check_weights_file(path, "resnet18")
    load_weights(resnet, path)
    assert torch.equal(resnet.net.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_transformers_load_weights_of_another_image_size(name: str, tmp_path: Path) -> None:
    state = state_of(name)
    path = write(tmp_path / "w.safetensors", state)
    check_weights_file(path, name)
    small = make_backbone(BackboneConfig(name=name), 64, seed=0)
    load_weights(small, path)
    key = next(key for key in state if key.endswith("mlp.fc2.weight"))
    assert torch.equal(small.net.state_dict()[key], state[key])
    with torch.no_grad():
        assert torch.isfinite(small(torch.randn(1, 3, 64, 64))).all()


def test_missing_surplus_and_misshapen_tensors_are_listed(resnet: Backbone, tmp_path: Path) -> None:
    state = state_of()
    del state["layer1.0.conv1.weight"]
    state["layer9.conv1.weight"] = torch.zeros(1)
    state["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    path = write(tmp_path / "w.safetensors", state)
    sentence = (
        r"missing 1 \(layer1\.0\.conv1\.weight\); surplus 1 \(layer9\.conv1\.weight\); "
        r"of another shape 1 \(conv1\.weight is 64×3×3×3 instead of 64×3×7×7\)"
    )
    refused(path, "resnet18", sentence, resnet)


def test_a_checkpoint_of_another_network_is_refused(resnet: Backbone, tmp_path: Path) -> None:
    path = write(tmp_path / "w.pth", state_of("resnet34"))
    refused(path, "resnet18", r"does not hold the weights of resnet18.*surplus 96 \(.* and 92 more\)", resnet)


class Bomb:
    """A pickle that would leave a file behind if it were executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_file_is_executed(resnet: Backbone, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    path = write(tmp_path / "bomb.pth", {**state_of(), "extra": Bomb(trace)})
    refused(path, "resnet18", "would execute code when read, so it was not read", resnet)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kept", [0, 5, 1000, 0.5, 0.999])
def test_a_truncated_file_is_refused(resnet: Backbone, tmp_path: Path, suffix: str, kept: float) -> None:
    path = write(tmp_path / f"w{suffix}", state_of())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])
    refused(path, "resnet18", "is no weights file that can be read", resnet)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
@pytest.mark.parametrize("content", [b"<html>not source</html>", struct.pack("<Q", 2**62), b"\x80\x02}q\x00." * 3])
def test_a_file_of_another_kind_is_refused(resnet: Backbone, tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    refused(path, "resnet18", "is no weights file that can be read", resnet)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"state_dict": {"a": 3}}, {}])
def test_pickles_without_named_tensors_are_refused(resnet: Backbone, tmp_path: Path, content: Any) -> None:
    refused(write(tmp_path / "w.pth", content), "resnet18", "is no weights file that can be read", resnet)


def test_values_that_are_not_finite_are_refused(resnet: Backbone, tmp_path: Path) -> None:
    state = state_of()
    state["layer2.0.conv1.weight"][0] = float("nan")
    path = write(tmp_path / "w.safetensors", state)
    before = {key: value.clone() for key, value in resnet.net.state_dict().items()}
    with pytest.raises(CitycamError, match=r"layer2\.0\.conv1\.weight that are not finite"):
        load_weights(resnet, path)
    assert holds(resnet, before)


def test_missing_files_and_other_paths_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pth", "resnet18", "does not exist")
    refused(tmp_path / "absent.safetensors", "resnet18", "does not exist")
    refused(Path("imagenet"), "resnet18", "give auto, random or a .safetensors")


def test_the_check_of_safetensors_reads_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "w.safetensors", state_of())
    monkeypatch.setattr(weights, "_tensors", lambda _: pytest.fail("values were read"))
    check_weights_file(path, "resnet18")


def test_weights_come_from_a_file_or_are_random_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "w.safetensors", state_of())
    given = find_weights(BackboneConfig(name="resnet18", weights=str(path)))
    assert given is not None
    assert (given.origin, given.path, given.digest) == ("file", path, sha256(path)[:32])
    random = find_weights(BackboneConfig(name="resnet18", weights="random"))
    assert random is not None
    assert (random.origin, random.path, random.digest) == ("random", None, None)
    monkeypatch.setattr(weights.hub, "find_file", lambda _: None)
    assert find_weights(BackboneConfig(name="resnet18", weights="auto")) is None
    with pytest.raises(CitycamError, match="surplus"):
        find_weights(BackboneConfig(name="resnet18", weights=str(write(tmp_path / "x.pth", state_of("resnet34")))))


@pytest.mark.skipif(not GIVEN.exists(), reason="shared/weights/mobilenetv2_100.safetensors is not here")
def test_features_of_a_pretrained_mobilenet_differ_between_pictures() -> None:
    config = BackboneConfig(name="mobilenetv2_100", weights=str(GIVEN), strides=[32, 16, 8])
    source = find_weights(config)
    assert source is not None
    assert source.path is not None
    backbone = make_backbone(config, 64, seed=0).eval()
    load_weights(backbone, source.path)
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = backbone(x)
        assert torch.isfinite(features).all()
        assert features.std(0).mean() > 0.05
        dense = backbone.dense_body(8)(x)[:, :, ::4, ::4]
        torch.testing.assert_close(dense, backbone.body(x), rtol=1e-4, atol=1e-4)
