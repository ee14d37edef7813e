"""Label maps of a folder: what they say, and wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from citycam.data.label_map import CLASSES, LabelFolder
from citycam.errors import CitycamError, UnreadablePicture


def folder(root: Path, lines: str = "0 Sky\n1 Building\n3 Road\n", pixels: object = ((0, 1), (3, 3))) -> LabelFolder:
    (root / "york").mkdir(parents=True, exist_ok=True)
    (root / CLASSES).write_text(lines)
    Image.fromarray(np.array(pixels, dtype=np.uint8)).save(root / "york" / "a.png")
    return LabelFolder.of(root)


def test_a_label_map_has_the_name_of_its_picture(tmp_path: Path) -> None:
    labels = folder(tmp_path)
    found = labels.label_map("york/a.jpg")
    assert found is not None
    assert found.names == ("Sky", "Building", "label 2", "Road")
    assert found.pixels.tolist() == [[0, 1], [3, 3]]
    assert labels.label_map("york/b.jpg") is None


def test_colours_of_a_palette_do_not_matter(tmp_path: Path) -> None:
    labels = folder(tmp_path)
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="L").convert("P")
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.putdata([0, 1])
    image.save(tmp_path / "york" / "a.png")
    found = labels.label_map("york/a.png")
    assert found is not None
    assert found.pixels.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("Sky\n", "has the line 'Sky'"),
        ("0 Sky\n0 Road\n", "label 0 twice"),
        ("300 Sky\n", "below 256"),
        ("0\n", "has the line '0'"),
        ("\n", "is empty"),
    ],
)
def test_wrong_names_are_one_sentence(lines: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(CitycamError, match=words):
        folder(tmp_path, lines)


def test_a_folder_without_names_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CitycamError, match=r"classes\.txt cannot be read"):
        LabelFolder.of(tmp_path)


def test_wrong_maps_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CitycamError, match=r"holds the label 7, which classes\.txt does not name"):
        folder(tmp_path, pixels=((0, 7),)).label_map("york/a.jpg")
    Image.new("RGB", (2, 2)).save(tmp_path / "york" / "a.png")
    with pytest.raises(UnreadablePicture, match="one byte a pixel"):
        LabelFolder.of(tmp_path).label_map("york/a.jpg")


@given(content=st.binary(max_size=200))
def test_a_damaged_map_is_refused_by_name(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("labels")
    labels = folder(root)
    (root / "york" / "a.png").write_bytes(content)
    with pytest.raises(UnreadablePicture, match=r"a\.png"):
        labels.label_map("york/a.jpg")
