"""Picture files: decoding to plain RGB, digests, and the reason why a file cannot be read."""

from __future__ import annotations

import hashlib
import importlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import BmpImagePlugin, Image, ImageCms, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from citycam.errors import UnreadablePicture

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif"})
MAX_PIXELS = 200_000_000

# The first bytes of a file decide its format, not its suffix. Opening files here, not by Image.open, avoids Pillow's
# own size limit (a warning from 89 million pixels on) without changing it for other code.
_OPENERS: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"II+\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0+", TiffImagePlugin.TiffImageFile),
)
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
        UnreadablePicture: the file is damaged, truncated, too large (more than `MAX_PIXELS`), of an unknown format, or
            HEIC without the extra that reads it.
    """
    return decode_bytes(read_bytes(path), path, at_least=at_least)


def decode_bytes(content: bytes, path: Path, *, at_least: int | None = None) -> np.ndarray:
    """Decode a picture as `decode` does, from its bytes; ``path`` only names the picture in errors."""

    def pixels(image: Image.Image) -> np.ndarray:
        if at_least is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft(None, (at_least, at_least))
        image.load()
        orientation = _orientation(image)
        upright = image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
        return np.ascontiguousarray(_to_rgb(upright), dtype=np.uint8)

    return _guarded(content, path, pixels)


def _orientation(image: Image.Image) -> int:
    """The orientation that EXIF names; 1, upright, where the EXIF data are damaged, since the pixels are whole."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damage shows as almost any exception
        return 1


def check_bytes(content: bytes, path: Path) -> None:
    """Read the picture to its last byte and drop it; JPEGs at an eighth of their size, in a third of the time.

    Raises:
        UnreadablePicture: as `decode`.
    """

    def read(image: Image.Image) -> None:
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()

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
        UnreadablePicture: the file cannot be opened.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePicture(path, cannot_open(error)) from error


def cannot_open(error: OSError) -> str:
    """Return the reason of an `UnreadablePicture` for a file that cannot be opened."""
    return f"the file cannot be opened ({(error.strerror or str(error)).lower()})"


def _guarded(content: bytes, path: Path, use: Callable[[Image.Image], _Result]) -> _Result:
    if not content:
        raise UnreadablePicture(path, "the file is empty")
    try:
        with _open(content, path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadablePicture(
                    path,
                    f"it claims {image.width:,} × {image.height:,} pixels, more than the limit of {MAX_PIXELS:,}",
                )
            return use(image)
    except (UnreadablePicture, MemoryError):
        raise
    except Exception as error:
        # Damage shows as almost any exception (OSError, SyntaxError, struct.error, zlib.error, IndexError, ...).
        raise UnreadablePicture(path, f"the picture is damaged or truncated ({_brief(error)})") from error


def _open(content: bytes, path: Path) -> Image.Image:
    for magic, opener in _OPENERS:
        if content.startswith(magic):
            opened: Image.Image = opener(io.BytesIO(content))
            return opened
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        return _open_heic(content, path)
    raise UnreadablePicture(path, "its content is not a JPEG, PNG, WebP, BMP, TIFF or HEIC picture")


def _open_heic(content: bytes, path: Path) -> Image.Image:
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise UnreadablePicture(path, "HEIC pictures need an extra (pip install 'citycam[heic]')") from error
    opened: Image.Image = heif.HeifImageFile(io.BytesIO(content))
    return opened


def _to_rgb(image: Image.Image) -> Image.Image | np.ndarray:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _shallow(np.asarray(image))
    if image.mode == "CMYK":
        return _from_cmyk(image)
    if image.mode == "LAB":
        return _through_profiles(image, ImageCms.createProfile("LAB"))
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")
    return image.convert("RGB")


def _shallow(deep: np.ndarray) -> np.ndarray:
    """Convert a grey picture of many bits (H, W) to 8-bit RGB (H, W, 3), scaled by its range (see `decode`)."""
    values = np.nan_to_num(deep.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0.0)
    brightest = values.max(initial=0.0)
    if deep.dtype.kind == "f" and brightest <= 1.0:
        white = 1.0
    else:
        white = next((2.0**bits - 1 for bits in _BIT_DEPTHS if brightest <= 2.0**bits - 1), brightest)
    grey = np.rint(values * (255.0 / white)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


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
