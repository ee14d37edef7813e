"""The grid of cells of the maps: its output stride, and the strides that a network allows."""

from __future__ import annotations

from citycam.config import AUTO, Config
from citycam.errors import CitycamError
from citycam.model.backbone import check_backbone, grid, strides

# A grid with fewer cells a side shows little more than left, right, top and bottom.
FEWEST_CELLS = 7


def check_network(config: Config) -> None:
    """Check the network, its image size and stage, and the stride of the maps; no weights are built.

    Raises:
        CitycamError: one of them is not possible.
    """
    check_backbone(config.backbone, config.image_size)
    if config.explain.methods and config.explain.stride != AUTO:
        known = strides(config.backbone, config.image_size)
        if config.explain.stride not in known:
            raise CitycamError(
                f"explain.stride={config.explain.stride} is not possible with {config.backbone.name} at "
                f"image_size={config.image_size}, which allows {', '.join(map(str, known))}; choose one of them."
            )


def map_stride(config: Config) -> int:
    """The coarsest stride of the backbone that gives at least 7 x 7 cells, or its finest stride if none does."""
    if config.explain.stride != AUTO:
        return int(config.explain.stride)
    known = strides(config.backbone, config.image_size)
    enough = [stride for stride in known if min(grid(config.backbone, config.image_size, stride)) >= FEWEST_CELLS]
    return max(enough, default=min(known))
