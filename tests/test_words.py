"""Numbers, times, sizes and names as people write them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.words import counted, duration, is_text, natural, printable, size, text_table


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3600, "1 h 0 min"), (7530, "2 h 5 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (2**40, "1.0 TB")])
def test_sizes(count: int, words: str) -> None:
    assert size(count) == words


def test_one_thing_and_several() -> None:
    assert [counted(number, "run") for number in (0, 1, 2, 10_000)] == ["0 runs", "1 run", "2 runs", "10,000 runs"]


@given(st.lists(st.integers(0, 10**9)))
def test_numbers_within_names_sort_as_numbers(numbers: list[int]) -> None:
    names = [f"frame{number}.png" for number in numbers]
    assert sorted(names, key=natural) == [f"frame{number}.png" for number in sorted(numbers)]


@given(st.lists(st.text()))
def test_any_name_sorts(names: list[str]) -> None:
    assert sorted(sorted(names, key=natural)) == sorted(names)  # also digits that int() refuses, as in ²


def test_a_table_is_as_wide_as_its_widest_cells() -> None:
    rows = [["store", "rows"], ["a", "12"], ["longer", "1"]]
    assert text_table(rows) == ["store   rows", "a       12", "longer  1"]
    assert text_table(rows, right=True) == ["store   rows", "a         12", "longer     1"]


@given(st.text() | st.text(alphabet="a\r\n\t\x1b\x85\u2028\ud800\udcff"))
def test_printable_text_is_one_line_that_utf8_can_hold(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert len(f"x{shown}x".splitlines()) == 1
    assert printable(shown) == shown
    assert is_text(text) or "\\" in shown


def test_bytes_that_are_not_text_are_shown_as_bytes() -> None:
    assert printable(os.fsdecode(b"caf\xe9\r.png")) == "caf\\xe9\\r.png"


def test_numbers_longer_than_int_takes_sort() -> None:
    assert sorted(["9" * 5000, "2"], key=natural) == ["9" * 5000, "2"]
