"""The files of a check: selfcheck.json, and selfcheck.html, a page that opens from disk without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from citycam.explain.truth import highest
from citycam.explain.whole import WHOLE_METHODS
from citycam.files import write_text
from citycam.report.overlay import BLANK, Pixels, fit, over
from citycam.report.template import asset, filled
from citycam.report.verdicts import MarkCheck, SelfCheck, write_check
from citycam.selfcheck.drawn import Drawn
from citycam.selfcheck.marks import Mask
from citycam.selfcheck.run import Example, Outcome
from citycam.selfcheck.text import CUES, SCORES, cue_rows, heading, in_words, random_rows, score_rows
from citycam.words import counted, printable

PAGE = "selfcheck.html"
_SIDE = 192
_CUE, _DECOY, _POINT = (255, 255, 255), (160, 160, 160), (0, 255, 170)
_DASH = 6


def write_files(folder: Path, outcome: Outcome) -> None:
    """Write selfcheck.json and selfcheck.html into ``folder``, each whole."""
    write_check(folder, outcome.check)
    write_text(folder / PAGE, page(outcome))


def page(outcome: Outcome) -> str:
    """Return the page: verdicts in plain words, pictures with their maps, tables. All text is escaped."""
    check = outcome.check
    own = {
        "/*css*/": asset("page.css"),
        "<!--lead-->": f'<p class="lead">{escape(_lead(check))}</p>',
        "<!--verdicts-->": "".join(_finding(check.marks[0], name) for name in check.verdicts),
        "<!--notes-->": "".join(f'<p class="notice">{escape(note)}</p>' for note in check.notes),
        "<!--count-->": str(len(outcome.examples)),
        "<!--examples-->": "".join(_example(example, check) for example in outcome.examples),
        "<!--tables-->": "".join(_tables(mark, check) for mark in check.marks),
        "<!--random-->": _table(random_rows(check)),
        "<!--end-->": f'<p class="quiet">Made by <code>{escape(printable(check.command))}</code></p>',
    }
    return filled("selfcheck.html", own)


def _lead(check: SelfCheck) -> str:
    body, pictures = check.body, check.pictures
    return (
        f"{body.backbone} at {body.image_size} px, on pictures of {pictures.city} in {pictures.root}: marks were "
        f"planted in copies of {counted(pictures.trained, 'training picture')} and {pictures.held_out} held-out ones, "
        "a head was trained on them, and each method had to find the mark that the network uses."
    )


def _finding(mark: MarkCheck, name: str) -> str:
    scores = mark.methods[name]
    return f'<div class="finding {escape(str(scores.verdict))}"><p>{escape(in_words(scores))}</p></div>'


def _example(example: Example, check: SelfCheck) -> str:
    picture = fit(example.view, _SIDE)
    shown = [_figure(outlined(picture, example.masks), example.name)]
    for name, drawn in example.maps.items():
        title = check.marks[0].methods[name].title
        if drawn.blank:  # nothing is its evidence, so nothing is drawn or pointed at
            shown.append(_figure(outlined(picture, example.masks), f"{title}: {BLANK}"))
            continue
        signed = name in WHOLE_METHODS and WHOLE_METHODS[name].box(len(example.view)) > 1
        pixels = pointed(over(picture, drawn.maps[0], drawn.cells, signed=signed), drawn)
        shown.append(_figure(outlined(pixels, example.masks), title))
    return f'<div class="example">{"".join(shown)}</div>'


def outlined(pixels: Pixels, masks: Mask) -> Pixels:
    """Return pixels (H, W, 3) with the outlines of cue and decoy, bool (2, S, S): a solid and a dashed one."""
    result = pixels.copy()
    height, width = pixels.shape[:2]
    dashes = (np.add.outer(np.arange(height), np.arange(width)) // _DASH) % 2 == 0
    for mask, colour, drawn in ((masks[0], _CUE, np.ones_like(dashes)), (masks[1], _DECOY, dashes)):
        scaled = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
        padded = np.pad(scaled, 2)
        neighbours = [padded[2 + row : 2 + row + height, 2 + col : 2 + col + width] for row, col in _AROUND]
        edge = np.logical_or.reduce(neighbours) & ~scaled
        result[edge & drawn] = colour
    return result


_AROUND = tuple((row, col) for row in range(-2, 3) for col in range(-2, 3) if row or col)


def pointed(pixels: Pixels, drawn: Drawn) -> Pixels:
    """Return pixels (H, W, 3), a square, with a cross at the highest point of the first map."""
    image = Image.fromarray(pixels)
    (row,), (column,) = highest(drawn.maps[:1], drawn.cells, image.height)
    pen = ImageDraw.Draw(image)
    for arm in ((5, 0), (0, 5)):
        pen.line((column - arm[0], row - arm[1], column + arm[0], row + arm[1]), fill=_POINT, width=2)
    return np.asarray(image)


def _figure(pixels: Pixels, caption: str) -> str:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=85)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    words = escape(printable(caption))
    return (
        f'<figure><img src="data:image/jpeg;base64,{encoded}" alt="{words}"><figcaption>{words}</figcaption></figure>'
    )


def _tables(mark: MarkCheck, check: SelfCheck) -> str:
    cues, scores = [list(CUES), *cue_rows(mark)], [list(SCORES), *score_rows(mark)]
    return f"<h3>{escape(heading(mark, check))}</h3>{_table(cues)}{_table(scores)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows[1:])
    return f'<div class="scroll"><table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
