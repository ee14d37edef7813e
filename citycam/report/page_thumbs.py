"""Thumbnails for comparison.html: each picture is embedded once, however many runs show it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from pathlib import Path

_LARGEST = 4096
_DIGEST = re.compile(r"[0-9A-Za-z]{1,128}")


class Thumbs:
    """Thumbnails by digest; ``encoded`` holds the JPEGs in base64, in the order in which they were added."""

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self._positions: dict[str, int] = {}

    def add(self, digest: str, folders: Iterable[Path], side: int = 96) -> int | None:
        """Return the position of a picture in ``encoded``; None if no run of ``folders`` has a readable thumbnail.

        A thumbnail above 4 kB or ``side`` pixels is made smaller. A picture that was added before stays as it is.
        """
        if digest not in self._positions:
            content = _read(digest, folders, side)
            if content is None:
                return None
            self._positions[digest] = len(self.encoded)
            self.encoded.append(base64.b64encode(content).decode("ascii"))
        return self._positions[digest]


def _read(digest: str, folders: Iterable[Path], side: int) -> bytes | None:
    # A digest comes from a file that anybody may have written, and becomes part of a path here.
    if not _DIGEST.fullmatch(digest):
        return None
    for folder in folders:
        try:
            content = (folder / "thumbs" / f"{digest}.jpg").read_bytes()
            return _reduced(content, side)
        except (OSError, ValueError, SyntaxError):
            continue
    return None


def _reduced(content: bytes, side: int) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        image.load()
        if len(content) <= _LARGEST and max(image.size) <= side:
            return content
        small = image.convert("RGB")
    small.thumbnail((side, side))
    reduced = io.BytesIO()
    small.save(reduced, "JPEG", quality=72, optimize=True)
    return reduced.getvalue()
