"""Crops: an element as it is seen in a picture."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path

from PIL import Image

from citycam.data.pictures import decode
from citycam.data.views import working_picture
from citycam.files import write_bytes
from citycam.report.elements import CROPS, Crop, Study
from citycam.study.subject import Subject

# A crop is a square of this share of the picture's side, as people see it: a cell alone is too small to tell.
_SHARE = 0.25
# Pixels a side: of the picture that is cut, of a crop, and of a whole picture beside it.
_FINE, _SIDE, _WHOLE = 448, 112, 256


def whole_name(digest: str) -> str:
    """Return the file of a whole picture, in the study's folder."""
    return f"{CROPS}/whole-{digest[:16]}.jpg"


def crop_name(city: str, element: int, digest: str) -> str:
    """Return the file of a crop, in the study's folder."""
    words = re.sub(r"[^\w.+-]+", "_", city).strip("_.-")[:32] or "city"
    own = hashlib.sha256(city.encode(errors="surrogatepass")).hexdigest()[:6]
    return f"{CROPS}/{words}-{own}-{element}-{digest[:12]}.jpg"


def write_crops(folder: Path, study: Study, subject: Subject) -> None:
    """Write the crops of every element of a study into ``folder``, their whole pictures, and typical ones.

    Raises:
        UnreadablePicture: a picture has gone since it was studied.
    """
    spec = replace(subject.run.inputs.plain_spec, image_size=max(_FINE, subject.side))
    wanted: dict[str, list[Crop]] = {}
    for element in study.elements:
        for crop in element.crops:
            wanted.setdefault(crop.picture, []).append(crop)
    wholes = {crops[0].whole: name for name, crops in wanted.items()}
    wholes |= {whole.file: whole.picture for city in study.cities for whole in city.typical}
    for file, name in wholes.items():
        view = Image.fromarray(working_picture(decode(subject.run.inputs.catalog.root / name), spec))
        for crop in wanted.get(name, ()):
            _write(folder / crop.file, _cut(view, crop).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
        _write(folder / file, view.resize((_WHOLE, _WHOLE), Image.Resampling.LANCZOS))


def _cut(view: Image.Image, crop: Crop) -> Image.Image:
    """Return the square around a place, moved into the picture where it would leave it."""
    side = view.height
    half = _SHARE * side / 2
    left = min(max(0, crop.column * side - half), side - 2 * half)
    top = min(max(0, crop.row * side - half), side - 2 * half)
    return view.crop((round(left), round(top), round(left + 2 * half), round(top + 2 * half)))


def _write(path: Path, image: Image.Image) -> None:
    content = io.BytesIO()
    image.convert("RGB").save(content, "JPEG", quality=85)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())
