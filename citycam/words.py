"""Text for people: lines on stderr, counts, figures, durations, sizes, natural order of names, tables."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Control characters, separators of lines and paragraphs, lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# int() refuses longer texts.
_LONGEST_NUMBER = 4000


@dataclass(frozen=True, slots=True)
class Mark:
    """A warning beside a number: ``code`` for programs, ``sentence`` for people."""

    code: str
    sentence: str

    def as_dict(self) -> dict[str, str]:
        """Return the entry of run.json's ``warnings``."""
        return {"code": self.code, "sentence": self.sentence}


def say(text: str) -> None:
    """Print lines on stderr at once; stdout is for results."""
    print("\n".join(map(printable, text.split("\n"))), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Return text for one line of a terminal or a file: control characters and bytes that are not text as escapes.

    >>> printable("a\\rb\\udcff.png")
    'a\\\\rb\\\\xff.png'
    """
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if "\udc80" <= character <= "\udcff":  # how Python gives the bytes of a file's name that are not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def is_text(value: Any) -> bool:
    """Return whether ``value`` is text that UTF-8 can hold: half a surrogate pair is none."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def counted(number: int, word: str) -> str:
    """Return a number with the word for what it counts.

    >>> counted(1, "picture"), counted(1200, "picture")
    ('1 picture', '1,200 pictures')
    """
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a number as every table, sentence and page shows it, rounded once from its full value; None is empty.

    >>> decimal(0.69047), decimal(1 / 3, 2), decimal(None)
    ('0.690', '0.33', '')
    """
    return "" if value is None else f"{value:.{digits}f}"


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts names as people do.

    >>> sorted(["frame10", "frame9"], key=natural)
    ['frame9', 'frame10']
    """
    return tuple((int(piece), "") if _is_number(piece) else (-1, piece) for piece in re.split(r"(\d+)", name))


def _is_number(piece: str) -> bool:
    return piece.isdecimal() and len(piece) <= _LONGEST_NUMBER


def duration(seconds: float) -> str:
    """Return seconds as text in s, min and h.

    >>> duration(8.2), duration(200), duration(7500)
    ('8 s', '3 min 20 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: int) -> str:
    """Return bytes as text in B, KB, MB, GB or TB, in steps of 1024.

    >>> size(512), size(8_600_000)
    ('512 B', '8.2 MB')
    """
    amount, unit = float(count), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "B" else f"{amount:.1f} {unit}"


def text_table(rows: Sequence[Sequence[str]], *, right: bool = False) -> list[str]:
    """Return the lines of a table, the header first; ``right`` aligns all columns but the first to the right.

    >>> text_table([["store", "rows"], ["a", "12"]], right=True)
    ['store  rows', 'a        12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pad = str.rjust if right else str.ljust
    return ["  ".join([row[0].ljust(widths[0]), *map(pad, row[1:], widths[1:])]).rstrip() for row in rows]
