"""One picture as every run and method of a comparison sees it, on one page. Reads run folders, and no pictures."""

from __future__ import annotations

import contextlib
import itertools
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from citycam.files import write_bytes
from citycam.report import overlay
from citycam.report.overlay import BLANK, FAINT, INK, PAPER, RIGHT, WRONG, Pixels, font, shorten
from citycam.report.ranking import Comparable, Entry

# Rows on the page; the others are in the table.
MOST = 16
_SIDE, _GAP, _MARGIN, _WORDS, _HEADER, _HEADING, _BELOW = 128, 10, 14, 210, 106, 34, 26
_DAMAGED = (OSError, ValueError, KeyError, EOFError, IndexError, TypeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class _Explained:
    """A run's maps.npz: ``digests`` of its pictures, and for each of them what is told below."""

    folder: Path
    digests: tuple[str, ...]
    names: tuple[str, ...]
    cities: tuple[str, ...]
    answers: tuple[str, ...]
    correct: tuple[bool, ...]
    targets: tuple[str, ...]
    maps: dict[str, NDArray[np.float32]]
    blank: dict[str, NDArray[np.bool_]]


def write_side_by_side(path: Path, comparables: Sequence[Comparable]) -> bool:
    """Draw overlays of one picture, a row per run (the first with maps of several seeds) and a column per method.

    The picture is not chosen by its looks: of those that most runs explained, it is the first of the sample.

    Returns:
        Whether there was any map; without one nothing is written.
    """
    rows = [(comparable, entry, _first(entry)) for comparable, entry in _chosen(comparables)]
    known = [its for _, _, its in rows if its is not None]
    counts = Counter(digest for its in known for digest in its.digests)
    for digest in sorted(counts, key=lambda digest: -counts[digest]):  # sorting keeps the sample's order
        thumbnail = _thumbnail([its.folder for its in known], digest)
        if thumbnail is not None:
            write_bytes(path, overlay.png(_page(rows, digest, thumbnail)))
            return True
    return False


def _chosen(comparables: Sequence[Comparable]) -> list[tuple[Comparable, Entry]]:
    """The best rows of each set in turn, until there are `MOST`; in the order of the table."""
    pairs = [[(comparable, entry) for entry in comparable.entries] for comparable in comparables]
    turns = [pair for turn in itertools.zip_longest(*pairs) for pair in turn if pair is not None]
    return sorted(turns[:MOST], key=lambda pair: pair[1].number)


def _first(entry: Entry) -> _Explained | None:
    for row in entry.rows:
        with contextlib.suppress(*_DAMAGED):
            return _read(row.folder)
    return None


def _read(folder: Path) -> _Explained:
    with (folder / "explain" / "maps.npz").open("rb") as file, np.load(file) as arrays:
        methods = [name for name in arrays.files if f"{name}_blank" in arrays.files]
        shares = zip(arrays["predicted"].tolist(), arrays["probability"].tolist(), strict=True)
        return _Explained(
            folder=folder,
            digests=tuple(arrays["digests"].tolist()),
            names=tuple(arrays["names"].tolist()),
            cities=tuple(arrays["cities"].tolist()),
            answers=tuple(f"{word} {100 * share:.0f} %" for word, share in shares),
            correct=tuple(arrays["correct"].tolist()),
            targets=tuple(arrays["targets"].tolist()),
            maps={method: arrays[method] for method in methods},
            blank={method: arrays[f"{method}_blank"] for method in methods},
        )


def _thumbnail(folders: Sequence[Path], digest: str) -> Pixels | None:
    for folder in folders:
        with contextlib.suppress(OSError), Image.open(folder / "thumbs" / f"{digest}.jpg") as image:
            return overlay.fit(np.asarray(image.convert("RGB")), _SIDE)
    return None


def _page(rows: Sequence[tuple[Comparable, Entry, _Explained | None]], digest: str, thumbnail: Pixels) -> Pixels:
    drawn = [(comparable, entry, its) for comparable, entry, its in rows if its is not None and digest in its.digests]
    methods = list(dict.fromkeys(method for _, _, its in drawn for method in its.maps))
    sets = list(dict.fromkeys(comparable.title for comparable, _, _ in drawn))
    step_x, step_y = _SIDE + _GAP, thumbnail.shape[0] + _BELOW
    width = max(2 * _MARGIN + _WORDS + (1 + len(methods)) * step_x - _GAP, 620)
    height = 2 * _MARGIN + _HEADER + _HEADING * len(sets) + step_y * len(drawn)
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    _write_header(page, pen, drawn[0][2], digest, [entry.number for _, entry, its in rows if its is None])
    for column, word in enumerate(["picture", *methods]):
        place, face = (_MARGIN + _WORDS + column * step_x, _MARGIN + _HEADER - 22), font(13, bold=True)
        pen.text(place, shorten(word, face, step_x - 4), font=face, fill=INK)
    top, last = _MARGIN + _HEADER, ""
    for comparable, entry, its in drawn:
        if comparable.title != last:
            pen.text((_MARGIN, top + 8), comparable.title, font=font(14, bold=True), fill=INK)
            top, last = top + _HEADING, comparable.title
        _write_row(pen, top, f"{entry.number}  {comparable.words(entry) or its.folder.name}", its, digest)
        left = _MARGIN + _WORDS
        page.paste(Image.fromarray(thumbnail), (left, top))
        for column, method in enumerate(methods, 1):
            _paste(page, pen, (left + column * step_x, top), its, digest, method, thumbnail)
        top += step_y
    return np.asarray(page)


def _write_header(
    page: Image.Image, pen: ImageDraw.ImageDraw, its: _Explained, digest: str, without: Sequence[int]
) -> None:
    place, room = its.digests.index(digest), page.width - 2 * _MARGIN
    title = f"One picture of {its.cities[place]}, as each run and method sees it"
    pen.text((_MARGIN, _MARGIN), shorten(title, font(17, bold=True), room), font=font(17, bold=True), fill=INK)
    facts = f"{its.names[place]} · the first explained picture that most runs share"
    facts += f" · no maps of {', '.join(map(str, without))}" if without else ""
    pen.text((_MARGIN, _MARGIN + 26), shorten(facts, font(12), room), font=font(12), fill=INK)
    pen.text((_MARGIN, _MARGIN + 46), "0", font=font(11), fill=FAINT)
    ramp = np.ascontiguousarray(np.broadcast_to(overlay.colours()[None, ::2], (10, 128, 3)))
    page.paste(Image.fromarray(ramp), (_MARGIN + 12, _MARGIN + 48))
    pen.text((_MARGIN + 146, _MARGIN + 46), "maximum of each map (below it)", font=font(11), fill=FAINT)


def _write_row(pen: ImageDraw.ImageDraw, top: int, title: str, its: _Explained, digest: str) -> None:
    place, room = its.digests.index(digest), _WORDS - _GAP
    verdict = RIGHT if its.correct[place] else WRONG
    lines = [
        (title, font(13, bold=True), INK),
        (its.answers[place], font(13), verdict),
        (f"evidence for {its.targets[place]}", font(11), FAINT),
    ]
    for number, (text, face, colour) in enumerate(lines):
        pen.text((_MARGIN, top + 20 * number), shorten(text, face, room), font=face, fill=colour)


def _paste(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    its: _Explained,
    digest: str,
    method: str,
    thumbnail: Pixels,
) -> None:
    """A method's overlay with its maximum; where there is no map to believe, words in its place."""
    (left, top), place = corner, its.digests.index(digest)
    word = "not asked for" if method not in its.maps else BLANK if its.blank[method][place] else ""
    if word:
        pen.text((left, top + thumbnail.shape[0] // 2), word, font=font(12), fill=WRONG)
        return
    raw = its.maps[method][place]
    page.paste(Image.fromarray(overlay.overlay(thumbnail, raw)), (left, top))
    pen.text((left, top + thumbnail.shape[0] + 3), f"max {float(raw.max()):.3g}", font=font(11), fill=FAINT)
