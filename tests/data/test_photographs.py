"""What is a photograph, and what a map, a drawing or a logo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from citycam.data.photographs import measured, unlike_photograph

CITY7 = Path(__file__).parents[3] / "shared" / "datasets" / "city7"


def street_map() -> Image.Image:
    """Return pale blocks between thin dark lines."""
    image = Image.new("RGB", (300, 200), (240, 235, 215))
    draw = ImageDraw.Draw(image)
    random = np.random.default_rng(0)
    for x, y in random.integers(0, 300, (60, 2)).tolist():
        draw.line((x, 0, y, 200), fill=(160, 140, 120), width=1)
    return image


def logo() -> Image.Image:
    """Return a black disc on white."""
    image = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(image).ellipse((80, 40, 200, 160), fill="black")
    return image


def grain(low: int, high: int) -> Image.Image:
    """Return evenly distributed noise: no shadows where ``low`` is high, and no flat area."""
    return Image.fromarray(np.random.default_rng(0).integers(low, high, (200, 300, 3), dtype=np.uint8))


@pytest.mark.parametrize("draw", [street_map, logo], ids=["map", "logo"])
def test_what_is_drawn_is_no_photograph(draw: object, tmp_path: Path) -> None:
    draw().save(tmp_path / "a.png")  # type: ignore[operator]
    assert unlike_photograph(tmp_path / "a.png") > 1


def test_shadows_and_grain_are_a_photograph() -> None:
    assert measured(np.asarray(grain(0, 255))) < 1
    assert measured(np.asarray(grain(150, 255))) > 1


@pytest.mark.skipif(not CITY7.is_dir(), reason="the pictures of city7 are not here")
def test_pictures_from_the_web_are_mostly_photographs() -> None:
    scores = [unlike_photograph(path) for path in sorted(CITY7.glob("*/*.jpg"))[::10]]
    assert 0.01 < np.mean(np.array(scores) > 1) < 0.1
