"""Teaching a body: it learns, it repeats, and it leaves the body in eval mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from citycam.config import BackboneConfig
from citycam.data import toytown
from citycam.model.backbone import Backbone, make_backbone
from citycam.seeds import stream
from citycam.train import pretrain

SIZE = 64


def body(name: str = "mobilenetv2_035") -> Backbone:
    return make_backbone(BackboneConfig(name=name), SIZE, 0)


def squares(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with a bright square in the upper or the lower half, and which."""
    rng = stream(0, "squares")
    pictures = rng.integers(0, 60, (count, SIZE, SIZE, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, count)
    for picture, label in zip(pictures, labels.tolist(), strict=True):
        picture[32 * label : 32 * label + 32, :, 2 * label] = 220
    return pictures, labels.astype(np.int64)


def test_a_body_learns_classes_and_is_left_in_eval_mode() -> None:
    network = body()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    calls: list[tuple[int, int]] = []
    pictures, labels = squares(64)
    result = pretrain.teach(network, pictures, labels, seen=240, seed=0, progress=lambda *pair: calls.append(pair))
    assert result["losses"][-1] < 0.6 * result["losses"][0]
    assert calls[-1] == (240, 240)
    assert not any(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
    assert network.state_dict().keys() == before.keys()
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert any(not torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["mobilenetv2_035", "resnet10t"])
def test_places_are_learnt_at_several_stages(name: str) -> None:
    pictures, shares = toytown.draw_lesson(0, 24, SIZE)
    result = pretrain.teach(body(name), pictures, shares, seen=160, seed=0)
    assert result["losses"][-1] < 0.95 * result["losses"][0]


def test_equal_arguments_give_equal_weights() -> None:
    pictures, shares = toytown.draw_lesson(0, 16, SIZE)
    states = []
    for disturb in (1, 2):
        network = body()
        torch.manual_seed(disturb)
        pretrain.teach(network, pictures, shares, seen=48, seed=0)
        states.append(network.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    network = body()
    pretrain.teach(network, pictures, shares, seen=48, seed=1)
    assert any(not torch.equal(states[0][key], value) for key, value in network.state_dict().items())


def test_teaching_leaves_pictures_and_the_global_stream_alone() -> None:
    pictures, labels = squares(16)
    kept = pictures.copy()
    state = torch.random.get_rng_state()
    pretrain.teach(body(), pictures, labels, seen=32, seed=0)
    assert np.array_equal(pictures, kept)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_places_are_where_things_lie() -> None:
    shares = torch.zeros((1, 1, 16, 16), dtype=torch.uint8)
    shares[0, 0, 1:4, 12:15] = 2  # faint, at pixels 4-15 down and 48-59 across, of 64
    places = pretrain._places(shares, (4, 4), 16, 4)[0, 0]
    assert int(places.argmax()) == 3
    assert float(places[3, 0]) < 0.01 * float(places[0, 3])
    # Without the picture's first 8 pixels the thing lies higher, so the second row of cells sees less of it.
    moved = pretrain._places(shares[:, :, 2:], (4, 4), 16, 4)[0, 0]
    assert float(moved[1, 3]) < 0.5 * float(places[1, 3])
    assert float(pretrain._places(shares * 100, (4, 4), 16, 4).max()) == 1.0


def test_pictures_and_places_are_shifted_together() -> None:
    shares = np.zeros((2, 1, 16, 16), np.uint8)
    shares[:, 0, 9, 10] = 255
    pictures = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    pictures[:, 36:40, 40:44] = 255
    sizes = set()
    for number in range(20):
        batch, answers = pretrain._shift(pictures, shares, stream(number, "shift"))
        sizes.add(batch.shape[1:3])
        (row,), (column,) = np.nonzero(answers[0, 0])
        assert batch[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].min() == 255
        assert answers.shape[2] * 4 == batch.shape[1]
    assert len(sizes) > 5
