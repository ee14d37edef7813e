"""Views: what the network sees of a picture; a pure function of the picture, its digest, the settings and a number.

A view does not depend on batch, worker, order, process or run: its random draws come from a stream named by the
settings, the view's number and the digest of the picture's bytes (`citycam.seeds`).
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

# Increase it with every change of the views that the same settings give, so that no features of older views are used.
_RECIPE = 2
_LEVELS = np.arange(256)


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """The settings of views.

    Attributes:
        image_size: S, the side of a view in pixels.
        decoder: ``pillow`` or ``draft``.
        flip: probability of a horizontal flip.
        rotations: maximal degrees, one rotation after the other.
        fill: what a rotation brings into the corners, ``reflect`` or ``black``.
        crop: smallest share of the sides kept.
        brightness, contrast: factors lie within 1 ± this.
        seed: of the random draws; 0 if there are none.
    """

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
        """Whether all views of a picture are the same."""
        return (self.flip, self.rotations, self.crop, self.brightness, self.contrast) == (0.0, (), 1.0, 0.0, 0.0)

    def key(self) -> dict[str, Any]:
        """Return everything that changes pixels, as plain values for cache keys."""
        return dataclasses.asdict(self) | {"rotations": list(self.rotations), "recipe": _RECIPE}


def training_spec(config: AugmentConfig, image_size: int, decoder: Decoder = Decoder.pillow) -> ViewSpec:
    """Return the settings of training views."""
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
    """Return the settings of validation views: the plain resized picture, or with ``config.validation`` training's."""
    return training_spec(config, image_size, decoder) if config.validation else plain_spec(image_size, decoder)


def plain_spec(image_size: int, decoder: Decoder = Decoder.pillow) -> ViewSpec:
    """Return the settings of the plain resized picture, which maps explain."""
    return ViewSpec(image_size=image_size, decoder=decoder.name)


def view_number(config: AugmentConfig, epoch: int, training: bool) -> int:
    """Return the number of the view shown in ``epoch`` (from 0).

    It is 0 if all views are the same, else the epoch, modulo ``config.views`` if that is set.
    """
    spec = training_spec(config, 1) if training else validation_spec(config, 1)
    if spec.deterministic:
        return 0
    return epoch if config.views is None else epoch % config.views


def open_working(path: Path, spec: ViewSpec) -> np.ndarray:
    """Return the `working_picture` of a file.

    Raises:
        UnreadablePicture: see `citycam.data.pictures.decode`.
    """
    return working_picture(decode(path, at_least=working_size(spec) if spec.decoder == "draft" else None), spec)


def render(picture: np.ndarray, spec: ViewSpec, number: int, digest: str) -> np.ndarray:
    """Return one view of a decoded picture, uint8 (S, S, 3); `views` makes several with a single resize."""
    view: np.ndarray = views(working_picture(picture, spec), spec, [number], digest)[0]
    return view


def working_size(spec: ViewSpec) -> int:
    """Return the side of the square from which views are cut, W = S / √crop.

    It lies between the size at which the smallest crop loses no pixels and that at which the largest has none to spare.
    """
    return math.ceil(spec.image_size / math.sqrt(spec.crop))


def working_picture(picture: np.ndarray, spec: ViewSpec) -> np.ndarray:
    """Return the square from which all views of a picture are cut: bilinear, antialiased, of any aspect ratio.

    Args:
        picture: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (W, W, 3), C-contiguous, W = `working_size`.
    """
    side = working_size(spec)
    return np.array(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))


def views(working: np.ndarray, spec: ViewSpec, numbers: Sequence[int], digest: str) -> np.ndarray:
    """Return views of one picture: crop, flip and rotation in one bilinear step, then brightness and contrast.

    Args:
        working: uint8 (W, W, 3), see `working_picture`.
        spec: the settings of the views.
        numbers: of the views, from 0.
        digest: of the picture's bytes; it names the random draws.

    Returns:
        uint8 (n, S, S, 3), C-contiguous, S = ``spec.image_size``.
    """
    if spec.deterministic:
        return np.repeat(working[None], len(numbers), axis=0)
    # A rotation needs pixels beyond the edges: reflected ones, because a network can recognise black corners.
    margin = 0 if spec.fill == Fill.black.name else _margin(spec)
    padded = np.pad(working, ((margin, margin), (margin, margin), (0, 0)), mode="reflect") if margin else working
    source = Image.fromarray(padded)
    made = np.empty((len(numbers), spec.image_size, spec.image_size, 3), dtype=np.uint8)
    for place, number in enumerate(numbers):
        draw = seeds.stream(_stream_name(spec), number, digest)
        made[place] = _relight(_one(source, margin, spec, draw), spec, draw)
    return made


def scale(batch: torch.Tensor) -> torch.Tensor:
    """Convert uint8 (B, S, S, 3) or (B, 3, S, S), 0-255, to float32 (B, 3, S, S), 0-1; the memory format stays."""
    import torch

    if batch.dtype != torch.uint8 or batch.ndim != 4:
        raise ValueError(f"a batch of views is uint8 with 4 dimensions, not {batch.dtype} with {batch.ndim}")
    if batch.shape[1] != 3:
        batch = batch.permute(0, 3, 1, 2)
    return batch.to(torch.float32).div_(255.0)


def normalise(batch: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Scale to 0-1, then (x - mean) / std per channel; element by element, so that no result depends on the batch.

    Args:
        batch: uint8 (B, S, S, 3) or (B, 3, S, S), 0-255, on any device.
        mean: of the three channels, in 0-1.
        std: of the three channels, in 0-1.

    Returns:
        float32 (B, 3, S, S) in the memory format of ``batch``: channels last if that was (B, S, S, 3).
    """
    scaled = scale(batch)
    shift = scaled.new_tensor(mean).view(1, 3, 1, 1)
    return scaled.sub_(shift).div_(scaled.new_tensor(std).view(1, 3, 1, 1))


def assert_range(scaled: torch.Tensor) -> None:
    """Check that pictures were scaled to 0-1, and only once.

    Raises:
        ValueError: values lie outside 0-1 (never scaled), are not finite, or all lie below 1.5 / 255 (scaled twice).
    """
    if not scaled.is_floating_point():
        raise ValueError(f"pictures of dtype {scaled.dtype} were not scaled to 0-1 before normalisation")
    least, most = float(scaled.min()), float(scaled.max())
    if not (0.0 <= least <= most <= 1.0):
        raise ValueError(f"pictures have values from {least:g} to {most:g}; they must be scaled to 0-1")
    if 0.0 < most < 1.5 / 255.0:
        raise ValueError(f"pictures have no value above {most:g}; they look scaled to 0-1 twice")


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
        # Rounding must not push the box over the edge, which Pillow refuses.
        box = (left * side, top * side, min((left + share) * side, side), min((top + share) * side, side))
        return _blackened(source.resize(size, Image.Resampling.BILINEAR, box=box), flipped, angles)
    middle = (margin + (left + share / 2) * side, margin + (top + share / 2) * side)
    matrix = _affine(spec.image_size, middle, share * side / spec.image_size, flipped, sum(angles))
    return source.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _blackened(view: Image.Image, flipped: bool, angles: Sequence[float]) -> Image.Image:
    """Flip, then rotate counter-clockwise by one angle after the other, nearest pixel, black corners.

    This is the published transform with torchvision's defaults.
    """
    if flipped:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for degrees in angles:
        view = view.rotate(degrees, Image.Resampling.NEAREST)
    return view


def _margin(spec: ViewSpec) -> int:
    """Return how many pixels beyond the edge the largest rotation reaches; several rotations add up."""
    angle = math.radians(min(sum(spec.rotations), 45.0))
    return math.ceil(working_size(spec) / 2 * (math.cos(angle) + math.sin(angle) - 1.0)) + 1


def _affine(
    size: int, middle: tuple[float, float], scale: float, flipped: bool, degrees: float
) -> tuple[float, float, float, float, float, float]:
    """Return Pillow's matrix from the view's pixels to the source's.

    The view is rotated counter-clockwise by ``degrees``, mirrored, and scaled by ``scale``, with its middle at
    ``middle``.
    """
    cosine, sine = math.cos(math.radians(degrees)) * scale, math.sin(math.radians(degrees)) * scale
    mirror = -1.0 if flipped else 1.0
    a, b, d, e = mirror * cosine, mirror * -sine, sine, cosine
    half = size / 2
    return a, b, middle[0] - half * (a + b), d, e, middle[1] - half * (d + e)


def _relight(view: Image.Image, spec: ViewSpec, draw: np.random.Generator) -> np.ndarray:
    """Multiply brightness, then contrast about the mean grey, by a random factor each; round once."""
    if spec.brightness == 0.0 and spec.contrast == 0.0:
        return np.asarray(view)
    brightness = draw.uniform(1.0 - spec.brightness, 1.0 + spec.brightness)
    contrast = draw.uniform(1.0 - spec.contrast, 1.0 + spec.contrast)
    counts = np.array(view.convert("L").histogram())
    grey = brightness * float(counts @ _LEVELS) / float(counts.sum())
    table = grey + (brightness * _LEVELS - grey) * contrast
    return np.take(np.rint(table).clip(0, 255).astype(np.uint8), np.asarray(view))
