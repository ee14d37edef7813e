"""Picture files: decoding to plain RGB, digests, and the reason why a file cannot be read."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from citycam.errors import UnreadablePicture
from citycam.files import open_file
from citycam.words import is_text, size

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
)
# A picture in memory, as it is stored and as RGB: 200 million pixels in colour.
MAX_BYTES = 1_400_000_000
# So many first bytes of a file tell its format.
HEAD = 64


class _Jpeg(JpegImagePlugin.JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Leave the resolution, which nobody needs: damaged EXIF can make Pillow refuse a picture for it."""


# The first bytes of a file decide its format, not its suffix. Opening files here, not by Image.open, avoids Pillow's
# own size limit (a warning from 89 million pixels on) without changing it for other code.
_OPENERS: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (b"\xff\xd8\xff", _Jpeg),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"II+\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0+", TiffImagePlugin.TiffImageFile),
)
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BIT_DEPTHS = (8, 10, 12, 14, 16, 24, 32)
_TILE = 2**21

_Result = TypeVar("_Result")

# This module of Pillow warns of damaged metadata (EXIF has the layout of TIFF, too). A picture loses at most its
# orientation by that; damaged pixels raise an error of their own.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


def decode(path: Path, *, at_least: int | None = None) -> np.ndarray:
    """Decode the picture in ``path`` to RGB, upright.

    EXIF orientation is applied, and only the first of several frames is read. Grey and palette pictures become RGB.
    Alpha is composed over white. CMYK is converted to sRGB by its embedded profile if that is valid, else by the plain
    formula. Deep grey pictures (16 and 32 bits, floats) are scaled by their range: white is the largest value of the
    smallest usual bit depth (8, 10, 12, 14, 16, 24, 32) that holds the picture's brightest value, so that a 12-bit
    picture in a 16-bit file keeps its brightness. Floats are in 0-1; if they exceed 1, they are scaled like integers.
    Of deep colour pictures the upper 8 bits are read.

    Args:
        path: the file.
        at_least: if given, read JPEGs at a half, a quarter or an eighth of their size while no side becomes shorter
            than this: faster, with other pixels than those of the whole picture reduced.

    Returns:
        uint8 of shape (H, W, 3), C-contiguous.

    Raises:
        UnreadablePicture: the file is damaged, truncated, too large (more than `MAX_BYTES`), of an unknown format, no
            regular file, or HEIC without the extra that reads it.
    """
    return decode_bytes(read_bytes(path), path, at_least=at_least)


def decode_bytes(content: bytes, path: Path, *, at_least: int | None = None) -> np.ndarray:
    """Decode a picture as `decode` does, from its bytes; ``path`` only names the picture in errors."""

    def pixels(image: Image.Image) -> np.ndarray:
        if at_least is not None and isinstance(image, _Jpeg):
            image.draft(None, (at_least, at_least))
        image.load()
        orientation = _orientation(image)
        upright = image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
        return _to_rgb(upright)

    return _guarded(content, path, pixels)


def read_indices(path: Path) -> np.ndarray:
    """Return the numbers of a picture of one byte a pixel (grey, or of a palette), uint8 (H, W).

    Raises:
        UnreadablePicture: it is none, or is damaged.
    """

    def numbers(image: Image.Image) -> np.ndarray:
        if image.mode not in ("L", "P"):
            raise UnreadablePicture(path, "it is no picture of one byte a pixel (grey, or of a palette)")
        return np.array(image)

    return _guarded(read_bytes(path), path, numbers)


def _orientation(image: Image.Image) -> int:
    """The orientation that EXIF names; 1, upright, where the EXIF data are damaged, since the pixels are whole."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damage shows as almost any exception
        return 1


def check_bytes(content: bytes, path: Path) -> None:
    """Decode the picture and drop it: what passes here, `decode` reads.

    JPEGs are read at an eighth of their size, in a third of the time: damage shows where their bytes are unpacked,
    which is done in full at any size.

    Raises:
        UnreadablePicture: as `decode`.
    """

    def read(image: Image.Image) -> None:
        if isinstance(image, _Jpeg):
            image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()
        _to_rgb(image)

    _guarded(content, path, read)


def shorter_side(path: Path) -> int:
    """Return the pixels of a picture's shorter side, as its file says; no pixel is decoded.

    Raises:
        UnreadablePicture: as `decode`.
    """
    return _guarded(read_bytes(path), path, lambda image: min(image.size))


def digest(path: Path) -> str:
    """Return the first 32 hex digits of the SHA-256 of the file's bytes.

    Raises:
        UnreadablePicture: the file cannot be opened.
    """
    return digest_bytes(read_bytes(path))


def digest_bytes(content: bytes) -> str:
    """Return the digest as `digest` does, from the file's bytes."""
    return hashlib.sha256(content).hexdigest()[:32]


def read_bytes(path: Path) -> bytes:
    """Return the file's bytes.

    Raises:
        UnreadablePicture: the file cannot be opened, is no regular file or too large, or tables cannot hold its name.
    """
    if not is_text(str(path)):
        raise UnreadablePicture(path, "its name is not UTF-8 text")
    try:
        with open_file(path) as file:
            length = os.fstat(file.fileno()).st_size
            if length > MAX_BYTES:
                raise UnreadablePicture(path, f"the file has {size(length)}, more than the limit of {size(MAX_BYTES)}")
            return file.read()
    except OSError as error:
        raise UnreadablePicture(path, cannot_open(error)) from error


def begins_as_picture(path: Path) -> bool:
    """Return whether the first bytes of a file are those of a picture; False where they cannot be read."""
    try:
        with open_file(path) as file:
            return _opener(file.read(HEAD)) is not None
    except OSError:
        return False


def cannot_open(error: OSError) -> str:
    """Return the reason of an `UnreadablePicture` for a file that cannot be opened."""
    return f"the file cannot be opened ({(error.strerror or str(error)).lower()})"


def _guarded(content: bytes, path: Path, use: Callable[[Image.Image], _Result]) -> _Result:
    if not content:
        raise UnreadablePicture(path, "the file is empty")
    try:
        with _open(content, path) as image:
            _check_size(image, path)
            return use(image)
    except (UnreadablePicture, MemoryError):
        raise
    except Exception as error:
        # Damage shows as almost any exception (OSError, SyntaxError, struct.error, zlib.error, IndexError, ...).
        raise UnreadablePicture(path, f"the picture is damaged or truncated ({_brief(error)})") from error


def _check_size(image: Image.Image, path: Path) -> None:
    deep = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    needed = image.width * image.height * (deep + 3)
    if needed > MAX_BYTES:
        raise UnreadablePicture(
            path,
            f"it claims {image.width:,} × {image.height:,} pixels, which take {size(needed)} of memory, more than the "
            f"limit of {size(MAX_BYTES)}",
        )


def _open(content: bytes, path: Path) -> Image.Image:
    opener = _opener(content[:HEAD])
    if opener is None:
        raise UnreadablePicture(path, "its content is not a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC picture")
    try:
        opened: Image.Image = opener(io.BytesIO(content))
    except ImportError as error:
        raise UnreadablePicture(path, "HEIC pictures need an extra (pip install 'citycam[heic]')") from error
    return opened


def _opener(head: bytes) -> Callable[..., Any] | None:
    """Return what opens a file that begins with ``head``, or None if it is no picture."""
    for magic, opener in _OPENERS:
        if head.startswith(magic):
            return opener
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return BmpImagePlugin.BmpImageFile
    if head[4:8] == b"ftyp":
        # The format, and after a version the formats that it is compatible with.
        brands = {head[8:12], *(head[place : place + 4] for place in range(16, int.from_bytes(head[:4], "big"), 4))}
        if brands & _AVIF_BRANDS:
            return AvifImagePlugin.AvifImageFile
        if head[8:12] in _HEIC_BRANDS:
            return _heic
    return None


def _heic(file: io.BytesIO) -> Any:
    return importlib.import_module("pillow_heif").HeifImageFile(file)


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Return the picture in RGB, uint8 (H, W, 3), tile by tile, so that a large one needs no other large copy."""
    if image.mode.startswith("I") or image.mode == "F":
        return _shallow(image)
    return _by_tiles(image, lambda tile: np.asarray(_plain(tile)))


def _plain(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "CMYK":
        return _from_cmyk(image)
    if image.mode == "LAB":
        return _through_profiles(image, ImageCms.createProfile("LAB"))
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")
    return image.convert("RGB")


def _shallow(deep: Image.Image) -> np.ndarray:
    """Convert a grey picture of many bits to 8-bit RGB (H, W, 3), scaled by its range (see `decode`)."""

    def values(tile: Image.Image) -> np.ndarray:
        numbers = np.asarray(tile).astype(np.float64)
        return np.nan_to_num(numbers, nan=0.0, posinf=0.0, neginf=0.0).clip(min=0.0)

    brightest = max(float(values(tile).max(initial=0.0)) for _, _, tile in _tiles(deep))
    if deep.mode == "F" and brightest <= 1.0:
        white = 1.0
    else:
        white = next((2.0**bits - 1 for bits in _BIT_DEPTHS if brightest <= 2.0**bits - 1), brightest)
    return _by_tiles(deep, lambda tile: np.rint(values(tile) * (255.0 / white)).astype(np.uint8)[:, :, None])


def _by_tiles(image: Image.Image, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """Return what ``convert`` makes of every tile as a whole, uint8 (H, W, 3)."""
    whole = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for left, top, tile in _tiles(image):
        whole[top : top + tile.height, left : left + tile.width] = convert(tile)
    return whole


def _tiles(image: Image.Image) -> Iterator[tuple[int, int, Image.Image]]:
    """Yield left, top and a tile of at most `_TILE` pixels, until all are covered; a small picture is one tile."""
    if image.width * image.height <= _TILE:
        yield 0, 0, image
        return
    across = min(image.width, _TILE)
    down = max(1, _TILE // across)
    for top in range(0, image.height, down):
        for left in range(0, image.width, across):
            right, bottom = min(left + across, image.width), min(top + down, image.height)
            yield left, top, image.crop((left, top, right, bottom))


def _from_cmyk(image: Image.Image) -> Image.Image:
    embedded = image.info.get("icc_profile")
    if embedded:
        try:
            return _through_profiles(image, ImageCms.ImageCmsProfile(io.BytesIO(embedded)))
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            # A broken profile says nothing about the colours: decode the picture as one without a profile.
            pass
    return image.convert("RGB")


def _through_profiles(image: Image.Image, source: Any) -> Image.Image:
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # only with inPlace
    return converted


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return (text or type(error).__name__)[:120]
