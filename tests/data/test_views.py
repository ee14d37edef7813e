"""A view is a pure function of the picture, the settings, the number and the digest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from citycam import seeds
from citycam.config import AugmentConfig, Fill
from citycam.data.views import (
    ViewSpec,
    assert_range,
    normalise,
    render,
    scale,
    training_spec,
    validation_spec,
    view_number,
    views,
    working_picture,
)

CONF = Path(__file__).parents[2] / "conf" / "augment"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def option(name: str) -> AugmentConfig:
    """Return an option of conf/augment."""
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    return AugmentConfig(**(values | {"fill": Fill[values["fill"]]}))


def scene(height: int = 90, width: int = 120, seed: int = 0) -> np.ndarray:
    """Return a picture with edges, gradients and noise, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width]
    picture = np.stack([down * 255 / height, across * 255 / width, ((down // 9 + across // 9) % 2) * 200], axis=2)
    return (picture + rng.integers(0, 40, picture.shape)).clip(0, 255).astype(np.uint8)


def draws(spec: ViewSpec, number: int, digest: str) -> np.random.Generator:
    return seeds.stream(json.dumps(spec.key(), sort_keys=True), number, digest)


specs = st.builds(
    ViewSpec,
    image_size=st.sampled_from([32, 48]),
    flip=st.sampled_from([0.0, 0.5, 1.0]),
    rotations=st.sampled_from([(), (5.0,), (10.0, 20.0, 40.0), (180.0,)]),
    fill=st.sampled_from(["reflect", "black"]),
    crop=st.sampled_from([1.0, 0.85, 0.1]),
    brightness=st.sampled_from([0.0, 0.1, 1.0]),
    contrast=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(spec=specs, requests=st.permutations([(number, digest) for number in range(3) for digest in "ab"]))
def test_no_order_and_no_neighbour_changes_a_view(spec: ViewSpec, requests: list[tuple[int, str]]) -> None:
    pictures = {"a": scene(), "b": scene(33, 200, 1)}
    together = {(number, digest): render(pictures[digest], spec, number, digest) for number, digest in requests}
    for (number, digest), view in together.items():
        assert view.shape == (spec.image_size, spec.image_size, 3)
        assert view.dtype == np.uint8
        assert view.flags.c_contiguous
        assert (view == render(pictures[digest].copy(), dataclasses.replace(spec), number, digest)).all()
    assert (pictures["a"] == scene()).all()


def test_another_process_renders_the_same_bytes() -> None:
    code = (
        "import hashlib; from tests.data.test_views import *; "
        "print([hashlib.sha256(render(scene(), training_spec(option(o), 64), 3, 'd')).hexdigest() "
        "for o in ('default', 'paper', 'none')])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CONF.parents[1]
    )
    here = [render(scene(), training_spec(option(name), 64), 3, "d") for name in ("default", "paper", "none")]
    assert printed.stdout.strip() == str([hashlib.sha256(view).hexdigest() for view in here])


def test_everything_in_the_key_changes_the_draws() -> None:
    spec = training_spec(option("default"), 64)
    view = render(scene(), spec, 0, "d")
    assert (view != render(scene(), spec, 1, "d")).any()
    assert (view != render(scene(), spec, 0, "e")).any()
    assert (view != render(scene(), dataclasses.replace(spec, seed=1), 0, "d")).any()
    assert set(spec.key()) == {field.name for field in dataclasses.fields(ViewSpec)} | {"recipe"}
    assert json.loads(json.dumps(spec.key())) == spec.key()


def test_a_plain_view_is_a_plain_resize() -> None:
    expected = np.asarray(Image.fromarray(scene()).resize((48, 48), Image.Resampling.BILINEAR))
    assert (render(scene(), ViewSpec(48), 7, "d") == expected).all()
    assert (render(scene(64, 64), ViewSpec(64), 0, "d") == scene(64, 64)).all()


def test_the_papers_transform_against_torchvision() -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    spec = training_spec(option("paper"), 64)
    for number in range(8):
        draw = draws(spec, number, "d")
        draw.uniform(1.0, 1.0), draw.random(2)
        image = functional.resize(Image.fromarray(scene()), [64, 64])
        if draw.random() < 0.5:
            image = functional.hflip(image)
        for degrees in (10.0, 20.0, 40.0):
            image = functional.rotate(image, draw.uniform(-degrees, degrees))
        assert (render(scene(), spec, number, "d") == np.asarray(image)).all()


def turned(picture: np.ndarray, degrees: float, *, nearest: bool) -> np.ndarray:
    """Rotate counter-clockwise about the centre, pixel by pixel. Outside: black (nearest) or mirrored (bilinear)."""
    size = len(picture)
    result = np.zeros(picture.shape)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    for row in range(size):
        for column in range(size):
            x, y = column + 0.5 - size / 2, row + 0.5 - size / 2
            across, down = cosine * x - sine * y + size / 2, sine * x + cosine * y + size / 2
            if nearest:
                if 0 <= across < size and 0 <= down < size:
                    result[row, column] = picture[int(down), int(across)]
                continue
            left, top = math.floor(across - 0.5), math.floor(down - 0.5)
            for r, share in ((top, 1 - (down - 0.5 - top)), (top + 1, down - 0.5 - top)):
                for c, part in ((left, 1 - (across - 0.5 - left)), (left + 1, across - 0.5 - left)):
                    result[row, column] += share * part * picture[mirrored(r, size), mirrored(c, size)]
    return result


def test_crop_flip_and_rotation_in_one_step_against_a_slow_reference() -> None:
    spec = ViewSpec(40, flip=1.0, rotations=(30.0, 15.0), crop=0.7)
    draw = draws(spec, 3, "d")
    share = draw.uniform(0.7, 1.0)
    left, top = draw.random(2) * (1.0 - share)
    draw.random()
    angle = math.radians(draw.uniform(-30, 30) + draw.uniform(-15, 15))
    working = working_picture(scene(), spec)
    side = len(working)
    assert side == math.ceil(40 / math.sqrt(0.7))
    padded = np.pad(working.astype(float), ((side - 1, side - 1), (side - 1, side - 1), (0, 0)), mode="reflect")
    expected = np.zeros((40, 40, 3))
    for row in range(40):
        for column in range(40):
            x, y = column + 0.5 - 20, row + 0.5 - 20
            # Invert the rotation, the flip and the crop to find the pixel of the working picture.
            across = -(math.cos(angle) * x - math.sin(angle) * y) * share / 40 + left + share / 2
            down = (math.sin(angle) * x + math.cos(angle) * y) * share / 40 + top + share / 2
            c, r = across * side - 0.5 + side - 1, down * side - 0.5 + side - 1
            ci, ri = math.floor(c), math.floor(r)
            block = padded[ri : ri + 2, ci : ci + 2]
            down_shares, across_shares = np.array([1 - (r - ri), r - ri]), np.array([1 - (c - ci), c - ci])
            expected[row, column] = np.einsum("i,j,ijk", down_shares, across_shares, block)
    assert (np.abs(render(scene(), spec, 3, "d") - expected).max(axis=2) <= 1.01).mean() > 0.999


@pytest.mark.parametrize("name", ["default", "paper", "none"])
def test_views_made_together_are_those_made_alone(name: str) -> None:
    spec = training_spec(option(name), 64)
    together = views(working_picture(scene(), spec), spec, range(4), "d")
    assert (together == np.stack([render(scene(), spec, number, "d") for number in range(4)])).all()
    assert together.shape == (4, 64, 64, 3)


def mirrored(position: int, size: int) -> int:
    position = abs(position)
    return position if position < size else 2 * size - 2 - position


@pytest.mark.parametrize("fill", ["black", "reflect"])
@pytest.mark.parametrize("most", [5.0, 40.0, 180.0])
def test_rotation_against_a_slow_reference(fill: str, most: float) -> None:
    spec = ViewSpec(48, rotations=(most,), fill=fill)
    draw = draws(spec, 2, "d")
    draw.uniform(1.0, 1.0), draw.random(2), draw.random()
    angle = draw.uniform(-most, most)
    expected = turned(render(scene(), ViewSpec(48), 0, "d"), angle, nearest=fill == "black")
    view = render(scene(), spec, 2, "d")
    close = np.abs(view - expected).max(axis=2) <= (0 if fill == "black" else 1.01)
    # Pillow rotates with 16 binary places; nearest neighbours differ if a pixel falls on an edge.
    assert close.mean() > (0.99 if fill == "black" else 0.9999)


def test_brightness_and_contrast_against_float64() -> None:
    spec = ViewSpec(48, brightness=0.3, contrast=0.4)
    draw = draws(spec, 1, "d")
    draw.uniform(1.0, 1.0), draw.random(2), draw.random()
    brightness, contrast = draw.uniform(0.7, 1.3), draw.uniform(0.6, 1.4)
    plain = render(scene(), ViewSpec(48), 0, "d").astype(float)
    grey = (plain @ [0.299, 0.587, 0.114]).mean() * brightness
    expected = np.clip(grey + (plain * brightness - grey) * contrast, 0, 255)
    assert np.abs(render(scene(), spec, 1, "d") - expected).max() < 1.2


def test_crops_keep_at_least_their_share() -> None:
    # A horizontal ramp tells which part of the width is seen.
    ramp = np.repeat(np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 200, axis=0), 3, axis=2)
    widths = []
    for number in range(200):
        view = render(ramp, ViewSpec(32, crop=0.6), number, "d")[16, :, 0].astype(float)
        widths.append((view[-2] - view[1]) / 29 * 32 / 200)
    assert 0.58 < min(widths) < 0.66
    assert 0.94 < max(widths) < 1.02


def test_half_of_the_views_are_flipped() -> None:
    spec = ViewSpec(32, flip=0.5)
    plain = render(scene(), ViewSpec(32), 0, "d")
    flips = sum((render(scene(), spec, number, "d") == plain[:, ::-1]).all() for number in range(400))
    assert 160 < flips < 240


def test_the_shipped_options() -> None:
    paper, default, none = option("paper"), option("default"), option("none")
    assert (paper.flip, paper.rotations, paper.fill, paper.validation) == (0.5, [10, 20, 40], Fill.black, True)
    assert validation_spec(paper, 64) == training_spec(paper, 64)
    assert (default.rotations, default.fill, default.validation) == ([5], Fill.reflect, False)
    assert validation_spec(default, 64) == training_spec(none, 64) == validation_spec(none, 64) == ViewSpec(64)
    assert not training_spec(default, 64).deterministic


def test_no_black_corners_by_default() -> None:
    white = np.full((80, 80, 3), 255, dtype=np.uint8)
    spec = dataclasses.replace(training_spec(option("default"), 64), brightness=0.0, contrast=0.0)
    assert all((render(white, spec, number, "d") == 255).all() for number in range(20))


def test_view_numbers() -> None:
    default, paper, none = option("default"), option("paper"), option("none")
    assert [view_number(default, epoch, True) for epoch in range(4)] == [0, 1, 2, 3]
    assert [view_number(default, epoch, False) for epoch in range(4)] == [0, 0, 0, 0]
    assert [view_number(paper, epoch, False) for epoch in range(4)] == [0, 1, 2, 3]
    assert [view_number(none, epoch, True) for epoch in range(4)] == [0, 0, 0, 0]
    assert [view_number(dataclasses.replace(default, views=2), epoch, True) for epoch in range(4)] == [0, 1, 0, 1]


def test_plain_views_do_not_depend_on_the_seed() -> None:
    assert training_spec(dataclasses.replace(option("none"), seed=5), 64) == ViewSpec(64)
    assert training_spec(dataclasses.replace(option("default"), seed=5), 64).seed == 5


def test_normalise_against_float64() -> None:
    torch = pytest.importorskip("torch")
    batch = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    expected = ((batch / 255.0 - MEAN) / STD).transpose(0, 3, 1, 2)
    tensor = torch.from_numpy(batch)
    result = normalise(tensor, MEAN, STD)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1e-6)
    assert torch.equal(result, normalise(tensor.permute(0, 3, 1, 2), MEAN, STD))
    assert torch.equal(result[1:2], normalise(tensor[1:2], MEAN, STD))
    assert torch.equal(tensor, torch.from_numpy(batch))


def test_the_range_is_checked() -> None:
    torch = pytest.importorskip("torch")
    batch = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    assert_range(scale(batch))
    assert_range(torch.zeros(2, 3, 4, 4))
    for wrong, sentence in (
        (batch, "not scaled to 0-1"),
        (batch.float(), "they must be scaled to 0-1"),
        (normalise(batch, MEAN, STD), "they must be scaled to 0-1"),
        (scale(batch) / 255, "scaled to 0-1 twice"),
        (torch.full((1, 3, 4, 4), math.nan), "they must be scaled to 0-1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            assert_range(wrong)
    with pytest.raises(ValueError, match="uint8 with 4 dimensions"):
        scale(batch.float())
