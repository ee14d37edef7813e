"""Where the cells of a network's activations look: worked out from its layers, as one picture passes them.

A cell's centre is the middle of the pixels that it reads, were all weights equal. A convolution or pool of k values
moves the centre by ((k - 1) / 2 - padding on the left) times the pixels between its inputs. So a symmetrically padded
network reads cell i around the pixel i * stride, and one that cuts a picture into patches around their middles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Pixels of the picture between neighbouring values of a tensor, and the centre of its first value. A picture's own
# values lie in the middles of its pixels.
Place = tuple[float, float]
_PICTURE: Place = (1.0, 0.5)
_ATEN = torch.ops.aten
_POOLS = (_ATEN.max_pool2d_with_indices, _ATEN.max_pool2d, _ATEN.avg_pool2d)
_PADS = (_ATEN.constant_pad_nd, _ATEN.reflection_pad2d, _ATEN.replication_pad2d)
_SIDES = 4  # a picture's dimensions


def follow(forward: Callable[[Tensor], Any], picture: Tensor) -> tuple[Any, Place | None]:
    """Pass a picture, and return the result and its place; None if the result does not depend on the picture.

    Rows are taken to be placed as columns are. Where branches meet that look at different places, they count equally;
    those on another grid than the first (enlarged maps, the keys and values of some attention) do not count.

    Args:
        forward: from a picture (B, 3, S, S) to activations; it may compute on torch's meta device.
    """
    follower = _Follower(picture)
    with follower:
        result = forward(picture)
    return result, follower.place(result) if isinstance(result, Tensor) else None


def first_centre(place: Place | None, stride: int) -> float | None:
    """Return the centre of the first of a network's cells, which are ``stride`` pixels apart.

    Where their place is of a finer grid, cells were merged by reshaping, as in Swin: then each looks at the middle of
    what it was merged from. None if the place does not fit the stride, or is not known.
    """
    if place is None or place[0] > stride:
        return None
    return place[1] + (stride - place[0]) / 2


class _Follower(TorchDispatchMode):
    """Follows the place of every tensor that depends on a picture."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        # By storage, which views share. Storages are kept, so that no address is used twice.
        self._places: dict[int, tuple[Place, Any]] = {}
        self._mark(picture, _PICTURE)

    def place(self, tensor: Tensor) -> Place | None:
        """Return the place of a tensor; None if it does not depend on the picture."""
        known = self._places.get(tensor.untyped_storage()._cdata)
        return None if known is None else known[0]

    def _mark(self, tensor: Tensor, place: Place) -> None:
        storage = tensor.untyped_storage()
        self._places[storage._cdata] = (place, storage)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        known = [place for place in map(self.place, inputs) if place is not None]
        result = func(*args, **(kwargs or {}))
        if known:
            stride = known[0][0]
            centres = [centre for other, centre in known if other == stride]
            place = _moved(func.overloadpacket, args, (stride, sum(centres) / len(centres)))
            for tensor in tree_leaves(result):
                if isinstance(tensor, Tensor):
                    self._mark(tensor, place)
        return result


def _moved(operation: Any, args: Any, place: Place) -> Place:
    """Return the place of an operation's result from that of its input."""
    stride, centre = place
    if operation in _PADS:
        # The last dimension comes first; that of channels, if they are last, is not padded.
        left = args[1][2] if len(args[1]) > _SIDES else args[1][0]
        return stride, centre - left * stride
    if args and isinstance(args[0], Tensor) and args[0].dim() == _SIDES:
        if operation is _ATEN.convolution and args[1].dim() == _SIDES:
            return _windowed(place, args[1].shape[-1], args[3][-1], args[4][-1], args[5][-1])
        if operation in _POOLS:
            size = args[1][-1]
            step = args[2][-1] if len(args) > 2 and args[2] else size
            return _windowed(place, size, step, args[3][-1] if len(args) > 3 else 0, 1)
    return place


def _windowed(place: Place, size: int, step: int, padding: int, dilation: int) -> Place:
    stride, centre = place
    return stride * step, centre + (dilation * (size - 1) / 2 - padding) * stride
