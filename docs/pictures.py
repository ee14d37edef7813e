"""Draw the pictures of README and docs: python docs/pictures.py RUN

RUN is the folder of a run on toytown; `make pictures` trains one. docs/images/toytown.png shows a row of pictures of
each town, docs/images/maps.png some of the run's pictures with what changes if their town's features are taken out, and
with two of its maps, and docs/images/page.png one of its overlays.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from citycam.cells import CellGrid
from citycam.config import ToytownConfig
from citycam.data.sources import load_catalog
from citycam.data.toytown import counterfactuals
from citycam.report.overlay import font, overlay, reveal
from citycam.report.stored_maps import read_maps

IMAGES = Path(__file__).resolve().parent / "images"
COLUMNS, GAP, LINE = 9, 4, 20


def towns() -> Image.Image:
    """Return one picture: a row of pictures of each town, each from another walk."""
    config = ToytownConfig()
    catalog = load_catalog(config)
    side = config.size
    page = Image.new("RGB", (COLUMNS * (side + GAP) - GAP, len(catalog.cities) * (side + GAP) - GAP), "white")
    for row, city in enumerate(catalog.cities):
        walks: dict[str | None, str] = {}
        for picture in catalog.pictures:
            if picture.city == city:
                walks.setdefault(picture.group, picture.name)
        for column, name in enumerate(list(walks.values())[:COLUMNS]):
            page.paste(Image.open(catalog.root / name), (column * (side + GAP), row * (side + GAP)))
    return page


def causes(run: Path) -> Image.Image:
    """Return one picture: pictures of a run, and below each what matters in it, its Grad-CAM and its integrated map."""
    config, maps = ToytownConfig(), read_maps(run)
    catalog = load_catalog(config)
    chosen = one_of_each_walk(maps.names)[:COLUMNS]
    side, lines = config.size, ("picture", "what its features change", "Grad-CAM", "integrated")
    page = Image.new("RGB", (COLUMNS * (side + GAP) - GAP, len(lines) * (side + GAP + LINE)), "white")
    pen = ImageDraw.Draw(page)
    for column, place in enumerate(chosen):
        picture = np.asarray(Image.open(catalog.root / maps.names[place]).convert("RGB"))
        matters = np.zeros((side, side))
        for one in counterfactuals(config, [maps.names[place]]):
            matters = np.maximum(matters, one.changed)
        cells, fine = maps.methods["gradcam"], maps.methods["integrated"]
        tiles = [
            picture,
            reveal(picture, matters, CellGrid.even(side, side)),
            overlay(picture, cells.smoothed(place), cells.cells),
            reveal(picture, fine.smoothed(place), fine.cells),
        ]
        for row, tile in enumerate(tiles):
            page.paste(Image.fromarray(tile), (column * (side + GAP), row * (side + GAP + LINE) + LINE))
    for row, line in enumerate(lines):
        pen.text((2, row * (side + GAP + LINE) + 2), line, fill="black", font=font(13))
    return page


def one_of_each_walk(names: Sequence[str]) -> list[int]:
    """Return the positions of pictures: the first one of each walk, then the second one of each, and so on."""
    before = [
        sum(other.rpartition("/")[0] == name.rpartition("/")[0] for other in names[:place])
        for place, name in enumerate(names)
    ]
    return sorted(range(len(names)), key=lambda place: (before[place], place))


def main(run: Path) -> None:
    """Write all pictures to docs/images."""
    IMAGES.mkdir(exist_ok=True)
    towns().quantize(128).save(IMAGES / "toytown.png", optimize=True)
    causes(run).quantize(256).save(IMAGES / "maps.png", optimize=True)
    shutil.copy(next(iter(sorted((run / "explain" / "gradcam").glob("*.png")))), IMAGES / "page.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
