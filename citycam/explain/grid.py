"""The grid of cells of the maps: its output stride, and the strides that a network allows."""

from __future__ import annotations

from citycam.cells import CellGrid
from citycam.config import Config
from citycam.errors import AUTO, CitycamError
from citycam.explain_config import LAST
from citycam.model.backbone import Backbone, check_backbone, grid, layout, strides
from citycam.model.stage_grid import StageGrid, stage_grid

# A grid with fewer cells a side shows little more than left, right, top and bottom.
FEWEST_CELLS = 7


def check_network(config: Config) -> None:
    """Check the network, its image size and stage, and the stride of the maps; no weights are built.

    Raises:
        CitycamError: one of them is not possible.
    """
    check_backbone(config.backbone, config.image_size)
    if not config.explain.methods:
        return
    if layout(str(config.backbone.name), config.image_size).centre is None:
        raise CitycamError(
            f"The layers of {config.backbone.name} do not tell where in a picture its cells look, so maps would be "
            "drawn in the wrong place; take explain=none or another backbone."
        )
    if config.explain.layer != LAST:
        _check_layer(config)
    if config.explain.stride != AUTO:
        known = strides(config.backbone, config.image_size)
        if config.explain.stride not in known:
            raise CitycamError(
                f"explain.stride={config.explain.stride} is not possible with {config.backbone.name} at "
                f"image_size={config.image_size}, which allows {', '.join(map(str, known))}; choose one of them."
            )


def _check_layer(config: Config) -> None:
    from citycam.explain.methods import check_stage  # imports pytorch-grad-cam, for which most requests need not wait

    check_stage(config.explain.methods, config.explain.layer)
    if stage_grid(str(config.backbone.name), config.image_size, config.explain.layer).centre is None:
        raise CitycamError(
            f"The layers of {config.backbone.name} do not tell where in a picture the cells of {config.explain.layer} "
            "look; take explain.layer=last or another backbone."
        )


def stage_cells(grid: StageGrid, side: int) -> CellGrid:
    """Return where the cells of a stage look in pictures of ``side`` pixels.

    Raises:
        ValueError: its layers do not tell, which `check_network` refuses.
    """
    if grid.centre is None:
        raise ValueError("the cells of this stage look at no known place")
    return CellGrid.regular(*grid.cells, stride=grid.stride, centre=grid.centre, side=side)


def cell_grid(backbone: Backbone, stride: int) -> CellGrid:
    """Return where the cells of a network's activations look, at an output stride.

    Raises:
        ValueError: its layers do not tell, which `check_network` refuses.
    """
    side = backbone.image_size
    its = layout(backbone.name, side, None if stride == backbone.strides[0] else stride)
    if its.centre is None:
        raise ValueError(f"the cells of {backbone.name} look at no known place")
    return CellGrid.regular(*its.cells, stride=its.stride, centre=its.centre, side=side)


def map_stride(config: Config) -> int:
    """Return ``explain.stride``; for auto the coarsest stride of the backbone that gives at least 7 x 7 cells, or its
    finest stride if none does. Where it is a lattice, `citycam.explain.lattice.settle_stride` takes another."""
    if config.explain.stride != AUTO:
        return int(config.explain.stride)
    known = strides(config.backbone, config.image_size)
    enough = [stride for stride in known if min(grid(config.backbone, config.image_size, stride)) >= FEWEST_CELLS]
    return max(enough, default=min(known))
