"""Draw the pictures of README and docs: python docs/pictures.py RUN

RUN is the folder of a run on toytown; `make pictures` trains one. docs/images/toytown.png shows a row of pictures of
each town, docs/images/maps.png the sheet of the run's Grad-CAM maps, and docs/images/page.png one of its overlays.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image

from citycam.config import ToytownConfig
from citycam.data.sources import load_catalog

IMAGES = Path(__file__).resolve().parent / "images"
COLUMNS, GAP = 9, 4


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


def main(run: Path) -> None:
    """Write all pictures to docs/images."""
    IMAGES.mkdir(exist_ok=True)
    towns().quantize(128).save(IMAGES / "toytown.png", optimize=True)
    shutil.copy(run / "explain" / "sheet_gradcam.png", IMAGES / "maps.png")
    shutil.copy(next(iter(sorted((run / "explain" / "gradcam").glob("*.png")))), IMAGES / "page.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
