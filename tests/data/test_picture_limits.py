"""What is not decoded: files that are no pictures, no regular files, or take too much memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citycam.data import pictures
from citycam.data.pictures import begins_as_picture, check_bytes, decode, digest
from citycam.errors import UnreadablePicture
from tests.data.test_pictures import decoded, encoded, png_chunks


@pytest.mark.parametrize("head", [b"BMW is a car", b"RIFF    WAVE", b"\0\0\0\x20ftypisom    isommp42", b"GIF", b"II"])
def test_what_only_begins_like_a_picture_is_none(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(head + bytes(100))
    assert not begins_as_picture(tmp_path / "x")
    with pytest.raises(UnreadablePicture, match="its content is not a JPEG"):
        decode(tmp_path / "x")


def test_the_limit_is_on_bytes_and_not_on_pixels() -> None:
    def claim(side: int, depth: int, colour: int) -> bytes:
        head = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
        return png_chunks([(b"IHDR", head), (b"IDAT", zlib.compress(b""))])

    # 15,500² pixels are 961 MB in grey, 1.2 GB in 16 bits, and 1.7 GB in colour, as they are stored and in RGB.
    for depth, colour in ((8, 0), (16, 0)):
        with pytest.raises(UnreadablePicture, match="damaged or truncated"):
            check_bytes(claim(15_500, depth, colour), Path("x"))
    with pytest.raises(UnreadablePicture, match=r"15,500 × 15,500 pixels, which take 1\.6 GB of memory"):
        check_bytes(claim(15_500, 8, 2), Path("x"))


def test_large_pictures_are_converted_tile_by_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (37, 50, 4), dtype=np.uint8)
    deep = Image.fromarray(noise[:, :, 0].astype(np.uint16) * 17)
    for image in (Image.fromarray(noise), deep, Image.fromarray(noise[:, :, :3]).quantize(9)):
        content = encoded(image, "PNG")
        whole = decoded(content)
        for tile in (7, 60, 999):
            monkeypatch.setattr(pictures, "_TILE", tile)
            assert (decoded(content) == whole).all()
        monkeypatch.undo()


MEMORY = """
import resource, struct, sys, zlib
from pathlib import Path
from citycam.data.pictures import MAX_BYTES, decode_bytes
width, height, depth, colour, pixel = map(int, sys.argv[1:])
pack = zlib.compressobj()
rows = b"".join(pack.compress(bytes(1 + width * pixel)) for _ in range(height)) + pack.flush()
content = b"\\x89PNG\\r\\n\\x1a\\n"
for name, data in (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), (b"IDAT", rows):
    content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert decode_bytes(content, Path("x")).shape == (height, width, 3)
taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(taken * (1 if sys.platform == "darwin" else 1024) / MAX_BYTES)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "colour", "pixel"), [(16, 0, 2), (8, 2, 3), (8, 6, 4)])
def test_decoding_takes_no_more_memory_than_the_limit(depth: int, colour: int, pixel: int) -> None:
    arguments = map(str, (20_000, 10_000, depth, colour, pixel))
    ended = subprocess.run([sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=True)
    assert float(ended.stdout) < 1.05


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device", "folder", "link to itself"])
def test_only_regular_files_are_opened(kind: str, tmp_path: Path) -> None:
    path = {"device": Path("/dev/zero"), "folder": tmp_path}.get(kind, tmp_path / "x.png")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    elif kind == "link to itself":
        path.symlink_to(path)
    assert not begins_as_picture(path)
    for read in (decode, digest):
        with pytest.raises(UnreadablePicture, match="the file cannot be opened"):
            read(path)


def test_a_file_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(UnreadablePicture, match=r"the file has 93\.1 GB, more than the limit of 1\.3 GB"):
        decode(tmp_path / "x.png")
