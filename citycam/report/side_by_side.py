"""One picture as every run and method of a comparison explains it, on one page. Reads run folders, and no pictures."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from citycam.errors import DamagedFile
from citycam.files import write_bytes
from citycam.report import overlay
from citycam.report.overlay import BLANK, FAINT, INK, PAPER, RIGHT, WRONG, Pixels, font, shorten
from citycam.report.page_thumbs import read_thumbnail
from citycam.report.ranking import Comparable, Entry
from citycam.report.stored_maps import StoredMaps, read_maps
from citycam.words import printable

# Rows on the page; the others are in the table only.
MOST = 16
_SIDE, _GAP, _MARGIN, _WORDS, _HEADER, _HEADING, _BELOW = 128, 10, 14, 210, 106, 34, 26


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the page: an entry of a comparable, and the maps of its first run that has any, in its ``folder``."""

    comparable: Comparable
    entry: Entry
    folder: Path
    stored: StoredMaps


def write_side_by_side(path: Path, comparables: Sequence[Comparable]) -> bool:
    """Draw overlays of one picture: a row per entry and a column per method.

    The picture is the first of the sample among those that most runs explain, so it is not chosen by its looks.

    Returns:
        Whether there was any map; without one nothing is written.
    """
    chosen = _chosen(comparables)
    rows = [row for comparable, entry in chosen if (row := _read(comparable, entry)) is not None]
    shown = {row.entry.number for row in rows}
    without = [entry.number for _, entry in chosen if entry.number not in shown]
    counts = Counter(digest for row in rows for digest in row.stored.digests)
    for digest in sorted(counts, key=lambda digest: -counts[digest]):  # sorting keeps the sample's order
        thumbnail = _thumbnail([row.folder for row in rows], digest)
        if thumbnail is not None:
            sharing = [row for row in rows if digest in row.stored.digests]
            write_bytes(path, overlay.png(_page(sharing, digest, thumbnail, without)))
            return True
    return False


def _chosen(comparables: Sequence[Comparable]) -> list[tuple[Comparable, Entry]]:
    """Return the best entries of each set in turn, at most `MOST`, in the order of the table."""
    pairs = [[(comparable, entry) for entry in comparable.entries] for comparable in comparables]
    turns = [pair for turn in itertools.zip_longest(*pairs) for pair in turn if pair is not None]
    return sorted(turns[:MOST], key=lambda pair: pair[1].number)


def _read(comparable: Comparable, entry: Entry) -> _Row | None:
    for run in entry.rows:
        with contextlib.suppress(FileNotFoundError, DamagedFile):
            return _Row(comparable, entry, run.folder, read_maps(run.folder))
    return None


def _thumbnail(folders: Sequence[Path], digest: str) -> Pixels | None:
    thumbnail = read_thumbnail(digest, folders)
    return None if thumbnail is None else overlay.fit(np.asarray(thumbnail[1]), _SIDE)


def _page(rows: Sequence[_Row], digest: str, thumbnail: Pixels, without: Sequence[int]) -> Pixels:
    methods = list(dict.fromkeys(method for row in rows for method in row.stored.methods))
    sets = list(dict.fromkeys(row.comparable.title for row in rows))
    step_x, step_y = _SIDE + _GAP, thumbnail.shape[0] + _BELOW
    width = max(2 * _MARGIN + _WORDS + (1 + len(methods)) * step_x - _GAP, 620)
    height = 2 * _MARGIN + _HEADER + _HEADING * len(sets) + step_y * len(rows)
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    _write_header(page, pen, rows[0].stored, digest, without)
    for column, title in enumerate(["picture", *methods]):
        corner, face = (_MARGIN + _WORDS + column * step_x, _MARGIN + _HEADER - 22), font(13, bold=True)
        pen.text(corner, shorten(title, face, step_x - 4), font=face, fill=INK)
    top, last = _MARGIN + _HEADER, ""
    for row in rows:
        if row.comparable.title != last:
            last = row.comparable.title
            pen.text((_MARGIN, top + 8), printable(last), font=font(14, bold=True), fill=INK)
            top += _HEADING
        _write_row(pen, top, row, digest)
        left = _MARGIN + _WORDS
        page.paste(Image.fromarray(thumbnail), (left, top))
        for column, method in enumerate(methods, 1):
            _paste(page, pen, (left + column * step_x, top), row.stored, digest, method, thumbnail)
        top += step_y
    return np.asarray(page)


def _write_header(
    page: Image.Image, pen: ImageDraw.ImageDraw, stored: StoredMaps, digest: str, without: Sequence[int]
) -> None:
    index, room = stored.digests.index(digest), page.width - 2 * _MARGIN
    title = f"One picture of {stored.cities[index]}, as each run and method explains it"
    pen.text((_MARGIN, _MARGIN), shorten(title, font(17, bold=True), room), font=font(17, bold=True), fill=INK)
    facts = f"{stored.names[index]} · the first explained picture that most runs share"
    facts += f" · no maps of {', '.join(map(str, without))}" if without else ""
    pen.text((_MARGIN, _MARGIN + 26), shorten(facts, font(12), room), font=font(12), fill=INK)
    overlay.draw_scale(page, pen, (_MARGIN, _MARGIN + 46))


def _write_row(pen: ImageDraw.ImageDraw, top: int, row: _Row, digest: str) -> None:
    stored, room = row.stored, _WORDS - _GAP
    index = stored.digests.index(digest)
    title = f"{row.entry.number}  {row.comparable.label(row.entry) or row.folder.name}"
    prediction = f"{stored.predicted[index]} {100 * stored.probability[index]:.0f} %"
    lines = [
        (title, font(13, bold=True), INK),
        (prediction, font(13), RIGHT if stored.correct[index] else WRONG),
        (f"evidence for {_target(stored, index)}", font(11), FAINT),
    ]
    for number, (text, face, colour) in enumerate(lines):
        pen.text((_MARGIN, top + 20 * number), shorten(text, face, room), font=face, fill=colour)


def _target(stored: StoredMaps, index: int) -> str:
    """What most methods explain of a picture."""
    return Counter(its.targets[index] for its in stored.methods.values()).most_common(1)[0][0]


def _paste(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    stored: StoredMaps,
    digest: str,
    method: str,
    thumbnail: Pixels,
) -> None:
    """Draw a method's overlay with its maximum; words in its place where it is blank or was not drawn."""
    (left, top), index = corner, stored.digests.index(digest)
    its = stored.methods.get(method)
    words = "not drawn" if its is None else BLANK if its.blank[index] else ""
    if its is None or words:
        pen.text((left, top + thumbnail.shape[0] // 2), words, font=font(12), fill=WRONG)
        return
    raw = its.smoothed(index)
    page.paste(Image.fromarray(overlay.over(thumbnail, raw, its.cells, signed=its.box > 1)), (left, top))
    pen.text((left, top + thumbnail.shape[0] + 3), f"max {float(raw.max()):.3g}", font=font(11), fill=FAINT)
