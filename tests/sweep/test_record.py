"""run.json has one type: what is written is read back, what does not fit is repaired or refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.errors import CitycamError
from citycam.resolved import WeightsSource
from citycam.sweep.record import BackboneRecord, DataRecord, RunRecord, SplitRecord, read_record
from citycam.sweep.recorder import Recorder
from citycam.words import Mark

names = st.text(min_size=1, max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False)
seconds = st.integers(0, 10**6).map(lambda ms: ms / 1000)
metrics = st.dictionaries(st.sampled_from(["val_accuracy", "n_val", "chance"]), numbers) | st.fixed_dictionaries(
    {"val_accuracy_interval": st.lists(numbers, min_size=2, max_size=2), "interval_over": names}
)
records = st.builds(
    RunRecord,
    status=st.sampled_from(["running", "completed", "failed", "interrupted"]),
    error=st.none() | names,
    pid=st.none() | st.integers(1, 2**31),
    host=st.none() | names,
    overrides=st.lists(names).map(tuple),
    seconds=st.dictionaries(st.sampled_from(["data", "train", "total"]), seconds),
    epoch_seconds=st.lists(seconds).map(tuple),
    final=metrics,
    best=metrics,
    warnings=st.lists(st.builds(Mark, names, names), unique=True).map(tuple),
    attempts=st.integers(1, 9),
    resumed_after=st.none() | st.integers(0, 99),
    data=st.builds(
        DataRecord, names, names, names, names, st.dictionaries(names, st.dictionaries(names, st.integers(0, 9)))
    ),
    split=st.builds(SplitRecord, names, st.none() | st.booleans()),
    backbone=st.builds(
        BackboneRecord, names, st.builds(WeightsSource, names, st.none() | st.just(Path("w")), st.none() | names, names)
    ),
    classes=st.lists(names, min_size=2).map(tuple),
    versions=st.dictionaries(names, names),
    seed=st.none() | st.integers(0, 99),
)


@given(record=records)
def test_what_is_written_is_read_back(record: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "run.json").write_text(json.dumps(record.to_json(), allow_nan=False), encoding="utf-8")
    assert read_record(folder) == record


WRONG: dict[str, Any] = {
    "pid": 2**70,
    "host": 5,
    "overrides": [7, "x"],
    "seconds": {"train": "long"},
    "final": [1],
    "warnings": [{"code": "x"}],
    "attempts": "many",
    "data": {"digest": {}},
    "split": {"leaky": {}},
    "backbone": {"weights": []},
    "classes": 5,
    "seed": "a",
    "versions": {"torch": 2},
    "threads": 1.5,
    "explained": "no",
}


@pytest.mark.parametrize("name", WRONG)
def test_an_entry_that_does_not_fit_is_left_out_and_named(name: str, tmp_path: Path) -> None:
    content = {"schema": 1, "status": "completed", "attempts": 3, name: WRONG[name]}
    (tmp_path / "run.json").write_text(json.dumps(content))
    record = read_record(tmp_path)
    assert record is not None
    assert record.misfits == (name,)
    assert getattr(record, name) == getattr(RunRecord(status="completed"), name)


@pytest.mark.parametrize("value", [math.nan, math.inf, "high", None, 10**400, True, [1, 2]])
def test_a_metric_that_is_no_number_is_left_out(value: Any, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"status": "failed", "final": {"val_accuracy": value, "n_val": 3}}))
    record = read_record(tmp_path)
    assert record is not None
    assert dict(record.final) == {"n_val": 3}


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", "{}", '{"status": 3}', "[" * 100_000, "1" * 5000])
def test_a_damaged_file_is_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(CitycamError, match=r"run\.json (cannot be read|was not written by citycam)"):
        read_record(tmp_path)


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "gone") is None


def test_phases_are_timed_also_when_they_raise(tmp_path: Path) -> None:
    made = Recorder(tmp_path)
    with pytest.raises(KeyError), made.phase("data"):
        raise KeyError
    made.finish("failed", "why")
    record = read_record(tmp_path)
    assert record is not None
    assert record.seconds["data"] >= 0
    assert (record.status, record.error) == ("failed", "why")


def test_a_warning_is_recorded_once(tmp_path: Path) -> None:
    made = Recorder(tmp_path)
    made.warn("code", "sentence")
    made.warn("code", "sentence")
    assert made.record.warnings == (Mark("code", "sentence"),)
