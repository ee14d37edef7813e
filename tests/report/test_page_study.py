"""The page of a study: what it says of a city, and that no name becomes markup."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from PIL import Image

from citycam.errors import DamagedFile
from citycam.report.elements import (
    CROPS,
    DISTINCTIVE,
    FREQUENT,
    NEITHER,
    PICTURES,
    VERDICTS,
    WALKS,
    City,
    Crop,
    Element,
    Estimate,
    Occurrence,
    Study,
    Whole,
    read_study,
    table,
    write_study,
)
from citycam.report.page_study import page, sentence_of

HOSTILE = "<script>alert(1)</script>&\"'"


def make_element(verdict: str = DISTINCTIVE, number: int = 3, **changes: object) -> Element:
    crop = Crop(f"{CROPS}/a.jpg", f"{CROPS}/whole.jpg", f"{HOSTILE}.png", 0.25, 0.75, 1.5)
    made = Element(
        number=number,
        key=f"key{number}",
        name=None,
        city="york",
        same_as=None,
        shared_with=("st. john's", "bath"),
        verdict=verdict,
        suspicious=(),
        finding_here=0.7,
        finding_elsewhere=0.1,
        here=Estimate(0.72, 0.6, 0.84),
        elsewhere=Estimate(0.04, 0.0, 0.1),
        lift=18.0,
        p=0.0002,
        q=0.0004,
        loss=Estimate(2.5, 1.0, 4.0),
        superiority=Estimate(0.9, 0.8, 1.0),
        used_p=0.001,
        used_q=0.002,
        blurred=5,
        pictures=18,
        walks=5,
        weak=True,
        label=None,
        label_share=None,
        crops=(crop,),
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def make_study(*elements: Element, name: str = "york", units: str = WALKS) -> Study:
    city = City(
        name, 90, 25, 5, Estimate(0.92, 0.8, 0.97), "bath", 0.04, (Whole(f"{CROPS}/whole.jpg", HOSTILE),), (), elements
    )
    return Study(
        "run",
        "resnet50",
        64,
        "0" * 32,
        units,
        200,
        0,
        85,
        (HOSTILE,),
        (HOSTILE,),
        f"citycam {HOSTILE}",
        (city,),
        tuple(Occurrence(number, (0.25,)) for number in sorted({element.number for element in elements})),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(content, "JPEG")
    (tmp_path / CROPS).mkdir()
    for name in ("a.jpg", "whole.jpg"):
        (tmp_path / CROPS / name).write_bytes(content.getvalue())
    return tmp_path


@pytest.mark.parametrize("verdict", VERDICTS)
def test_no_name_becomes_markup_and_marks_in_names_are_not_filled(verdict: str, folder: Path) -> None:
    text = page(folder, make_study(make_element(verdict), name=f"{HOSTILE}<!--matrix-->"))
    assert "<script" not in text
    assert "alert(1)&lt;/script&gt;" in text
    assert "&lt;!--matrix--&gt;" in text
    assert (f"Element 3: {verdict}" in text) == (verdict != NEITHER)


def test_the_sentence_has_the_numbers_of_the_table() -> None:
    city = make_study(make_element(label="onion dome"), make_element(FREQUENT, 4)).cities[0]
    words = sentence_of(city)
    assert words == "By what the network tells york: element 3, onion dome (in 72 % of its pictures, 4 % elsewhere)."


def test_the_sentence_does_not_say_a_thing_twice() -> None:
    city = make_study(make_element(), make_element(number=4, same_as=3), make_element(number=5)).cities[0]
    words = sentence_of(city)
    assert "element 3 (" in words
    assert "element 5 (" in words
    assert "element 4" not in words


def test_what_is_suspicious_or_only_frequent_is_no_answer(folder: Path) -> None:
    doubtful = make_study(make_element(suspicious=("It sits at one place of the frame.",)), make_element(FREQUENT, 4))
    assert "is not shown" in sentence_of(doubtful.cities[0])
    text = page(folder, doubtful)
    assert text.index("Element 3 may be no thing of the city: It sits at one place") < text.index(
        "Element 3: distinctive"
    )
    assert sentence_of(make_study(make_element(NEITHER)).cities[0]).startswith("Nothing was found")


def test_without_walks_none_are_counted(folder: Path) -> None:
    assert "25 tested pictures of 5 walks" in page(folder, make_study(make_element()))
    text = page(folder, make_study(make_element(), units=PICTURES))
    assert "25 tested pictures right" in text
    assert "These are few pictures." in text


def test_a_study_is_read_back_as_it_was_written(folder: Path) -> None:
    study = make_study(make_element(), make_element(FREQUENT, 4, lift=None, loss=Estimate(None, None, None)))
    write_study(folder, study)
    assert read_study(folder) == study
    header, rows = table(study)
    assert [row[header.index("shared_with")] for row in rows] == ["st. john's; bath"] * 2
    assert all(len(row) == len(header) for row in rows)


def test_a_mark_is_said_before_anything_else(folder: Path) -> None:
    text = page(folder, dataclasses.replace(make_study(make_element()), suspicious=("A mark sits there.",)))
    assert text.index("A mark sits there.") < text.index("tells 1 cities apart")


def test_a_missing_crop_is_named(folder: Path) -> None:
    (folder / CROPS / "a.jpg").unlink()
    with pytest.raises(DamagedFile, match=r"a\.jpg"):
        page(folder, make_study(make_element()))
