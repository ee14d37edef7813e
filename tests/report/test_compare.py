"""Runs in every state become rows, with everything that qualifies an accuracy."""

from __future__ import annotations

import copy
import csv
import io
import os
import platform
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from citycam import files
from citycam.report import compare, ranking
from citycam.sweep import runs

RECORD: dict[str, Any] = {
    "schema": 1,
    "status": "completed",
    "error": None,
    "pid": 1,
    "host": "elsewhere",
    "overrides": ["optimizer=adam", "epochs=5", "partition=multi", "sweep.name=grid"],
    "command": "python train.py optimizer=adam epochs=5 partition=multi",
    "data": {"kind": "folder", "digest": "d0", "counts": {"val": {"arden": 96, "brill": 96}}},
    "classes": ["arden", "brill"],
    "seed": 0,
    "split": {"kind": "group", "leaky": False},
    "backbone": {"name": "resnet50", "weights": {"origin": "hub", "digest": "ab"}},
    "seconds": {"data": 1.0, "train": 41.0, "total": 45.0},
    "final": {
        "val_accuracy": 0.912,
        "val_balanced_accuracy": 0.91,
        "n_val": 192,
        "majority_accuracy": 0.125,
        "val_accuracy_interval": [0.861, 0.944],
        "val_balanced_accuracy_interval": [0.86, 0.945],
        "chance": 0.125,
    },
    "best": {"epoch": 4, "val_accuracy": 0.92},
    "warnings": [{"code": "no_pretrained_weights", "sentence": "No pretrained weights could be had."}],
}


STANDING = ["rank", "majority", "balanced", "n", "marks"]


def _run(folder: Path, **changes: Any) -> Path:
    files.write_json(folder / "run.json", {**copy.deepcopy(RECORD), **changes})
    return folder


def _overrides(optimizer: str, epochs: int) -> list[str]:
    return [f"optimizer={optimizer}", f"epochs={epochs}", "partition=multi", "sweep.name=grid"]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Write runs: good, at the majority, failed, killed, without record, damaged, leaky, unknown, running, foreign."""
    final = RECORD["final"]
    poor = final | {"val_accuracy": 0.9, "majority_accuracy": 0.9, "val_balanced_accuracy": 0.5, "chance": 0.5}
    poor |= {"val_balanced_accuracy_interval": [0.44, 0.56]}
    _run(tmp_path / "0")
    _run(tmp_path / "1", final=poor, overrides=_overrides("sgd", 5))
    error = "The GPU has too little memory; lower batch_size."
    _run(tmp_path / "2", status="failed", error=error, final={}, best={}, overrides=_overrides("sgd", 10))
    _run(tmp_path / "3", status="running", pid=2**22 + 1, host=platform.node(), final={})
    files.write_text(tmp_path / "4" / ".hydra" / "overrides.yaml", "- optimizer=sgd\n- 'epochs=20'\n- +x=1\n")
    files.write_text(tmp_path / "5" / "run.json", '{"status": ')
    _run(tmp_path / "6", split={"kind": "random", "leaky": True})
    _run(tmp_path / "7", split={"kind": "random", "leaky": None})
    _run(tmp_path / "8", status="running", pid=os.getpid(), host=platform.node(), final={}, warnings=[])
    files.write_text(tmp_path / "10" / "run.json", '{"schema": 0}')
    (tmp_path / "frozen").mkdir()
    files.write_json(tmp_path / "sweep.json", {})
    return tmp_path


def _shown(rows: list[runs.RunRow], width: int = 200) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(compare.summary(ranking.arrange(rows), width))
    return console.export_text().replace("\u00a0", " ")


def test_runs_in_any_state_are_rows_in_natural_order(sweep: Path) -> None:
    rows = runs.read_runs(sweep)
    assert [(row.name, row.status) for row in rows] == [
        ("0", "completed"),
        ("1", "completed"),
        ("2", "failed"),
        ("3", "interrupted"),
        ("4", "interrupted"),
        ("5", "unreadable"),
        ("6", "completed"),
        ("7", "completed"),
        ("8", "running"),
        ("10", "unreadable"),
    ]
    assert rows[4].overrides == {"optimizer": "sgd", "epochs": "20", "x": "1"}
    assert rows[3].error == f"Its process {2**22 + 1} is gone."
    assert rows[5].error is not None
    assert rows[5].error.startswith("run.json cannot be read")
    assert rows[0].record.backbone.weights.origin == "hub"
    assert rows[0].record.total_seconds == 45.0


def test_a_running_run_of_another_host_stays_running(tmp_path: Path) -> None:
    _run(tmp_path / "0", status="running", pid=2**22 + 1, host="another-machine")
    assert runs.read_runs(tmp_path)[0].status == "running"


def test_the_folder_of_a_run_is_read_as_one_row(sweep: Path) -> None:
    rows = runs.read_runs(sweep / "0")
    assert [row.name for row in rows] == ["0"]
    assert runs.differing(rows) == []


def test_a_missing_folder_and_an_empty_one_have_no_runs(tmp_path: Path) -> None:
    assert runs.read_runs(tmp_path) == runs.read_runs(tmp_path / "none") == []
    assert _shown([]).strip() == ""


def test_marks_show_what_an_accuracy_does_not(sweep: Path) -> None:
    codes = {row.name: [mark.code for mark in row.marks] for row in runs.read_runs(sweep)}
    assert codes["0"] == codes["2"] == codes["4"] == codes["5"] == []
    assert codes["1"] == ["balanced_accuracy_reaches_chance", "accuracy_not_above_majority"]
    assert codes["6"] == ["split_leaky"]
    assert codes["7"] == ["split_unknown"]


def test_settings_that_differ_come_first(sweep: Path) -> None:
    rows = runs.read_runs(sweep)[:3]
    assert runs.differing(rows) == ["optimizer", "epochs"]
    header = _shown(rows).splitlines()[1].split()
    assert header == ["#", "optimizer", "epochs", "accuracy", "[95", "%]", *STANDING]


def test_the_table_shows_what_qualifies_an_accuracy(sweep: Path) -> None:
    shown = _shown(runs.read_runs(sweep))
    line = next(line for line in shown.splitlines() if "0.912" in line)
    for cell in ("0.912 [0.86 0.94]", "0.125", "0.910", "192"):
        assert cell in line
    assert "chance, ≤ majority" in shown
    assert "leaky " in shown
    assert "leaky?" in shown
    assert "3 (2) failed: The GPU has too little memory; lower batch_size. Again: citycam train" in shown
    assert "1-4, 6-7: No pretrained weights could be had." in shown
    assert "2: Accuracy 0.900 is not above 0.900" in shown
    assert "Runs with different data, classes or split are in separate tables" in shown


def test_a_narrow_terminal_shows_every_number(sweep: Path) -> None:
    shown = _shown(runs.read_runs(sweep)[:2], width=80)
    assert "0.912" in shown
    assert "[0.86 0.94]" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_mark_with_a_warning_of_its_code_is_printed_once(tmp_path: Path) -> None:
    warning = {"code": "split_leaky", "sentence": "split=random: frames of 3 walks lie in both train and val."}
    _run(tmp_path / "0", split={"kind": "random", "leaky": True}, warnings=[warning])
    warnings = runs.warnings_of(runs.read_runs(tmp_path))
    assert [(item.code, item.sentence, item.runs) for item in warnings] == [(*warning.values(), ("0",))]


def test_a_warning_of_the_split_replaces_its_mark(tmp_path: Path) -> None:
    warning = {
        "code": "split_1",
        "sentence": "split=random: whether frames of one walk lie in both parts is not known.",
    }
    _run(tmp_path / "0", split={"kind": "random", "leaky": "unknown"}, warnings=[warning])
    rows = runs.read_runs(tmp_path)
    assert [mark.code for mark in rows[0].marks] == ["split_unknown"]
    assert [item.code for item in runs.warnings_of(rows)] == ["split_1"]


def test_a_warning_of_all_runs_with_a_split_names_no_runs(tmp_path: Path) -> None:
    _run(tmp_path / "0")
    _run(tmp_path / "1")
    _run(tmp_path / "2", status="failed", split={}, warnings=[], final={})
    assert "\nNo pretrained weights could be had." in _shown(runs.read_runs(tmp_path))


def test_the_files_have_every_run(sweep: Path) -> None:
    rows = runs.read_runs(sweep)
    compare.write_comparison(sweep, ranking.arrange(rows))
    with (sweep / "comparison.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert {row["run"] for row in table} == {row.name for row in rows}
    assert list(table[0])[:3] == ["run", "optimizer", "epochs"]
    table = [next(row for row in table if row["run"] == name.name) for name in rows]
    assert table[0]["val_accuracy"] == "0.912"
    assert table[0]["val_accuracy_interval_low"] == "0.861"
    assert table[0]["best_val_accuracy"] == "0.92"
    assert table[0]["leaky"] == "false"
    assert table[1]["marks"] == "balanced_accuracy_reaches_chance accuracy_not_above_majority"
    assert table[2]["error"].startswith("The GPU has")
    assert table[2]["val_accuracy"] == ""
    assert [table[6]["leaky"], table[7]["leaky"]] == ["true", "unknown"]
    text = (sweep / "comparison.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len([line for line in lines if line.startswith("|")]) == len(rows) + 2 * 3
    assert "## Not completed" in text
    assert "## Warnings" in text


def test_equal_runs_give_equal_files(sweep: Path) -> None:
    compare.write_comparison(sweep, ranking.arrange(runs.read_runs(sweep)))
    first = (sweep / "comparison.csv").read_bytes()
    compare.write_comparison(sweep, ranking.arrange(runs.read_runs(sweep)))
    assert (sweep / "comparison.csv").read_bytes() == first


def test_brackets_in_an_error_are_not_markup(tmp_path: Path) -> None:
    _run(tmp_path / "0", status="failed", error="Key [bold] is [/not] known | ever.", final={})
    rows = runs.read_runs(tmp_path)
    assert "Key [bold] is [/not] known | ever." in _shown(rows)
