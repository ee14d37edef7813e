"""The inputs of training do not depend on how they are read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from citycam.config import AugmentConfig, Decoder, FolderConfig
from citycam.data.catalog import Catalog
from citycam.data.datamodule import EpochLoader, PictureReader, RankShare
from citycam.data.sources import load_catalog
from citycam.data.views import training_spec

AUGMENT = AugmentConfig(flip=0.5, rotations=[10.0], crop=0.8, brightness=0.2)


@pytest.fixture
def catalog(cities: Path, tmp_path: Path) -> Catalog:
    """Return the catalog of a copy of the cities, which tests may damage."""
    root = tmp_path / "cities"
    shutil.copytree(cities, root)
    return load_catalog(FolderConfig(root=str(root)))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def reader(catalog: Catalog, *, keep: bool, decoder: Decoder = Decoder.pillow) -> PictureReader:
    rows = np.arange(len(catalog.pictures))
    spec = training_spec(AUGMENT, 32, decoder)
    half = (0.5, 0.5, 0.5)
    return PictureReader(catalog, spec, AUGMENT, rows, training=True, mean=half, std=half, threads=2, keep=keep)


def epoch(reader: PictureReader, number: int, count: int) -> torch.Tensor:
    return torch.cat([reader(np.arange(start, min(start + 7, count)), number) for start in range(0, count, 7)])


def test_after_the_first_epoch_no_file_is_read(catalog: Catalog) -> None:
    count, kept = len(catalog.pictures), reader(catalog, keep=True)
    wanted = [epoch(reader(catalog, keep=False), number, count) for number in range(3)]
    assert torch.equal(epoch(kept, 0, count), wanted[0])
    shutil.rmtree(catalog.root)
    assert torch.equal(epoch(kept, 1, count), wanted[1])
    assert torch.equal(epoch(reader(catalog, keep=True), 2, count), wanted[2])


def test_readers_that_see_a_share_each_keep_all_pictures_once(catalog: Catalog, cache: Path) -> None:
    count = len(catalog.pictures)
    both, halves = [reader(catalog, keep=True) for _ in range(2)], [np.arange(0, count, 2), np.arange(1, count, 2)]
    wanted = [epoch(reader(catalog, keep=False), number, count) for number in range(3)]
    for number in range(3):
        if number == 2:
            shutil.rmtree(catalog.root)
        for turn, one in enumerate(both):
            half = halves[(turn + number) % 2]
            assert torch.equal(one(half, number), wanted[number][half])
    kept = sum(safetensors.torch.load_file(path)["rows"].shape[0] for path in cache.rglob("*.safetensors"))
    assert kept == count


def test_a_reader_that_keeps_nothing_leaves_nothing(catalog: Catalog, cache: Path) -> None:
    epoch(reader(catalog, keep=False), 0, len(catalog.pictures))
    assert not list(cache.rglob("*.safetensors"))


def test_damaged_pictures_in_the_cache_are_decoded_again(catalog: Catalog, cache: Path) -> None:
    count = len(catalog.pictures)
    wanted = epoch(reader(catalog, keep=True), 0, count)
    (shard,) = cache.rglob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-100] ^= 255
    shard.write_bytes(content)
    assert torch.equal(epoch(reader(catalog, keep=True), 0, count), wanted)
    assert shard.read_bytes() != content


def test_another_decoder_or_size_has_a_cache_of_its_own(catalog: Catalog, cache: Path) -> None:
    for decoder in Decoder:
        epoch(reader(catalog, keep=True, decoder=decoder), 0, len(catalog.pictures))
    assert len(list(cache.rglob("key.json"))) == len(Decoder)


@pytest.mark.parametrize("chunk", [8, 24, 1000])
def test_an_epoch_is_the_same_in_chunks_of_any_size(chunk: int) -> None:
    labels, rows = np.arange(100) % 3, np.arange(0, 100, 2)

    def read(indices: np.ndarray, number: int) -> torch.Tensor:
        return torch.from_numpy(indices[:, None] + 1000.0 * number)

    def loader(size: int, number: int = 1, seed: int | None = 5) -> EpochLoader:
        return EpochLoader(read, rows, labels, batch=8, chunk=size, epoch=lambda: number, order_seed=seed)

    def whole(of: EpochLoader) -> list[torch.Tensor]:
        chunks = list(of)
        assert len(chunks) == len(of)
        return [torch.cat(column) for column in zip(*chunks, strict=True)]

    inputs, answers, indices, places = whole(loader(chunk))
    expected = whole(loader(8))
    assert all(torch.equal(a, b) for a, b in zip((inputs, answers, indices, places), expected, strict=True))
    assert sorted(indices.tolist()) == rows.tolist()
    assert torch.equal(inputs[:, 0], indices + 1000.0)
    assert torch.equal(answers, torch.from_numpy(labels)[indices])
    assert indices.tolist() != rows.tolist()
    assert whole(loader(chunk, number=2))[2].tolist() != indices.tolist()
    assert whole(loader(chunk, seed=None))[2].tolist() == rows.tolist()
    assert places.tolist() == list(range(50))


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("count", [50, 49, 48, 1])
def test_shares_of_an_epoch_are_the_whole_epoch(ranks: int, count: int) -> None:
    labels, rows = np.arange(200) % 3, np.arange(0, 2 * count, 2)

    def loader(share: RankShare) -> list[tuple[torch.Tensor, ...]]:
        def read(indices: np.ndarray, _epoch: int) -> torch.Tensor:
            return torch.from_numpy(indices[:, None] + 1000.0)

        return list(EpochLoader(read, rows, labels, batch=8, chunk=16, epoch=lambda: 3, order_seed=1, share=share))

    alone = loader(RankShare())
    shares = [loader(RankShare(rank, ranks)) for rank in range(ranks)]
    for number, (_, _, indices, places) in enumerate(alone):
        inputs, answers, rows_read, places_read = (
            torch.cat(column) for column in zip(*(share[number] for share in shares), strict=True)
        )
        assert torch.equal(inputs[:, 0], rows_read + 1000.0)
        assert torch.equal(answers, torch.from_numpy(labels)[rows_read])
        own = places_read >= 0
        order = torch.argsort(places_read[own])
        assert torch.equal(places_read[own][order], places)
        assert torch.equal(rows_read[own][order], indices)
        assert set(rows_read.tolist()) == set(indices.tolist())
        # All take as many steps: each gets at least one picture of every batch of 8, and not more than its share.
        batches = -(-len(indices) // 8)
        assert all(batches <= len(share[number][3]) <= batches * -(-8 // ranks) for share in shares)
