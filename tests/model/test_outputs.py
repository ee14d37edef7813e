"""What an epoch has answered: every chunk, in order, without a tensor kept from each."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from citycam.model.outputs import EpochOutputs

CLASSES = 3
sizes = st.lists(st.integers(0, 1500), min_size=1, max_size=5)


def chunk(size: int, seed: int) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(seed)
    whole = [torch.randint(0, 1000, (size,), generator=random) for _ in range(3)]
    return (torch.randn(size, CLASSES, generator=random), *whole)


@given(epochs=st.lists(sizes, min_size=1, max_size=3))
def test_columns_are_the_chunks_of_the_epoch_in_order(epochs: list[list[int]]) -> None:
    outputs = EpochOutputs()
    for number, epoch in enumerate(epochs):
        outputs.clear()
        chunks = [chunk(size, 10 * number + place) for place, size in enumerate(epoch)]
        for columns in chunks:
            outputs.add(*columns)
        for kept, added in zip(outputs.columns(), zip(*chunks, strict=True), strict=True):
            assert torch.equal(kept, torch.cat(added))
            assert kept.dtype == added[0].dtype


def test_no_tensor_of_a_chunk_is_kept() -> None:
    outputs, columns = EpochOutputs(), chunk(8, 0)
    outputs.add(*columns)
    before = [kept.clone() for kept in outputs.columns()]
    for column in columns:
        column.zero_()
    assert all(torch.equal(kept, old) for kept, old in zip(outputs.columns(), before, strict=True))
