"""Maps: the frame that makes them by a method's formula, and checks for blank, incomplete and small ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from citycam.explain.evaluation import Array, Evaluation, evaluate
from citycam.explain.methods import METHODS, check_method
from citycam.explain.tail import Tail, eval_mode
from citycam.explain.targets import LogitTarget, Target

# Maps with fewer cells a side give a warning.
SMALLEST = 7
# A share of the sample's median maximum.
BLANK_SHARE = 1e-8
# The largest gap that rounding explains, as a share of the numbers that it is between.
COMPLETE = 1e-4
# The largest median gap of a path of few steps at which its maps still say most of what the picture has more.
COMPLETE_PATH = 0.5
_BATCH = 32


@dataclass(frozen=True)
class Maps:
    """The maps of one method, for a batch or a whole sample.

    Attributes:
        method: its name.
        raw: float32 (N, h, w), unscaled, signed where the formula allows.
        explained: float32 (N,), the number whose evidence is mapped.
        bias: float32 (N,), what is explained without evidence. For CAM: mean over the plain network's cells of
            raw + bias = explained. For integrated gradients: sum of raw + bias = explained. None for other methods.
        gap: float64 (N,), how far that equation is from holding, as a share; see `completeness_gap` and `path_gap`.
        path: whether the gap is that of a path, which few steps leave.
    """

    method: str
    raw: NDArray[np.float32]
    explained: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    gap: NDArray[np.float64] | None
    path: bool = False

    @cached_property
    def peaks(self) -> NDArray[np.float32]:
        """The maximum of each raw map, float32 (N,); NaN where the map has a NaN."""
        peaks: NDArray[np.float32] = self.raw.max(axis=(1, 2))
        return peaks

    @cached_property
    def blank(self) -> NDArray[np.bool_]:
        """The result of `find_blank`, bool (N,)."""
        return find_blank(self.raw)

    @property
    def nan(self) -> int:
        """The number of maps with a value that is not finite."""
        return int((~np.isfinite(self.raw)).any(axis=(1, 2)).sum())


def explain(
    method: str,
    tail: Tail,
    activations: Tensor,
    target: int | Sequence[int | Target],
    *,
    noisy: Tensor | None = None,
) -> Maps:
    """Make the maps of one method for a batch of pictures.

    It works with a frozen network, under ``no_grad``, in inference mode and during training. Modes, hooks, gradients,
    ``requires_grad`` and random states are restored, also when an exception is raised.

    Args:
        method: a name in `METHODS`.
        activations: (B, C, h, w), the output of the body.
        target: a class for all pictures, or a class or a `Target` for each picture.
        noisy: (n, B, C, h', w'), for a method that needs noise; see `evaluate`.

    Raises:
        CitycamError: the method is unknown or does not fit the network.
        ValueError: targets or shapes do not fit the activations.
    """
    check_method(method, tail.pool_kind)
    given = [target] * len(activations) if isinstance(target, int) else target
    targets = [LogitTarget(one) if isinstance(one, int) else one for one in given]
    return apply_method(method, evaluate(tail, activations, targets, noisy=noisy))


def make_maps(
    tail: Tail,
    activations: Tensor,
    targets: Sequence[Target],
    methods: Sequence[str],
    *,
    noisy: Tensor | None = None,
    stage: Callable[[slice], Evaluation] | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Maps]:
    """Make the maps of several methods for a sample, in their order. Each batch is evaluated once for all methods.

    Args:
        activations: (N, C, h, w), the output of the body.
        targets: N.
        methods: names in `METHODS`.
        noisy: (n, N, C, h', w'), for methods that need noise; see `evaluate`.
        stage: evaluates an earlier stage for some of the pictures, which is explained in place of the activations.
        progress: called with the number of maps done since the last call.

    Raises:
        CitycamError: a method is unknown or does not fit the network.
        ValueError: targets or shapes do not fit the activations.
    """
    for method in methods:
        check_method(method, tail.pool_kind)
    batches: dict[str, list[Maps]] = {method: [] for method in methods}
    for start in range(0, len(activations) if methods else 0, _BATCH):
        some = slice(start, start + _BATCH)
        if stage is not None:
            evaluation = stage(some)
        else:
            copies = None if noisy is None else noisy[:, some]
            evaluation = evaluate(tail, activations[some], targets[some], noisy=copies)
        for method in methods:
            batches[method].append(apply_method(method, evaluation))
            if progress is not None:
                progress(len(evaluation.activations))
    return {method: _join(parts) for method, parts in batches.items()}


def apply_method(method: str, evaluation: Evaluation) -> Maps:
    """Apply a method's formula to an evaluation, and return its maps."""
    formula, bias_formula = METHODS[method].formula, METHODS[method].bias
    with eval_mode(evaluation.tail):
        values = formula(evaluation)
        bias = None if bias_formula is None else bias_formula(evaluation).astype(np.float32)
    maps = values if values.ndim == 3 else _weighted_sum(values, evaluation.activations)
    raw, explained = maps.astype(np.float32), evaluation.explained.astype(np.float32)
    gap = None if bias is None else completeness_gap(raw, bias, explained, evaluation.tail)
    return Maps(method, raw, explained, bias, gap)


def _weighted_sum(weights: Array, activations: Array) -> Array:
    """Sum over channels of weight * activation: (B, C) and (B, C, h, w) to (B, h, w)."""
    cells = activations.reshape(*activations.shape[:2], -1)
    maps: Array = np.matmul(weights[:, None, :], cells)
    return maps.reshape(len(activations), *activations.shape[2:])


def _join(parts: Sequence[Maps]) -> Maps:
    biases = [part.bias for part in parts if part.bias is not None]
    gaps = [part.gap for part in parts if part.gap is not None]
    return Maps(
        method=parts[0].method,
        raw=np.concatenate([part.raw for part in parts]),
        explained=np.concatenate([part.explained for part in parts]),
        bias=np.concatenate(biases) if biases else None,
        gap=np.concatenate(gaps) if gaps else None,
    )


def completeness_gap(raw: Array, bias: Array, explained: Array, tail: Tail) -> NDArray[np.float64]:
    """Return |mean over the plain network's cells of the signed map + bias - explained| of each picture, (N,), divided
    by the largest of |explained|, |bias| and the mean of the map's magnitudes.

    It is at most 1e-4 if the map is complete: rounding grows with the numbers that are added.

    Args:
        raw: (N, h, w).
        bias, explained: (N,).
    """
    step = tail.plain_stride_step
    cells = raw.astype(np.float64)[:, ::step, ::step]
    gap: NDArray[np.float64] = np.abs(cells.mean(axis=(1, 2)) + bias - explained)
    scale = np.maximum.reduce([np.abs(explained), np.abs(bias), np.abs(cells).mean(axis=(1, 2))])
    return np.divide(gap, scale, out=gap, where=scale != 0)


def path_gap(raw: Array, start: Array, explained: Array) -> NDArray[np.float64]:
    """Return |sum of the map + start - explained| of each picture, (N,), divided by the largest of |explained|, |start|
    and |sum of the map|: how much a path of few steps misses of what the picture has more than its baselines.

    Args:
        raw: (N, h, w).
        start, explained: (N,).
    """
    total = raw.astype(np.float64).sum(axis=(1, 2))
    gap: NDArray[np.float64] = np.abs(total + start - explained)
    scale = np.maximum.reduce([np.abs(explained), np.abs(start), np.abs(total)])
    return np.divide(gap, scale, out=gap, where=scale != 0)


def find_blank(raw: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which of the maps (N, h, w) show nothing, bool (N,).

    A map is blank if a value is not finite, or if its maximum after ReLU is at most 1e-8 of the sample's median
    maximum. Scaled by its own maximum, it would show rounding errors at full contrast.
    """
    finite = np.isfinite(raw).all(axis=(1, 2))
    peaks = np.maximum(np.where(finite[:, None, None], raw, 0).max(axis=(1, 2)), 0).astype(np.float64)
    median = np.median(peaks[finite]) if finite.any() else 0.0
    blank: NDArray[np.bool_] = peaks <= BLANK_SHARE * median
    return blank


def warnings_about(maps: dict[str, Maps], *, finer: bool = True) -> list[dict[str, str]]:
    """Return what a reader of these maps must know, as run.json's {code, sentence}.

    Args:
        finer: whether a smaller ``explain.stride`` may be advised.
    """
    warnings = []
    smallest = min((its.raw.shape[1:] for its in maps.values()), key=min)
    if min(smallest) < SMALLEST:
        height, width = smallest
        few = [method for method, its in maps.items() if min(its.raw.shape[1:]) < SMALLEST]
        which = "The maps" if len(few) == len(maps) else f"The maps of {', '.join(few)}"
        stride = "a smaller explain.stride (where the backbone allows it) or " if finer else ""
        sentence = (
            f"{which} are {height} × {width}: {height * width} numbers for a whole picture, too few to point at an "
            f"object; {stride}a larger image_size makes them finer."
        )
        warnings.append({"code": "small_map", "sentence": sentence})
    blank = {method: int(its.blank.sum()) for method, its in maps.items() if its.blank.any()}
    if blank:
        counts = ", ".join(f"{number} of {method}" for method, number in blank.items())
        nan = sum(its.nan for its in maps.values())
        sentence = (
            f"Blank among {len(next(iter(maps.values())).raw)} maps each: {counts} ({nan} with NaN); they are marked, "
            "and show no evidence."
        )
        warnings.append({"code": "blank_maps", "sentence": sentence})
    warnings += [warning for its in maps.values() if (warning := _about_gap(its)) is not None]
    return warnings


def _about_gap(maps: Maps) -> dict[str, str] | None:
    """Return a warning about maps that do not sum to what they promise, if they do not."""
    if maps.gap is None:
        return None
    largest, median = maps.gap.max(), np.median(maps.gap)
    if maps.path and not median <= COMPLETE_PATH:
        sentence = (
            f"The maps of {maps.method} miss {median:.0%} of the number explained (half of the pictures miss more): "
            "their path is too coarse for this network; raise explain.steps."
        )
        return {"code": "incomplete_path", "sentence": sentence}
    if not maps.path and not largest <= COMPLETE:
        sentence = (
            f"{maps.method} misses its logit by a share of up to {largest:.1e} ({COMPLETE:g} is rounding): "
            "do not rely on these maps."
        )
        return {"code": "incomplete_cam", "sentence": sentence}
    return None


def summary(maps: dict[str, Maps]) -> dict[str, Any]:
    """Return facts for run.json: the size of the first method's maps, and for each method the number of maps, of blank
    ones and of ones with NaN; its size where that is another one; where its maps promise a sum, the largest gap, and
    the median one of a path."""
    height, width = next(iter(maps.values())).raw.shape[1:]
    methods: dict[str, Any] = {}
    for method, its in maps.items():
        methods[method] = {"maps": len(its.raw), "blank": int(its.blank.sum()), "nan": its.nan}
        if its.raw.shape[1:] != (height, width):
            methods[method]["map_size"] = list(its.raw.shape[1:])
        if its.gap is not None:
            methods[method]["completeness_gap"] = _finite(its.gap.max())
        if its.gap is not None and its.path:
            methods[method]["median_gap"] = _finite(np.median(its.gap))
    return {"map_size": [int(height), int(width)], "methods": methods}


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
