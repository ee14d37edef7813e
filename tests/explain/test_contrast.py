"""Finer-CAM contrasts the explained class with the classes closest to it, whatever the target reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from citycam.explain.maps import explain
from citycam.explain.tail import Tail
from citycam.explain.targets import Difference, LogitTarget, Negative
from tests.explain.tails import B, C, H, W, make_activations, mean_pool


def five_classes() -> tuple[Tail, Tensor]:
    """A tail of five classes whose logits are about 4, 0.5, 3, 1 and 8, whatever the picture."""
    torch.manual_seed(0)
    head = nn.Linear(C, 5)
    with torch.no_grad():
        head.weight.mul_(0.01)
        head.bias.copy_(torch.tensor([4.0, 0.5, 3.0, 1.0, 8.0]))
    return Tail(mean_pool, head, pool_kind="mean"), make_activations()


@pytest.mark.parametrize(
    ("target", "factors"),
    [
        # Minus 0.6 of the mean of the three closest logits: 3, 1 and 0.5.
        (LogitTarget(0), [1, -0.2, -0.2, -0.2, 0]),
        (LogitTarget(4), [-0.2, 0, -0.2, -0.2, 1]),
        (Negative(4), [0.2, 0, 0.2, 0.2, -1]),
        # The other of a difference is subtracted once, and is none of the three.
        (Difference(4, 0), [-1, -0.2, -0.2, -0.2, 1]),
        (Difference(1, 4), [-0.2, 1, -0.2, -0.2, -1]),
    ],
)
def test_finercam_contrasts_with_the_classes_closest_to_the_explained_one(
    target: LogitTarget | Negative | Difference, factors: list[float]
) -> None:
    tail, activations = five_classes()
    maps = explain("finercam", tail, activations, [target] * B).raw
    direction = torch.tensor(factors) @ tail.head.weight.detach()
    expected = torch.einsum("c,bchw->bhw", direction, activations).numpy() / (H * W)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-7)


def test_equal_logits_do_not_take_the_place_of_the_explained_one() -> None:
    tail, activations = five_classes()
    with torch.no_grad():
        tail.head.weight[0] = tail.head.weight[2]
        tail.head.bias[0] = tail.head.bias[2]
    maps = [explain("finercam", tail, activations, [LogitTarget(index)] * B).raw for index in (0, 2)]
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-5)
    weights = tail.head.weight.detach()
    direction = weights[2] - 0.2 * (weights[0] + weights[1] + weights[3])
    expected = torch.einsum("c,bchw->bhw", direction, activations).numpy() / (H * W)
    np.testing.assert_allclose(maps[1], expected, rtol=1e-4, atol=1e-7)


def test_finercam_of_one_logit_is_gradcam() -> None:
    tail, activations = Tail(mean_pool, nn.Linear(C, 1), pool_kind="mean"), make_activations()
    for target in (LogitTarget(0), Negative(0)):
        finer, plain = (explain(name, tail, activations, [target] * B).raw for name in ("finercam", "gradcam"))
        np.testing.assert_allclose(finer, plain, atol=1e-6)
