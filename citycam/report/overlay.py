"""Drawings of maps: a picture beside its map, and the maps of many pictures on a sheet.

A drawing shows what is stored: the cells of a map without interpolation, as ReLU(raw), scaled once by its own maximum,
with a colour bar in raw units. Each pixel has the colour of the cell that looks nearest to it. An overlay of cells of a
layer covers a grey copy of the picture, so that every colour is the map's. One of a signed map of the picture itself
shows the picture where the evidence is, so that a person sees the thing.
"""

from __future__ import annotations

import functools
import io
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from citycam.cells import CellGrid, nearest
from citycam.words import printable

Pixels = NDArray[np.uint8]

COLOUR_MAP, SIGNED_COLOUR_MAP = "inferno", "RdBu"
OPACITY = 0.55
_PALE = 0.35
PANEL = 192
THUMB = 128

_MARGIN, _GAP, _BAR, _VERDICT = 14, 10, 14, 22
_CAPTION_WIDTH = 560
PAPER, INK, FAINT = (255, 255, 255), (25, 25, 28), (110, 110, 116)
RIGHT, WRONG = (0, 110, 80), (190, 60, 0)
BLANK = "blank map"
_UNKNOWN = "city not known"


@dataclass(frozen=True, slots=True)
class Caption:
    """What is printed about a picture with each of its maps.

    Attributes:
        name: the picture's, below the data root.
        city: the true one; empty where it is not known.
        predicted, probability: the class with the highest probability, and that probability.
        correct: whether the prediction is right; None where that is not known.
        target: what the maps explain, in words.
    """

    name: str
    city: str
    predicted: str
    probability: float
    correct: bool | None
    target: str


def colours() -> Pixels:
    """Return the colour map, uint8 (256, 3), from 0 to the maximum: perceptually uniform, dark to bright."""
    return _table(COLOUR_MAP)


def shown(raw: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the ReLU of a raw map (h, w), divided by its maximum; zeros if nothing is positive."""
    positive = np.maximum(np.nan_to_num(np.asarray(raw, dtype=np.float64), nan=0.0, posinf=0.0), 0.0)
    peak = positive.max()
    return positive / peak if peak > 0 else positive


def paint(raw: NDArray[np.floating], cells: CellGrid, width: int, height: int) -> Pixels:
    """Return a raw map (h, w) as coloured cells, uint8 (height, width, 3)."""
    coloured = colours()[np.rint(shown(raw) * 255).astype(np.intp)]
    rows, columns = nearest(cells.rows, height), nearest(cells.columns, width)
    return coloured[rows[:, None], columns[None, :]]


def overlay(picture: Pixels, raw: NDArray[np.floating], cells: CellGrid) -> Pixels:
    """Return the cells of a raw map (h, w) over a grey copy of ``picture``, uint8 (H, W, 3)."""
    height, width = picture.shape[:2]
    grey = picture @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    mixed = (1 - OPACITY) * grey[..., None] + OPACITY * paint(raw, cells, width, height).astype(np.float32)
    return np.rint(mixed).astype(np.uint8)


def reveal(picture: Pixels, raw: NDArray[np.floating], cells: CellGrid) -> Pixels:
    """Return ``picture`` in its own colours where a raw map (h, w) has evidence, and pale grey elsewhere, uint8
    (H, W, 3): the square root of the evidence is the share of the picture, so that a quarter of the maximum shows half
    of it."""
    height, width = picture.shape[:2]
    rows, columns = nearest(cells.rows, height), nearest(cells.columns, width)
    share = np.sqrt(shown(raw))[rows[:, None], columns[None, :]][..., None]
    grey = (picture @ np.array([0.299, 0.587, 0.114]))[..., None]
    revealed: Pixels = np.rint(share * picture + (1 - share) * (255 - _PALE * (255 - grey))).astype(np.uint8)
    return revealed


def over(picture: Pixels, raw: NDArray[np.floating], cells: CellGrid, *, signed: bool) -> Pixels:
    """Return `reveal` for a signed map of the picture itself, else `overlay`."""
    return reveal(picture, raw, cells) if signed else overlay(picture, raw, cells)


def paint_signed(raw: NDArray[np.floating], cells: CellGrid, width: int, height: int) -> Pixels:
    """Return a raw map (h, w) as coloured cells, uint8 (height, width, 3): evidence for in red, against in blue, and
    white where there is none."""
    largest = np.abs(raw).max()
    values = np.nan_to_num(raw / largest) if largest > 0 else np.zeros_like(raw)
    coloured = _table(SIGNED_COLOUR_MAP)[np.rint((1 - values) * 127.5).astype(np.intp)]
    rows, columns = nearest(cells.rows, height), nearest(cells.columns, width)
    return coloured[rows[:, None], columns[None, :]]


def draw(
    picture: Pixels,
    raw: NDArray[np.floating],
    cells: CellGrid,
    caption: Caption,
    *,
    method: str,
    note: str,
    blank: bool,
    signed: bool = False,
    verdict: str = "",
) -> Pixels:
    """Return picture, overlay and map with its colour bar side by side under a caption, uint8 (H, W, 3).

    A blank map is not drawn: the words "blank map" are beside the picture.

    Args:
        picture: uint8 (H, W, 3), of any size.
        raw: (h, w), unscaled.
        cells: of the map.
        method: its title.
        note: printed after the caption, for example the stride; may be empty.
        signed: whether the map is a signed one of the picture itself: the picture shows where it has evidence, and
            the map beside it has the evidence against, too.
        verdict: a sentence on the method, below the map; may be empty.
    """
    panel = fit(picture, PANEL)
    height, width = panel.shape[:2]
    wide = max(3 * width + 3 * _GAP + _BAR + 58, _CAPTION_WIDTH)
    below = _VERDICT if verdict else 0
    page = Image.new("RGB", (2 * _MARGIN + wide, 2 * _MARGIN + 66 + height + below), PAPER)
    pen = ImageDraw.Draw(page)
    if verdict:
        words = shorten(verdict, font(12), page.width - 2 * _MARGIN)
        pen.text((_MARGIN, page.height - _MARGIN), words, font=font(12), fill=INK, anchor="ls")
    facts = [method, f"evidence for {caption.target}", f"map {raw.shape[0]} × {raw.shape[1]}", note]
    _write_caption(pen, caption, " · ".join(filter(None, facts)), page.width - 2 * _MARGIN)
    top, left = _MARGIN + 66, _MARGIN
    page.paste(Image.fromarray(panel), (left, top))
    left += width + _GAP
    if blank:
        pen.text((left + width // 2, top + height // 2), BLANK, font=font(18), fill=FAINT, anchor="mm")
        return np.asarray(page)
    page.paste(Image.fromarray(over(panel, raw, cells, signed=signed)), (left, top))
    left += width + _GAP
    map_alone = paint_signed if signed else paint
    page.paste(Image.fromarray(map_alone(raw, cells, width, height)), (left, top))
    _draw_bar(page, pen, (left + width + _GAP, top), height, raw, signed=signed)
    return np.asarray(page)


def _draw_bar(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    height: int,
    raw: NDArray[np.floating],
    *,
    signed: bool,
) -> None:
    """Draw the colours of a map with its numbers: from 0 to its maximum, or from minus to plus its largest one."""
    left, top = corner
    page.paste(Image.fromarray(_bar(height, SIGNED_COLOUR_MAP if signed else COLOUR_MAP)), corner)
    highest = float(np.abs(raw).max() if signed else raw.max())
    for share, anchor in ((0.0, "la"), (0.5, "lm"), (1.0, "ls")):
        value = highest * (1 - 2 * share) if signed else highest * (1 - share)
        pen.text((left + _BAR + 6, top + share * (height - 1)), f"{value:.3g}", font=font(12), fill=INK, anchor=anchor)


def sheet(
    pictures: Sequence[Pixels],
    raws: NDArray[np.floating],
    cells: CellGrid,
    captions: Sequence[Caption],
    blank: Sequence[bool],
    *,
    method: str,
    note: str,
    signed: bool = False,
    verdict: str = "",
    columns: int = 10,
) -> Pixels:
    """Return all maps of one method on a page, uint8 (H, W, 3): overlays with prediction, probability and maximum.

    Args:
        pictures: N pictures of any size.
        raws: (N, h, w), unscaled.
        cells: of every map.
        captions, blank: N each.
        method, note, signed, verdict: as for `draw`.
    """
    columns = min(columns, max(5, len(pictures)))
    step_x, step_y, header = THUMB + _GAP, THUMB + 42, 64 + (_VERDICT if verdict else 0)
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (2 * _MARGIN + columns * step_x - _GAP, 2 * _MARGIN + header + rows * step_y), PAPER)
    pen = ImageDraw.Draw(page)
    title = f"{method} · {_common_city(captions)} · evidence for {_common_target(captions)}"
    facts = " · ".join(filter(None, (_facts(raws.shape, captions, blank), note)))
    _write_header(page, pen, title, facts, signed=signed)
    if verdict:
        words = shorten(verdict, font(12), page.width - 2 * _MARGIN)
        pen.text((_MARGIN, _MARGIN + 62), words, font=font(12), fill=INK)
    for index, (picture, raw, caption, is_blank) in enumerate(zip(pictures, raws, captions, blank, strict=True)):
        left = _MARGIN + (index % columns) * step_x
        top = _MARGIN + header + (index // columns) * step_y
        thumb = fit(picture, THUMB)
        image = Image.fromarray(thumb if is_blank else over(thumb, raw, cells, signed=signed))
        page.paste(image, (left + (THUMB - image.width) // 2, top + (THUMB - image.height) // 2))
        share = f"{100 * caption.probability:.0f} %"
        predicted = shorten(caption.predicted, font(12), THUMB - font(12).getlength(f" {share}"))
        pen.text((left, top + THUMB + 3), f"{predicted} {share}", font=font(12), fill=_verdict(caption))
        below = BLANK if is_blank else f"max {float(np.max(raw)):.3g}"
        pen.text((left, top + THUMB + 19), below, font=font(11), fill=WRONG if is_blank else FAINT)
    return np.asarray(page)


def _common_city(captions: Sequence[Caption]) -> str:
    cities = sorted({caption.city for caption in captions})
    return (cities[0] or _UNKNOWN) if len(cities) == 1 else f"pictures of {len(cities)} cities"


def _common_target(captions: Sequence[Caption]) -> str:
    targets = sorted({caption.target for caption in captions})
    return targets[0] if len(targets) == 1 else f"{len(targets)} targets"


def _facts(shape: tuple[int, ...], captions: Sequence[Caption], blank: Sequence[bool]) -> str:
    """Numbers of pictures, of wrong predictions and of blank maps, and the size of the maps (N, h, w)."""
    wrong = sum(caption.correct is False for caption in captions)
    known = "" if all(caption.correct is None for caption in captions) else f", {wrong} predicted wrongly"
    pictures = f"{shape[0]} picture{'' if shape[0] == 1 else 's'}"
    return f"{pictures}{known}, {sum(blank)} blank · map {shape[1]} × {shape[2]}"


def _write_header(page: Image.Image, pen: ImageDraw.ImageDraw, title: str, facts: str, *, signed: bool) -> None:
    room = page.width - 2 * _MARGIN
    pen.text((_MARGIN, _MARGIN), shorten(title, font(17, bold=True), room), font=font(17, bold=True), fill=INK)
    pen.text((_MARGIN, _MARGIN + 25), shorten(facts, font(12), room), font=font(12), fill=INK)
    if signed:
        words = "in colour where the evidence is, pale where there is none or evidence against"
        pen.text((_MARGIN, _MARGIN + 43), words, font=font(11), fill=FAINT)
    else:
        draw_scale(page, pen, (_MARGIN, _MARGIN + 43))


def draw_scale(page: Image.Image, pen: ImageDraw.ImageDraw, corner: tuple[int, int]) -> None:
    """Draw the colours from 0 to the maximum of each map, with words; ``corner`` is the upper left one."""
    left, top = corner
    pen.text((left, top), "0", font=font(11), fill=FAINT)
    ramp = np.ascontiguousarray(np.broadcast_to(colours()[None, ::2], (10, 128, 3)))
    page.paste(Image.fromarray(ramp), (left + 12, top + 2))
    pen.text((left + 146, top), "maximum of each map (below it)", font=font(11), fill=FAINT)


def _verdict(caption: Caption) -> tuple[int, int, int]:
    return {True: RIGHT, False: WRONG, None: INK}[caption.correct]


def fit(picture: Pixels, longer: int) -> Pixels:
    """Return ``picture`` resized so that its longer side is ``longer`` pixels."""
    height, width = picture.shape[:2]
    scale = longer / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(picture).convert("RGB").resize(size, Image.Resampling.BICUBIC))


def png(pixels: Pixels) -> bytes:
    """Return ``pixels`` (H, W, 3) as the bytes of a PNG file."""
    content = io.BytesIO()
    # Run lengths alone compress these pages as well as a full search does, in half the time.
    Image.fromarray(pixels).save(content, format="png", compress_level=1, compress_type=zlib.Z_RLE)
    return content.getvalue()


def _write_caption(pen: ImageDraw.ImageDraw, caption: Caption, facts: str, room: int) -> None:
    verdict = f"predicted {printable(caption.predicted)}, {100 * caption.probability:.1f} %"
    wide = font(17).getlength(verdict)
    city = shorten(caption.city or _UNKNOWN, font(17, bold=True), max(0.4 * room, room - wide - 14))
    pen.text((_MARGIN, _MARGIN), city, font=font(17, bold=True), fill=INK)
    after = _MARGIN + font(17, bold=True).getlength(city) + 14
    verdict = shorten(verdict, font(17), room + _MARGIN - after)
    pen.text((after, _MARGIN), verdict, font=font(17), fill=_verdict(caption))
    pen.text((_MARGIN, _MARGIN + 25), shorten(facts, font(13), room), font=font(13), fill=INK)
    pen.text((_MARGIN, _MARGIN + 43), shorten(caption.name, font(11), room), font=font(11), fill=FAINT)


def shorten(text: str, face: ImageFont.FreeTypeFont, room: float) -> str:
    """Return ``text`` on one line, shortened in its middle to at most ``room`` pixels."""
    text = unicodedata.normalize("NFC", printable(text))
    if face.getlength(text) <= room:
        return text
    keep = len(text) - 1
    while keep > 1 and face.getlength(_cut(text, keep)) > room:
        keep = min(keep - 1, int(keep * 0.95))
    return _cut(text, keep)


def _cut(text: str, keep: int) -> str:
    return f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"


def _bar(height: int, table: str) -> Pixels:
    ends = (0, 255) if table == SIGNED_COLOUR_MAP else (255, 0)  # red, its upper end, is first in that table
    ramp = np.rint(np.linspace(*ends, height)).astype(np.intp)
    return np.ascontiguousarray(np.broadcast_to(_table(table)[ramp][:, None], (height, _BAR, 3)))


@functools.cache
def _table(name: str) -> Pixels:
    import matplotlib

    table: Pixels = np.rint(matplotlib.colormaps[name](np.arange(256))[:, :3] * 255).astype(np.uint8)
    return table


@functools.cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font of every page; ``size`` is in pixels."""
    # From matplotlib, so that pages look the same on every machine.
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
