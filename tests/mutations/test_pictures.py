"""Damaged pictures of every kind: the scan refuses exactly what decoding refuses, each with a sentence."""

from __future__ import annotations

import functools
import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citycam import cli
from citycam.config import FolderConfig, OnBad
from citycam.data.pictures import check_bytes, decode_bytes
from citycam.data.sources import load_catalog
from citycam.errors import UnreadablePicture
from tests.conftest import Outcome
from tests.mutations.mutate import batches, damaged_bytes, each, hold
from tests.sweeps import caller, read

# Pillow warns of damage in metadata, which loses no pixel.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


@functools.cache
def samples() -> tuple[tuple[str, bytes], ...]:
    """Whole pictures by suffix: every format, mode, compression and layout that people have."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    colour = Image.fromarray(np.cumsum(noise // 64, axis=1).astype(np.uint8))
    alpha = Image.fromarray(np.dstack([noise, noise[:, :, :1]]))
    deep = Image.fromarray((noise[:, :, 0].astype(np.uint16) << 8) + noise[:, :, 1])
    real = Image.fromarray(noise[:, :, 0].astype(np.float32) / 255)
    palette, cmyk, bilevel = colour.quantize(37), colour.convert("CMYK"), colour.convert("1")
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x0128], exif[0x010E] = 6, 72.0, 2, "words" * 20

    def frames() -> dict[str, object]:
        return {"save_all": True, "append_images": [alpha.convert("RGB")]}

    pictures = [
        (".jpg", encoded(colour, "JPEG", exif=exif, comment=b"x")),
        (".jpg", encoded(colour, "JPEG", progressive=True, subsampling=0)),
        (".jpg", encoded(cmyk, "JPEG")),
        (".jpg", encoded(colour.convert("L"), "JPEG", restart_marker_blocks=2)),
        (".jfif", encoded(colour, "MPO", **frames())),
        (".png", encoded(colour, "PNG", exif=exif)),
        (".png", encoded(alpha, "PNG")),
        (".png", encoded(palette, "PNG", transparency=3)),
        (".png", encoded(deep, "PNG")),
        (".png", encoded(bilevel, "PNG")),
        (".png", encoded(colour, "PNG", **frames())),
        (".gif", encoded(palette, "GIF", transparency=2)),
        (".gif", encoded(palette, "GIF", **frames())),
        (".webp", encoded(alpha, "WEBP", exif=exif)),
        (".webp", encoded(colour, "WEBP", lossless=True, **frames())),
        (".avif", encoded(colour, "AVIF", exif=exif)),
        (".bmp", encoded(colour, "BMP")),
        (".bmp", encoded(palette, "BMP")),
        (".tif", encoded(colour, "TIFF", exif=exif)),
        (".tif", encoded(deep, "TIFF", compression="tiff_lzw")),
        (".tif", encoded(real, "TIFF", compression="tiff_adobe_deflate")),
        (".tif", encoded(cmyk, "TIFF", compression="packbits")),
        (".tif", encoded(bilevel, "TIFF", compression="group4")),
        (".tif", encoded(alpha, "TIFF", **frames())),
    ]
    return tuple(pictures)


def lying(rng: random.Random) -> tuple[str, bytes]:
    """Return a header that claims another size, depth or kind of colour than its pixels have."""
    sizes = (0, 1, 7, 255, 65535, 70_000, 2**31 - 1, 2**32 - 1)
    wide, high = rng.choice(sizes), rng.choice(sizes)
    pixels = zlib.compress(bytes(rng.choice((0, 10, 4000))))
    kind = rng.randrange(4)
    if kind == 0:
        depth, colour, interlaced = rng.choice((1, 2, 4, 8, 16, 99)), rng.randrange(8), rng.randrange(2)
        head = struct.pack(">IIBBBBB", wide, high, depth, colour, 0, 0, interlaced)
        chunks = [(b"IHDR", head), (b"PLTE", bytes(rng.choice((0, 3, 6, 768)))), (b"IDAT", pixels), (b"IEND", b"")]
        content = b"\x89PNG\r\n\x1a\n"
        for name, data in chunks:
            content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        return ".png", content
    if kind == 1:
        depth, compression = rng.choice((1, 4, 8, 16, 24, 32)), rng.randrange(7)
        head = struct.pack("<IiiHHI", 40, wide % 2**31, high % 2**31, 1, depth, compression)
        return ".bmp", b"BM" + struct.pack("<III", 0, 0, 54) + head + bytes(20) + pixels
    if kind == 2:
        head = struct.pack("<HHBBB", wide % 2**16, high % 2**16, rng.randrange(256), 0, 0)
        return ".gif", b"GIF89a" + head + pixels
    tags = [(256, 4, 1, wide), (257, 4, 1, high), (258, 3, 1, rng.choice((1, 8, 16, 32)))]
    tags += [(259, 3, 1, rng.choice((1, 5, 7, 8))), (262, 3, 1, rng.randrange(9)), (273, 4, 1, 8)]
    tags += [(277, 3, 1, rng.choice((1, 3, 4, 5))), (278, 4, 1, high), (279, 4, 1, rng.choice(sizes))]
    tags += [(322, 4, 1, wide), (323, 4, 1, high)][: rng.choice((0, 2))]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return ".tif", b"II*\0" + struct.pack("<I", 8) + table + pixels


def damaged(rng: random.Random) -> tuple[str, bytes]:
    """Return a suffix and a file: a picture damaged once or more, or one whose header lies."""
    if rng.random() < 0.2:
        return lying(rng)
    suffix, content = rng.choice(samples())
    for _ in range(rng.choice((1, 1, 1, 4))):
        content = damaged_bytes(content, rng)
    return suffix, content


def outcome(content: bytes) -> str | None:
    """Return why a picture cannot be decoded, None if it can; all ways of reading it agree."""
    ways = [
        lambda: decode_bytes(content, Path("x")),
        lambda: check_bytes(content, Path("x")),
        lambda: decode_bytes(content, Path("x"), at_least=8),
        lambda: decode_bytes(content, Path("x"), at_least=16),
    ]
    reasons = []
    for way in ways:
        try:
            way()
            reasons.append(None)
        except UnreadablePicture as error:
            reasons.append(error.reason)
    assert len({reason is None for reason in reasons}) == 1, reasons
    return reasons[0]


@pytest.mark.parametrize("seeds", batches(200, 4000))
def test_what_the_scan_lets_pass_is_decoded(seeds: range) -> None:
    def check(rng: random.Random) -> None:
        outcome(damaged(rng)[1])

    each(seeds, check)


def test_whole_pictures_are_all_read() -> None:
    assert [(suffix, outcome(content)) for suffix, content in samples()] == [(suffix, None) for suffix, _ in samples()]


def paint(root: Path, rng: random.Random, count: int) -> dict[str, bytes]:
    """Write a folder of two cities with a whole picture of every sample, and ``count`` damaged ones; return these."""
    for number, (suffix, content) in enumerate(samples()):
        for city in ("oslo", "rome"):
            (root / city).mkdir(parents=True, exist_ok=True)
            # Bytes behind the end of a picture make it another one.
            (root / city / f"{number}{suffix}").write_bytes(content + city.encode())
    bad = {}
    for number in range(count):
        suffix, content = damaged(rng)
        name = f"{rng.choice(('oslo', 'rome'))}/bad{number}{rng.choice((suffix, '.jpg', suffix.upper()))}"
        (root / name).write_bytes(content)
        bad[name] = content
    return bad


@pytest.mark.parametrize(
    "seeds", [pytest.param(range(3), id="few"), pytest.param(range(3, 13), marks=pytest.mark.slow)]
)
def test_predict_refuses_what_the_scan_refuses(
    seeds: range, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = caller(cli, "citycam", monkeypatch, capsys)

    def check(rng: random.Random) -> None:
        root = tmp_path / str(rng.random())
        bad = paint(root, rng, 20)
        catalog = load_catalog(FolderConfig(root=str(root), on_bad=OnBad.skip))
        refused = {skipped.name for skipped in catalog.skipped}
        assert refused == {name for name, content in bad.items() if outcome(content) is not None}
        ended = call("predict", small_run, root, "--out", root / "p.csv")
        hold(ended.code, ended.err, (1,) if refused else (0,))
        assert {row["path"] for row in read(root / "p.csv")} == {picture.name for picture in catalog.pictures}

    each(seeds, check)


@pytest.mark.parametrize("seeds", [pytest.param(range(1), id="one"), pytest.param(range(1, 6), marks=pytest.mark.slow)])
def test_a_run_over_damaged_pictures_trains_on_the_others(
    seeds: range, train: Callable[..., Outcome], tmp_path: Path
) -> None:
    def check(rng: random.Random) -> None:
        root = tmp_path / str(rng.random())
        bad = paint(root, rng, 20)
        if rng.random() < 0.5:
            (root / "oslo" / "zeros.png").symlink_to("/dev/zero")
            bad["oslo/zeros.png"] = b""
        run = tmp_path / f"of {root.name}" / "run"
        settings = ("split=random", "explain=none", "backbone.finetune=conv_head", "augment=none")
        ended = train(f"data.root={root}", "data.target=oslo", "data.on_bad=skip", f"hydra.run.dir='{run}'", *settings)
        hold(ended.code, ended.err, (0,))
        refused = {name for name, content in bad.items() if outcome(content) is not None}
        assert {row["path"] for row in read(run / "skipped.csv")} == refused

    each(seeds, check)
