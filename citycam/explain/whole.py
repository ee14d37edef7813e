"""Methods that pass whole pictures through the whole network, registered by name, and the frame that makes their maps.

Cells of the last layer see nearly the whole picture, so methods that read them alone cannot say where the cause is.
These methods change the picture itself and look at what the network answers. Each needs several passes of a picture.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from citycam.cells import CellGrid
from citycam.explain.evaluation import Array, differentiate, to_numpy
from citycam.explain.integrated import BASELINES, blurred, box_of, integrated_gradients
from citycam.explain.maps import Maps, path_gap
from citycam.explain.targets import Target, target_values
from citycam.explain_config import ExplainConfig
from citycam.words import counted

# Cells along a side of a map by occlusion; a patch is as wide as two of them.
_PATCHES = 8
# A backward pass takes about twice as long as the forward pass before it.
_BACKWARD = 2
# Pictures of 224 pixels in a pass, so that what a backward pass needs of a ResNet50 takes 2 GB; and the most of any.
_CHUNK, _MOST = 16, 32
_TRIAL = 8


@dataclass(frozen=True, slots=True)
class Whole:
    """A network with the pictures that it is explained for.

    Attributes:
        network: normalised pictures (B, 3, S, S) to logits (B, K); differentiable, in eval mode.
        pictures: returns some of the N normalised pictures.
        size: S.
        targets: N.
        explained: float32 (N,), the number explained at each picture.
        settings: of the methods.
    """

    network: Callable[[Tensor], Tensor]
    pictures: Callable[[slice], Tensor]
    size: int
    targets: Sequence[Target]
    explained: Array
    settings: ExplainConfig


@dataclass(frozen=True, slots=True)
class Batch:
    """Some pictures of a `Whole`."""

    network: Callable[[Tensor], Tensor]
    pictures: Tensor
    targets: Sequence[Target]
    explained: Array
    settings: ExplainConfig


@dataclass(frozen=True, slots=True)
class WholeMethod:
    """The name and formula of a method that passes whole pictures.

    Attributes:
        name: as a user types it.
        title: as captions print it.
        formula: from a batch to raw maps (B, h, w), whose cells divide the picture evenly, and to the number explained
            where the evidence starts (B,), for a method whose map promises to sum to the rest; else None.
        passes: from settings to the forward passes of each picture, and those with a backward pass among them.
        words: from settings to what captions say of them.
        box: from the side of a picture to the width of the box that smooths its map twice, as it is shown.
    """

    name: str
    title: str
    formula: Callable[[Batch], tuple[Array, Array | None]]
    passes: Callable[[ExplainConfig], tuple[int, int]]
    words: Callable[[ExplainConfig], str]
    box: Callable[[int], int]


WHOLE_METHODS: dict[str, WholeMethod] = {}


def _integrated(batch: Batch) -> tuple[Array, Array | None]:
    """Integrated gradients (Sundararajan et al. 2017); see `citycam.explain.integrated`."""
    its = integrated_gradients(
        batch.network,
        batch.pictures,
        batch.targets,
        baselines=batch.settings.baselines,
        steps=batch.settings.steps,
    )
    return its.raw, its.start


def _integrated_passes(settings: ExplainConfig) -> tuple[int, int]:
    gradients = len(settings.baselines) * settings.steps
    return gradients + len(settings.baselines), gradients


def _occlusion(batch: Batch) -> tuple[Array, Array | None]:
    """Occlusion (Zeiler and Fergus 2014, section 4.2): what the number explained loses where a patch is filled with the
    blurred picture instead of grey, which would be a thing of its own. Cell by cell, a patch of twice its width."""
    side = batch.pictures.shape[-1]
    filling = blurred(batch.pictures, BASELINES["blur"])
    edges = [round(side * (cell - 0.5) / _PATCHES) for cell in range(_PATCHES + 2)]
    maps = np.zeros((len(batch.pictures), _PATCHES, _PATCHES), dtype=np.float32)
    with torch.no_grad():
        for row, column in np.ndindex(_PATCHES, _PATCHES):
            rows, columns = (slice(max(0, edges[cell]), edges[cell + 2]) for cell in (row, column))
            covered = batch.pictures.clone()
            covered[..., rows, columns] = filling[..., rows, columns]
            left = to_numpy(target_values(batch.network(covered), batch.targets))
            maps[:, row, column] = batch.explained - left
    return maps, None


def _integrated_words(settings: ExplainConfig) -> str:
    return f"{counted(len(settings.baselines), 'baseline')} × {counted(settings.steps, 'step')}"


WHOLE_METHODS["integrated"] = WholeMethod(
    name="integrated",
    title="Integrated gradients",
    formula=_integrated,
    passes=_integrated_passes,
    words=_integrated_words,
    box=box_of,
)
WHOLE_METHODS["occlusion"] = WholeMethod(
    name="occlusion",
    title="Occlusion",
    formula=_occlusion,
    passes=lambda _settings: (_PATCHES**2, 0),
    words=lambda _settings: "patches of a quarter of the side",
    box=lambda _side: 1,
)


def make_whole_maps(method: str, whole: Whole, *, progress: Callable[[int], None] | None = None) -> Maps:
    """Make the maps of one method for all pictures of ``whole``.

    Args:
        method: a name in `WHOLE_METHODS`.
        progress: called with the number of maps done since the last call.

    Raises:
        CitycamError: the network cannot be differentiated.
    """
    its, parts, starts = WHOLE_METHODS[method], [], []
    count, step = len(whole.targets), chunk(whole.size)
    for begin in range(0, count, step):
        some = slice(begin, min(begin + step, count))
        raw, start = its.formula(_batch(whole, some))
        parts.append(raw.astype(np.float32))
        if start is not None:
            starts.append(start.astype(np.float32))
        if progress is not None:
            progress(len(raw))
    raw, explained = np.concatenate(parts), whole.explained.astype(np.float32)
    start = np.concatenate(starts) if starts else None
    gap = None if start is None else path_gap(raw, start, explained)
    return Maps(method, raw, explained, start, gap, path=start is not None)


def whole_cells(maps: Maps) -> CellGrid:
    """Return where the cells of a whole method's maps look: they divide the picture evenly."""
    return CellGrid.even(*maps.raw.shape[1:])


def chunk(size: int) -> int:
    """Return how many pictures of ``size`` pixels are passed at a time."""
    return max(1, min(_MOST, round(_CHUNK * (224 / size) ** 2)))


def seconds_of(methods: Sequence[str], whole: Whole) -> float:
    """Return about how long the maps of ``methods`` will take, from one pass of a few pictures.

    Raises:
        CitycamError: the network cannot be differentiated.
    """
    batch = _batch(whole, slice(0, min(_TRIAL, chunk(whole.size), len(whole.targets))))
    with torch.no_grad():
        batch.network(batch.pictures[:1])  # the first pass of a process is slower than the others
    start = time.perf_counter()
    differentiate(batch.network, batch.pictures, batch.targets)
    one = (time.perf_counter() - start) / len(batch.pictures) / (1 + _BACKWARD)
    return one * len(whole.targets) * passes_of(dataclasses.replace(whole.settings, methods=list(methods)))


def passes_of(settings: ExplainConfig) -> int:
    """Return how many forward passes of a picture take as long as all methods of the settings that pass it whole."""
    passes = [WHOLE_METHODS[method].passes(settings) for method in settings.methods if method in WHOLE_METHODS]
    return sum(forward + _BACKWARD * backward for forward, backward in passes)


def _batch(whole: Whole, some: slice) -> Batch:
    return Batch(whole.network, whole.pictures(some), whole.targets[some], whole.explained[some], whole.settings)
