"""The grid of an earlier stage of a network: its shape, and where its cells look."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from citycam.errors import CitycamError, near_matches
from citycam.model.backbone import layout, reference
from citycam.model.centres import first_centre, follow
from citycam.model.layout import to_grid
from citycam.model.stages import stage_units

_TOKENS, _GRID = 3, 4  # dimensions of what stages give


@dataclass(frozen=True, slots=True)
class StageGrid:
    """What a stage gives for pictures of one size.

    Attributes:
        module: the path of the module whose output it is, in timm's network.
        order: ``nchw``, ``nhwc`` or ``tokens``.
        prefix: number of tokens before those of patches.
        cells: (h, w).
        stride: pixels per cell.
        centre: of the first cell, in pixels; None if the layers do not tell.
    """

    module: str
    order: str
    prefix: int
    cells: tuple[int, int]
    stride: int
    centre: float | None

    def from_network(self, output: Tensor) -> Tensor:
        """Return the stage's output as a grid (B, C, h, w)."""
        return to_grid(output, self)


@functools.lru_cache(maxsize=64)
def stage_grid(name: str, image_size: int, stage: str) -> StageGrid:
    """Return the grid of a stage, measured by a forward on torch's meta device, without values.

    Args:
        name: timm's, of the network.
        stage: one of the names that ``backbone.finetune`` takes.

    Raises:
        CitycamError: the network has no such stage, or the stage's output is no grid.
    """
    its, (net, _) = layout(name, image_size), reference(name, image_size)
    if stage not in its.stages:
        raise CitycamError(f"explain.layer={stage} is no stage of {name}; {near_matches(stage, ['last', *its.stages])}")
    with torch.device("meta"), torch.no_grad(), _outputs(net.eval(), stage_units(net)[stage]) as outputs:

        def forward(picture: Tensor) -> Tensor:
            net.forward_features(picture)  # type: ignore[operator]
            return outputs[-1][1] if outputs else picture

        output, place = follow(forward, torch.empty(2, 3, image_size, image_size))
    if not outputs:
        raise CitycamError(f"explain.layer={stage}: this stage of {name} gives no grid of cells; choose another one.")
    prefix, order = 0, its.order if output.dim() == _GRID else "tokens"
    if order == "tokens":
        prefix = output.shape[1] - math.isqrt(output.shape[1]) ** 2 and its.prefix
        cells = (math.isqrt(output.shape[1] - prefix),) * 2
    else:
        rows = 2 if order == "nchw" else 1
        cells = (int(output.shape[rows]), int(output.shape[rows + 1]))
    if order == "tokens" and cells[0] * cells[1] + prefix != output.shape[1]:
        raise CitycamError(f"explain.layer={stage}: this stage of {name} gives no grid of cells; choose another one.")
    stride = round(image_size / cells[0])
    return StageGrid(outputs[-1][0], order, prefix, cells, stride, first_centre(place, stride))


@contextlib.contextmanager
def _outputs(net: nn.Module, units: tuple[str, ...]) -> Iterator[list[tuple[str, Tensor]]]:
    """Yield a list that gets the path and the output of each unit that gives cells, as it is called."""
    outputs: list[tuple[str, Tensor]] = []

    def keep(path: str, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() in (_TOKENS, _GRID):
            outputs.append((path, output))

    with contextlib.ExitStack() as hooks:
        for path in units:
            module = net.get_submodule(path)
            handle = module.register_forward_hook(lambda _module, _inputs, output, path=path: keep(path, output))
            hooks.callback(handle.remove)
        yield outputs
