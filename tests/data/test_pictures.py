"""Every kind of picture that people have, with known pixels."""

from __future__ import annotations

import builtins
import hashlib
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from citycam.data import pictures
from citycam.data.pictures import check_bytes, decode, decode_bytes, digest
from citycam.errors import UnreadablePicture

# Four quarters: red, green / blue, white; each 8 x 8, so that JPEG keeps them.
COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)
QUARTERS = COLOURS.repeat(8, axis=0).repeat(16, axis=1)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def decoded(content: bytes) -> np.ndarray:
    picture = decode_bytes(content, Path("picture"))
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert picture.flags.owndata or picture.base is not None
    check_bytes(content, Path("picture"))
    return picture


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_formats_give_the_pixels_back(kind: str, options: dict[str, object]) -> None:
    assert (decoded(encoded(Image.fromarray(QUARTERS), kind, **options)) == QUARTERS).all()


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"quality": 95})])
def test_lossy_formats_are_close(kind: str, options: dict[str, object]) -> None:
    picture = decoded(encoded(Image.fromarray(QUARTERS), kind, **options))
    assert np.abs(picture[4:12:8, 8:24:15].astype(int) - QUARTERS[4:12:8, 8:24:15]).max() < 20


def test_progressive_jpeg() -> None:
    content = encoded(Image.fromarray(QUARTERS), "JPEG", quality=95, subsampling=0, progressive=True)
    assert np.abs(decoded(content)[4, 8].astype(int) - [255, 0, 0]).max() < 10


# The picture that a camera stores for each EXIF orientation, by the standard's definition: which sides of the scene row
# 0 and column 0 of the stored picture are.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright.swapaxes(0, 1)[::-1],
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    stored = np.ascontiguousarray(STORED[orientation](QUARTERS))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    picture = decoded(encoded(Image.fromarray(stored), kind, exif=exif, **options))
    assert picture.shape == QUARTERS.shape
    assert np.abs(picture[4::8, 8::16].astype(int) - QUARTERS[4::8, 8::16]).max() < 20


def test_an_orientation_out_of_range_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert (decoded(encoded(Image.fromarray(QUARTERS), "PNG", exif=exif)) == QUARTERS).all()


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0II*\0\x08\0\0\0\xff\0\x12\x01\x03\0",
        b"Exif\0\0no TIFF at all",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\x01\0\0\0\xff\xff\xff\x7f",
    ],
)
def test_damaged_exif_loses_no_picture(exif: bytes) -> None:
    content = encoded(Image.fromarray(QUARTERS), "JPEG", exif=exif, quality=95)
    check_bytes(content, Path("x"))
    assert decode_bytes(content, Path("x")).shape == QUARTERS.shape


def test_grey_and_bilevel() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (decoded(encoded(Image.fromarray(grey), "PNG")) == grey[:, :, None]).all()
    bilevel = Image.fromarray(grey >= 128)
    assert (decoded(encoded(bilevel, "PNG")) == np.where(grey >= 128, 255, 0)[:, :, None]).all()


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    assert decoded(encoded(image, "PNG")).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert decoded(encoded(image, "PNG", transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    half = decoded(encoded(image, "PNG", transparency=bytes([255, 0])))
    assert half.tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_alpha_is_composed_over_white() -> None:
    image = Image.fromarray(np.array([[[0, 0, 0, 255], [0, 0, 0, 0], [100, 0, 0, 128]]], dtype=np.uint8))
    expected = [round(value * 128 / 255 + 255 * 127 / 255) for value in (100, 0, 0)]
    picture = decoded(encoded(image, "PNG"))
    assert picture[0, :2].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert np.abs(picture[0, 2].astype(int) - expected).max() <= 1
    grey = Image.fromarray(np.array([[[7, 255], [7, 0]]], dtype=np.uint8))
    assert grey.mode == "LA"
    assert decoded(encoded(grey, "PNG")).tolist() == [[[7, 7, 7], [255, 255, 255]]]


def test_a_transparent_colour_of_an_rgb_png() -> None:
    assert decoded(encoded(Image.fromarray(QUARTERS), "PNG", transparency=(255, 0, 0)))[0, 0].tolist() == [
        255,
        255,
        255,
    ]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_is_scaled_by_its_range(bits: int, kind: str) -> None:
    white = 2**bits - 1
    deep = np.array([[0, white // 2, white]], dtype=np.uint16)
    assert decoded(encoded(Image.fromarray(deep), kind))[0, :, 0].tolist() == [0, round(white // 2 / white * 255), 255]


def test_deep_grey_of_every_other_type() -> None:
    big_endian = Image.frombytes("I;16B", (2, 1), np.array([0, 65535], dtype=">u2").tobytes())
    assert decoded(encoded(big_endian, "TIFF"))[0, :, 0].tolist() == [0, 255]
    whole = Image.fromarray(np.array([[0, 2**31 - 1]], dtype=np.int32))
    assert decoded(encoded(whole, "TIFF"))[0, :, 0].tolist() == [0, 127]
    shares = Image.fromarray(np.array([[0.0, 0.2, 1.0, np.nan, -3.0]], dtype=np.float32))
    assert decoded(encoded(shares, "TIFF"))[0, :, 0].tolist() == [0, 51, 255, 0, 0]
    levels = Image.fromarray(np.array([[0.0, 255.0]], dtype=np.float32))
    assert decoded(encoded(levels, "TIFF"))[0, :, 0].tolist() == [0, 255]


def test_sixteen_bit_colour_is_read_by_its_upper_bits() -> None:
    row = b"\0" + struct.pack(">6H", 65535, 0, 0x8000, 0, 65535, 0x40FF)
    content = png_chunks([(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row))])
    assert decoded(content).tolist() == [[[255, 0, 128], [0, 255, 64]]]


def test_plain_cmyk_and_adobes_inverted_one() -> None:
    cmyk = Image.fromarray(QUARTERS).convert("CMYK")
    for kind in ("TIFF", "JPEG"):
        options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
        content = encoded(cmyk, kind, **options)
        if kind == "JPEG":
            assert b"Adobe" in content
        assert np.abs(decoded(content)[4::8, 8::16].astype(int) - QUARTERS[4::8, 8::16]).max() < 20


def test_cmyk_goes_through_its_profile() -> None:
    # Pillow has no CMYK profile, so a valid one is made here; its cyan is a mid grey (L* 50: 119 in sRGB).
    grey_only = cmyk_profile()
    cmyk = Image.new("CMYK", (4, 4), (255, 0, 0, 0))
    plain = decoded(encoded(cmyk, "TIFF"))
    profiled = decoded(encoded(cmyk, "TIFF", icc_profile=grey_only))
    assert plain[0, 0].tolist() == [0, 255, 255]
    assert np.ptp(profiled[0, 0]) < 10
    assert 112 < profiled[0, 0, 0] < 126


def test_a_broken_profile_is_ignored() -> None:
    cmyk = Image.new("CMYK", (4, 4), (255, 0, 0, 0))
    assert decoded(encoded(cmyk, "TIFF", icc_profile=b"no profile"))[0, 0].tolist() == [0, 255, 255]


def test_lab_and_ycbcr() -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.new("RGB", (4, 4), (200, 30, 60)), to_lab)
    assert lab is not None
    assert np.abs(decoded(encoded(lab, "TIFF"))[0, 0].astype(int) - [200, 30, 60]).max() < 6


def test_only_the_first_of_many_frames_is_read() -> None:
    first, second = Image.fromarray(QUARTERS), Image.new("RGB", (32, 16), "black")
    for kind, options in (("TIFF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        content = encoded(first, kind, save_all=True, append_images=[second], **options)
        assert (decoded(content) == QUARTERS).all(), kind
    content = encoded(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(decoded(content)[4, 4].astype(int) - [255, 0, 0]).max() < 40


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(Image.fromarray(QUARTERS), "PNG"))
    assert (decode(path) == QUARTERS).all()


def test_the_largest_claims_are_refused_before_decoding() -> None:
    bomb = png_chunks(
        [(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b""))]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for refuse in (decode_bytes, check_bytes):
            with pytest.raises(UnreadablePicture, match=r"bomb\.png: it claims 100,000 × 100,000 pixels") as refused:
                refuse(bomb, Path("bomb.png"))
            assert str(refused.value).count(". ") == 0


def test_pictures_below_our_limit_do_not_touch_that_of_pillow() -> None:
    limit = Image.MAX_IMAGE_PIXELS
    wide = png_chunks(
        [(b"IHDR", struct.pack(">IIBBBBB", 19_000, 10_000, 1, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b""))]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadablePicture, match="damaged or truncated"):
            check_bytes(wide, Path("wide.png"))
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_truncated_pictures_are_unreadable(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), kind)
    content = whole[: int(len(whole) * share)]
    for refuse in (decode_bytes, check_bytes):
        with pytest.raises(UnreadablePicture) as refused:
            refuse(content, Path("cut.x"))
        assert str(refused.value).startswith("cut.x: ")
        assert "data.on_bad=skip" in str(refused.value)


def test_files_that_are_not_pictures(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePicture, match="its content is not a JPEG, PNG"):
        decode_bytes(b"<html>not found</html>", Path("x.jpg"))
    with pytest.raises(UnreadablePicture, match="the file is empty"):
        decode_bytes(b"", Path("x.jpg"))
    with pytest.raises(UnreadablePicture, match="cannot be opened"):
        decode(tmp_path / "nowhere.jpg")


def test_heic_with_its_extra(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the heic extra is not installed")
    path = tmp_path / "phone.heic"
    heif.from_pillow(Image.new("RGB", (64, 64), (200, 30, 60))).save(path, quality=95)
    assert np.abs(decode(path)[32, 32].astype(int) - [200, 30, 60]).max() < 12


def test_heic_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(pictures.importlib, "import_module", missing)
    with pytest.raises(UnreadablePicture, match=r"pip install 'citycam\[heic\]'"):
        decode_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Path("phone.heic"))


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(b"abc")
    assert digest(path) == hashlib.sha256(b"abc").hexdigest()[:32]


def test_memory_errors_are_not_called_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(pictures, "_to_rgb", exhausted)
    with pytest.raises(builtins.MemoryError):
        decode_bytes(encoded(Image.fromarray(QUARTERS), "PNG"), Path("x"))


def png_chunks(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG file of the given chunks, valid or not."""
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in [*chunks, (b"IEND", b"")]:
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return content


def cmyk_profile() -> bytes:
    """Return a minimal ICC v2 output profile of grey inks: its A2B0 table maps paper to L* 100, cyan 50, black 0."""
    identity = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x10000)
    inks = [(cyan, black) for cyan in (0, 1) for _magenta in (0, 1) for _yellow in (0, 1) for black in (0, 1)]
    cells = b"".join(bytes([0 if black else 128 if cyan else 255, 128, 128]) for cyan, black in inks)
    ramp = struct.pack(">256B", *range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + cells + ramp * 3
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    copyright_text = b"text" + bytes(4) + b"none\0"
    tags = [(b"desc", description), (b"wtpt", white), (b"cprt", copyright_text), (b"A2B0", lut)]
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags:
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(4) + bytes(4) + bytes(4) + bytes(4) + bytes(8)
    header += bytes(4) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    header += bytes(128 - len(header))
    return header + struct.pack(">I", len(tags)) + table + body


@pytest.mark.parametrize(
    ("at_least", "size"), [(None, (240, 320)), (200, (240, 320)), (100, (120, 160)), (20, (30, 40))]
)
def test_jpegs_are_read_smaller_where_that_is_enough(
    at_least: int | None, size: tuple[int, int], tmp_path: Path
) -> None:
    down, across = np.mgrid[0:240, 0:320]
    picture = np.stack([down * 255 / 240, across * 255 / 320, np.full((240, 320), 90)], axis=2).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(picture).save(tmp_path / "a.png")
    read = decode(tmp_path / "a.jpg", at_least=at_least)
    assert read.shape == (*size, 3)
    smaller = np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(read.astype(int) - smaller).max() <= 6
    assert decode(tmp_path / "a.png", at_least=at_least).shape == (240, 320, 3)


def test_gif_and_avif() -> None:
    palette = Image.fromarray(QUARTERS).quantize(5)
    assert (decoded(encoded(palette, "GIF")) == QUARTERS).all()
    assert decoded(encoded(palette, "GIF", transparency=palette.getpixel((0, 0))))[0, 0].tolist() == [255, 255, 255]
    later = [Image.new("RGB", (32, 16), "black")]
    assert (decoded(encoded(palette, "GIF", save_all=True, append_images=later)) == QUARTERS).all()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](QUARTERS)))
    picture = decoded(encoded(stored, "AVIF", quality=95, subsampling="4:4:4", exif=exif))
    assert np.abs(picture[4::8, 8::16].astype(int) - QUARTERS[4::8, 8::16]).max() < 20


def test_exif_without_its_resolution_loses_no_picture() -> None:
    # An entry of the resolution (0x011A) that is an empty text, beside its unit.
    unit, resolution = struct.pack(">HHIHH", 0x0128, 3, 1, 2, 0), struct.pack(">HHII", 0x011A, 2, 1, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + resolution + unit + bytes(4)
    assert decoded(encoded(Image.fromarray(QUARTERS), "JPEG", exif=exif)).shape == QUARTERS.shape
