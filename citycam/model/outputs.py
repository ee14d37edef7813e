"""What one epoch has answered so far."""

from __future__ import annotations

from torch import Tensor

# (values (N, K), labels, indices, positions), each of the last three int64 (N,).
Columns = tuple[Tensor, Tensor, Tensor, Tensor]
_FIRST = 1024


class EpochOutputs:
    """The logits, labels, indices and positions of an epoch, in the order in which they were added.

    They are copied into buffers that double: a small tensor kept from every chunk would lie between the large buffers
    that chunks are read into, so that memory once freed fits no other chunk (3 GB more in a million rows).
    """

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []
        self._count = 0

    def clear(self) -> None:
        """Begin a new epoch; the buffers stay."""
        self._count = 0

    def add(self, *columns: Tensor) -> None:
        """Keep a copy of logits (N, K), labels, indices and positions (N,)."""
        needed = self._count + len(columns[0])
        if not self._buffers:
            self._buffers = [column.new_empty((_FIRST, *column.shape[1:])) for column in columns]
        if needed > len(self._buffers[0]):
            self._buffers = [_grown(buffer, self._count, needed) for buffer in self._buffers]
        for buffer, column in zip(self._buffers, columns, strict=True):
            buffer[self._count : needed] = column
        self._count = needed

    def columns(self) -> Columns:
        """Return what was added since the last `clear`, as views of the buffers: copy what outlives the epoch."""
        logits, labels, indices, positions = (buffer[: self._count] for buffer in self._buffers)
        return logits, labels, indices, positions


def _grown(buffer: Tensor, count: int, needed: int) -> Tensor:
    larger = buffer.new_empty((max(needed, 2 * len(buffer)), *buffer.shape[1:]))
    larger[:count] = buffer[:count]
    return larger
