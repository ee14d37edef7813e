"""Views: what the network sees of a picture. A pure function of the picture, its digest, the settings and a number.

No batch, worker, order, process or run changes a view: its random draws come from a stream named by the settings, the
view's number and the digest of the picture's bytes (`citycam.seeds`).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from citycam import seeds
from citycam.config import AugmentConfig, Fill

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """How views are made. ``rotations``: maximal degrees, one rotation after the other. ``crop``: smallest share of the
    sides kept. ``brightness``, ``contrast``: factors lie within 1 ± this. ``seed``: of the random draws, 0 where there
    are none."""

    image_size: int
    decoder: str = "pillow"
    flip: float = 0.0
    rotations: tuple[float, ...] = ()
    fill: str = Fill.reflect.name
    crop: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    seed: int = 0

    @property
    def deterministic(self) -> bool:
        """Whether all views of a picture are equal."""
        return (self.flip, self.rotations, self.crop, self.brightness, self.contrast) == (0.0, (), 1.0, 0.0, 0.0)

    def key(self) -> dict[str, Any]:
        """Everything that changes pixels, as plain values for cache keys."""
        return dataclasses.asdict(self) | {"rotations": list(self.rotations)}


def training_spec(config: AugmentConfig, image_size: int) -> ViewSpec:
    """Views for training."""
    spec = ViewSpec(
        image_size=image_size,
        flip=config.flip,
        rotations=tuple(degrees for degrees in config.rotations if degrees > 0),
        fill=config.fill.name if any(config.rotations) else Fill.reflect.name,
        crop=config.crop,
        brightness=config.brightness,
        contrast=config.contrast,
    )
    return spec if spec.deterministic else dataclasses.replace(spec, seed=config.seed)


def validation_spec(config: AugmentConfig, image_size: int) -> ViewSpec:
    """Views for validation: the plain resized picture, unless ``config.validation`` asks for training's."""
    return training_spec(config, image_size) if config.validation else ViewSpec(image_size=image_size)


def view_number(config: AugmentConfig, epoch: int, training: bool) -> int:
    """The number of the view shown in ``epoch`` (from 0): 0 where all views are equal, else the epoch, modulo
    ``config.views`` where that is set."""
    spec = training_spec(config, 1) if training else validation_spec(config, 1)
    if spec.deterministic:
        return 0
    return epoch if config.views is None else epoch % config.views


def render(picture: np.ndarray, spec: ViewSpec, number: int, digest: str) -> np.ndarray:
    """One view: crop and resize (antialiased bilinear, to a square whatever the sides were), flip, rotate, brightness
    and contrast.

    Args:
        picture: uint8 (H, W, 3), RGB.
        spec: how.
        number: which of the picture's views, from 0.
        digest: of the picture's bytes; names its random draws.

    Returns:
        uint8 (S, S, 3), C-contiguous, S = ``spec.image_size``.
    """
    image = Image.fromarray(picture)
    size = (spec.image_size, spec.image_size)
    if spec.deterministic:
        return np.array(image.resize(size, Image.Resampling.BILINEAR))
    draw = seeds.stream(_stream_name(spec), number, digest)
    image = image.resize(size, Image.Resampling.BILINEAR, box=_crop_box(image.size, spec.crop, draw))
    if draw.random() < spec.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for degrees in spec.rotations:
        image = _rotate(image, draw.uniform(-degrees, degrees), spec.fill)
    return _relight(image, spec, draw)


def scale(batch: torch.Tensor) -> torch.Tensor:
    """uint8 (B, S, S, 3) or (B, 3, S, S), 0-255, as float32 (B, 3, S, S) in 0-1."""
    import torch

    if batch.dtype != torch.uint8 or batch.ndim != 4:
        raise ValueError(f"a batch of views is uint8 with 4 dimensions, not {batch.dtype} with {batch.ndim}")
    if batch.shape[1] != 3:
        batch = batch.permute(0, 3, 1, 2)
    return batch.to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)


def normalise(batch: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Scale to 0-1, then (x - mean) / std per channel. Element by element, so that no result depends on the batch.

    Args:
        batch: uint8 (B, S, S, 3) or (B, 3, S, S), 0-255, on any device.
        mean: of the three channels, in 0-1.
        std: of the three channels, in 0-1.

    Returns:
        float32 (B, 3, S, S), contiguous.
    """
    scaled = scale(batch)
    shift = scaled.new_tensor(mean).view(1, 3, 1, 1)
    return scaled.sub_(shift).div_(scaled.new_tensor(std).view(1, 3, 1, 1))


def assert_range(scaled: torch.Tensor) -> None:
    """Hold that pictures were scaled to 0-1, once.

    Raises:
        ValueError: values lie outside 0-1 (never scaled), are not finite, or all lie within 1/255 (scaled twice).
    """
    if not scaled.is_floating_point():
        raise ValueError(f"pictures of dtype {scaled.dtype} were not scaled to 0-1 before normalisation")
    least, most = float(scaled.min()), float(scaled.max())
    if not (0.0 <= least <= most <= 1.0):
        raise ValueError(f"pictures hold values from {least:g} to {most:g}; they must be scaled to 0-1")
    if 0.0 < most < 1.5 / 255.0:
        raise ValueError(f"pictures hold no value above {most:g}; they look scaled to 0-1 twice")


@functools.lru_cache(maxsize=16)
def _stream_name(spec: ViewSpec) -> str:
    return json.dumps(spec.key(), sort_keys=True)


def _crop_box(size: tuple[int, int], least: float, draw: np.random.Generator) -> tuple[float, float, float, float]:
    width, height = size
    share = draw.uniform(least, 1.0)
    left, top = draw.random(2) * (1.0 - share)
    # Rounding must not push the box a hair over the edge, which Pillow refuses.
    return left * width, top * height, min((left + share) * width, width), min((top + share) * height, height)


def _rotate(image: Image.Image, degrees: float, fill: str) -> Image.Image:
    """Counter-clockwise about the centre. ``black``: nearest neighbour and black corners, torchvision's default
    (the papers' transform); ``reflect``: bilinear and mirrored corners, since black ones are a giveaway."""
    if fill == Fill.black.name:
        return image.rotate(degrees, Image.Resampling.NEAREST)
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    half = image.width / 2
    margin = math.ceil(half * (abs(cosine) + abs(sine) - 1.0)) + 1
    padded = Image.fromarray(np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
    centre = half + margin
    across, down = centre - half * (cosine - sine), centre - half * (sine + cosine)
    return padded.transform(
        image.size,
        Image.Transform.AFFINE,
        (cosine, -sine, across, sine, cosine, down),
        Image.Resampling.BILINEAR,
    )


def _relight(image: Image.Image, spec: ViewSpec, draw: np.random.Generator) -> np.ndarray:
    """Brightness times a factor, then contrast times a factor about the mean grey; rounded once."""
    if spec.brightness == 0.0 and spec.contrast == 0.0:
        return np.array(image)
    brightness = draw.uniform(1.0 - spec.brightness, 1.0 + spec.brightness)
    contrast = draw.uniform(1.0 - spec.contrast, 1.0 + spec.contrast)
    levels = np.arange(256)
    counts = np.array(image.convert("L").histogram())
    grey = brightness * float(counts @ levels) / float(counts.sum())
    table = grey + (brightness * levels - grey) * contrast
    return np.take(np.rint(table).clip(0, 255).astype(np.uint8), np.asarray(image))
