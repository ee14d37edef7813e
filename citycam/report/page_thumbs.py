"""Thumbnails of runs, read back; for comparison.html each picture is embedded once, however many runs show it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from citycam.files import read_file

if TYPE_CHECKING:
    from PIL import Image

_LARGEST = 4096
# Bytes and pixels a side of a thumbnail: more than any of ours has.
_MOST, _WIDEST = 2**20, 1024
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


def read_thumbnail(digest: str, folders: Iterable[Path]) -> tuple[bytes, Image.Image] | None:
    """Return the first readable thumbnail of a picture in ``folders`` of runs: the file's bytes, and the decoded
    picture; None if there is none."""
    from PIL import JpegImagePlugin

    # A digest comes from a file that anybody may have written, and becomes part of a path here.
    if not _DIGEST.fullmatch(digest):
        return None
    for folder in folders:
        try:
            content = read_file(folder / "thumbs" / f"{digest}.jpg", _MOST)
            # Not by Image.open, which warns of large pictures before their size can be looked at.
            with JpegImagePlugin.JpegImageFile(io.BytesIO(content)) as image:
                if max(image.size) > _WIDEST:
                    continue
                return content, image.convert("RGB")
        except Exception:  # damage shows as almost any exception
            continue
    return None


def _read(digest: str, folders: Iterable[Path], side: int) -> bytes | None:
    thumbnail = read_thumbnail(digest, folders)
    if thumbnail is None:
        return None
    content, image = thumbnail
    if len(content) <= _LARGEST and max(image.size) <= side:
        return content
    image.thumbnail((side, side))
    reduced = io.BytesIO()
    image.save(reduced, "JPEG", quality=72, optimize=True)
    return reduced.getvalue()
