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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from citycam import seeds
from citycam.config import AugmentConfig, Decoder, Fill
from citycam.data.pictures import decode

if TYPE_CHECKING:
    import torch

# A new number for a new way of making views from the same settings: features of the old ones are not taken for theirs.
_RECIPE = 2
_LEVELS = np.arange(256)


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
        return dataclasses.asdict(self) | {"rotations": list(self.rotations), "recipe": _RECIPE}


def training_spec(config: AugmentConfig, image_size: int, decoder: Decoder = Decoder.pillow) -> ViewSpec:
    """Views for training."""
    spec = ViewSpec(
        image_size=image_size,
        decoder=decoder.name,
        flip=config.flip,
        rotations=tuple(degrees for degrees in config.rotations if degrees > 0),
        fill=config.fill.name if any(config.rotations) else Fill.reflect.name,
        crop=config.crop,
        brightness=config.brightness,
        contrast=config.contrast,
    )
    return spec if spec.deterministic else dataclasses.replace(spec, seed=config.seed)


def validation_spec(config: AugmentConfig, image_size: int, decoder: Decoder = Decoder.pillow) -> ViewSpec:
    """Views for validation: the plain resized picture, unless ``config.validation`` asks for training's."""
    return training_spec(config, image_size, decoder) if config.validation else plain_spec(image_size, decoder)


def plain_spec(image_size: int, decoder: Decoder = Decoder.pillow) -> ViewSpec:
    """The plain resized picture: what is explained."""
    return ViewSpec(image_size=image_size, decoder=decoder.name)


def view_number(config: AugmentConfig, epoch: int, training: bool) -> int:
    """The number of the view shown in ``epoch`` (from 0): 0 where all views are equal, else the epoch, modulo
    ``config.views`` where that is set."""
    spec = training_spec(config, 1) if training else validation_spec(config, 1)
    if spec.deterministic:
        return 0
    return epoch if config.views is None else epoch % config.views


def open_working(path: Path, spec: ViewSpec) -> np.ndarray:
    """The `working_picture` of a file.

    Raises:
        UnreadablePicture: see `citycam.data.pictures.decode`.
    """
    return working_picture(decode(path, at_least=working_size(spec) if spec.decoder == "draft" else None), spec)


def render(picture: np.ndarray, spec: ViewSpec, number: int, digest: str) -> np.ndarray:
    """One view of a decoded picture, uint8 (S, S, 3); see `views`, which makes several at the cost of one resize."""
    view: np.ndarray = views(working_picture(picture, spec), spec, [number], digest)[0]
    return view


def working_size(spec: ViewSpec) -> int:
    """Side of the square from which views are cut: between the sizes at which the smallest crop would lose nothing and
    the largest none too many pixels."""
    return math.ceil(spec.image_size / math.sqrt(spec.crop))


def working_picture(picture: np.ndarray, spec: ViewSpec) -> np.ndarray:
    """The square from which all views of a picture are cut: antialiased bilinear, whatever the sides were.

    Args:
        picture: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (W, W, 3), C-contiguous, W = `working_size`.
    """
    side = working_size(spec)
    return np.array(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))


def views(working: np.ndarray, spec: ViewSpec, numbers: Sequence[int], digest: str) -> np.ndarray:
    """Views of one picture: crop, flip and rotation in one bilinear step, then brightness and contrast.

    Args:
        working: uint8 (W, W, 3), see `working_picture`.
        spec: how.
        numbers: which of the picture's views, from 0.
        digest: of the picture's bytes; names its random draws.

    Returns:
        uint8 (n, S, S, 3), C-contiguous, S = ``spec.image_size``.
    """
    if spec.deterministic:
        return np.repeat(working[None], len(numbers), axis=0)
    # Pictures that are turned need something beyond their edges; reflected, because black corners are a giveaway.
    margin = 0 if spec.fill == Fill.black.name else _margin(spec)
    padded = np.pad(working, ((margin, margin), (margin, margin), (0, 0)), mode="reflect") if margin else working
    source = Image.fromarray(padded)
    made = np.empty((len(numbers), spec.image_size, spec.image_size, 3), dtype=np.uint8)
    for place, number in enumerate(numbers):
        draw = seeds.stream(_stream_name(spec), number, digest)
        made[place] = _relight(_one(source, margin, spec, draw), spec, draw)
    return made


def scale(batch: torch.Tensor) -> torch.Tensor:
    """uint8 (B, S, S, 3) or (B, 3, S, S), 0-255, as float32 (B, 3, S, S) in 0-1; the order in memory stays."""
    import torch

    if batch.dtype != torch.uint8 or batch.ndim != 4:
        raise ValueError(f"a batch of views is uint8 with 4 dimensions, not {batch.dtype} with {batch.ndim}")
    if batch.shape[1] != 3:
        batch = batch.permute(0, 3, 1, 2)
    return batch.to(torch.float32).div_(255.0)


def normalise(batch: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Scale to 0-1, then (x - mean) / std per channel. Element by element, so that no result depends on the batch.

    Args:
        batch: uint8 (B, S, S, 3) or (B, 3, S, S), 0-255, on any device.
        mean: of the three channels, in 0-1.
        std: of the three channels, in 0-1.

    Returns:
        float32 (B, 3, S, S), in memory as ``batch`` was: of (B, S, S, 3) it is channels last.
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


def _one(source: Image.Image, margin: int, spec: ViewSpec, draw: np.random.Generator) -> Image.Image:
    side = source.width - 2 * margin
    share = draw.uniform(spec.crop, 1.0)
    left, top = draw.random(2) * (1.0 - share)
    flipped = draw.random() < spec.flip
    angles = [draw.uniform(-degrees, degrees) for degrees in spec.rotations]
    size = (spec.image_size, spec.image_size)
    if spec.fill == Fill.black.name:
        # Rounding must not push the box a hair over the edge, which Pillow refuses.
        box = (left * side, top * side, min((left + share) * side, side), min((top + share) * side, side))
        return _blackened(source.resize(size, Image.Resampling.BILINEAR, box=box), flipped, angles)
    middle = (margin + (left + share / 2) * side, margin + (top + share / 2) * side)
    matrix = _affine(spec.image_size, middle, share * side / spec.image_size, flipped, sum(angles))
    return source.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _blackened(view: Image.Image, flipped: bool, angles: Sequence[float]) -> Image.Image:
    """Flip, then rotations counter-clockwise one after the other by the nearest pixel, corners black: the published
    transform, by torchvision's defaults."""
    if flipped:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for degrees in angles:
        view = view.rotate(degrees, Image.Resampling.NEAREST)
    return view


def _margin(spec: ViewSpec) -> int:
    """Pixels beyond the edge that the largest turn reaches; several rotations add up."""
    angle = math.radians(min(sum(spec.rotations), 45.0))
    return math.ceil(working_size(spec) / 2 * (math.cos(angle) + math.sin(angle) - 1.0)) + 1


def _affine(
    size: int, middle: tuple[float, float], scale: float, flipped: bool, degrees: float
) -> tuple[float, float, float, float, float, float]:
    """Pillow's matrix from the view's pixels to the source's: turned counter-clockwise by ``degrees``, mirrored,
    scaled by ``scale``, with the view's middle at ``middle``."""
    cosine, sine = math.cos(math.radians(degrees)) * scale, math.sin(math.radians(degrees)) * scale
    mirror = -1.0 if flipped else 1.0
    a, b, d, e = mirror * cosine, mirror * -sine, sine, cosine
    half = size / 2
    return a, b, middle[0] - half * (a + b), d, e, middle[1] - half * (d + e)


def _relight(view: Image.Image, spec: ViewSpec, draw: np.random.Generator) -> np.ndarray:
    """Brightness times a factor, then contrast times a factor about the mean grey; rounded once."""
    if spec.brightness == 0.0 and spec.contrast == 0.0:
        return np.asarray(view)
    brightness = draw.uniform(1.0 - spec.brightness, 1.0 + spec.brightness)
    contrast = draw.uniform(1.0 - spec.contrast, 1.0 + spec.contrast)
    counts = np.array(view.convert("L").histogram())
    grey = brightness * float(counts @ _LEVELS) / float(counts.sum())
    table = grey + (brightness * _LEVELS - grey) * contrast
    return np.take(np.rint(table).clip(0, 255).astype(np.uint8), np.asarray(view))
