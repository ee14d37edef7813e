"""run.json has one type: what is written is read back, what does not fit is repaired or refused."""

from __future__ import annotations

import json
import math
import platform
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
shares = st.floats(0, 1)
seconds = st.integers(0, 10**6).map(lambda ms: ms / 1000)
metrics = st.fixed_dictionaries(
    {
        "val_accuracy": shares,
        "val_balanced_accuracy": shares,
        "val_accuracy_interval": st.lists(shares, min_size=2, max_size=2).map(sorted),
        "majority_accuracy": shares,
        "chance": shares,
        "n_val": st.integers(1, 10**9),
    },
    optional={"val_loss": st.floats(0, 1e300), "interval_over": names, "more": st.floats(-1e300, 1e300)},
)
records = st.builds(
    RunRecord,
    status=st.sampled_from(["running", "completed", "failed", "interrupted"]),
    error=st.none() | names,
    pid=st.none() | st.integers(1, 2**31 - 1),
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
    "error": {},
    "pid": 2**70,
    "host": "\ud800",
    "overrides": [7, "x"],
    "seconds": {"train": -1},
    "best": [1],
    "warnings": [{"code": "x"}],
    "attempts": "many",
    "data": {"digest": {}},
    "split": {"leaky": {}},
    "backbone": {"weights": []},
    "classes": 5,
    "seed": "a",
    "versions": {"torch": 2},
    "threads": 1.5,
    "explained": {"methods": [math.nan]},
}


@pytest.mark.parametrize("name", WRONG)
def test_an_entry_that_does_not_fit_is_left_out_and_named(name: str, tmp_path: Path) -> None:
    content = {"schema": 1, "status": "failed", "attempts": 3, name: WRONG[name]}
    (tmp_path / "run.json").write_text(json.dumps(content))
    record = read_record(tmp_path)
    assert record is not None
    assert record.misfits == (name,)
    assert getattr(record, name) == getattr(RunRecord(status="failed"), name)


@pytest.mark.parametrize("pid", [0, -1, 2**31, 2**63 - 1, True, "1"])
def test_what_the_system_cannot_take_for_a_process_is_none(pid: Any, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"status": "running", "pid": pid, "host": platform.node()}))
    record = read_record(tmp_path)
    assert record is not None
    assert (record.pid, record.state, record.misfits) == (None, "running", ("pid",))


@pytest.mark.parametrize("value", [math.nan, math.inf, "high", None, 10**400, True, [1, 2], -1, 1.5, 2**31])
def test_a_metric_that_cannot_be_is_left_out_and_named(value: Any, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"status": "failed", "final": {"val_accuracy": value, "n_val": 3}}))
    record = read_record(tmp_path)
    assert record is not None
    assert dict(record.final) == {"n_val": 3}
    assert record.misfits == ("final.val_accuracy",)


@pytest.mark.parametrize("interval", [[0.9, 0.1], [0.1], [0.1, 0.2, 0.3], [0, 9], [0, None], {"0": 1}, "01"])
def test_an_interval_that_cannot_be_is_left_out_and_named(interval: Any, tmp_path: Path) -> None:
    final = {"val_accuracy_interval": interval, "val_loss": 2.5}
    (tmp_path / "run.json").write_text(json.dumps({"status": "failed", "final": final}))
    record = read_record(tmp_path)
    assert record is not None
    assert (dict(record.final), record.misfits) == ({"val_loss": 2.5}, ("final.val_accuracy_interval",))


def test_a_completed_run_without_its_numbers_says_so(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "status": "completed", "final": {"val_accuracy_": 1}}))
    record = read_record(tmp_path)
    assert record is not None
    assert "final.val_accuracy" in record.misfits


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "\xff", "{}", '{"status": 3}', '{"status": "x"}', "[" * 100_000, "1" * 5000]
)
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
