"""Names of elements come from people's names.csv, and from nowhere else."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from citycam.errors import CitycamError
from citycam.report.elements import FREQUENT, NEITHER
from citycam.report.names import NAMES, named, read_names, write_names
from citycam.report.page_study import page, sentence_of
from tests.report.test_page_study import HOSTILE, folder, make_element, make_study

__all__ = ["folder"]


def give(folder: Path, **names: str) -> None:
    """Write names.csv as a spreadsheet would."""
    with (folder / NAMES).open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("key", "number", "name"), *((key, 0, name) for key, name in names.items())])


def test_a_table_without_names_is_written_once(tmp_path: Path) -> None:
    study = make_study(make_element(), make_element(FREQUENT, 4), make_element(NEITHER, 5))
    assert read_names(tmp_path) == {}
    write_names(tmp_path, study)
    assert (tmp_path / NAMES).read_text().split() == ["key,number,name", "key3,3,", "key4,4,"]
    assert read_names(tmp_path) == {}
    give(tmp_path, key3="glass towers")
    before = (tmp_path / NAMES).read_bytes()
    write_names(tmp_path, study)
    assert (tmp_path / NAMES).read_bytes() == before


@pytest.mark.parametrize("name", ["glass towers", "Türme, aus Glas", '"quoted"', "=1+1", HOSTILE])
def test_a_name_stands_on_the_page_and_in_the_sentence(name: str, folder: Path) -> None:
    give(folder, key3=f" {name} ")
    study = named(make_study(make_element(), make_element(FREQUENT, 4)), read_names(folder))
    assert [element.name for element in study.elements] == [name, None]
    assert sentence_of(study.cities[0]).startswith(f"By what the network tells york: {name} (in 72 %")
    text = page(folder, study)
    assert "(element 3): distinctive" in text
    assert "<script" not in text


def test_a_name_of_another_study_is_said(folder: Path) -> None:
    give(folder, key3="roof", key9="banner")
    study = named(make_study(make_element()), read_names(folder))
    assert "did not find: banner" in study.notes[-1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"name\ntower\n", "has not the columns key and name in line 2"),
        (b"key,number,name\na\n", "has not the columns key and name in line 2"),
        (b"key,number,name\na,1,roof\na,1,tower\n", "a second name in line 3"),
        (b"key,number,name\na,1," + b"x" * 61 + b"\n", "61 characters in line 2"),
        (b"\xff\xfe\x00k", "save it as a CSV in UTF-8"),
    ],
)
def test_a_wrong_table_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / NAMES).write_bytes(content)
    with pytest.raises(CitycamError, match=sentence):
        read_names(tmp_path)
