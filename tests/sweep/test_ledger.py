"""sweep.json adds what folders do not say; where they differ, the folder holds."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from citycam.devices import Device
from citycam.errors import CitycamError
from citycam.resolved import Resolved
from citycam.sweep.ledger import JobRow, Ledger, job_row
from citycam.sweep.recorder import Recorder

CORES = [Device("cpu", "core0"), Device("cpu", "core3")]
RESOLVED = Resolved(
    device="cpu",
    threads=1,
    precision="fp32",
    rate=10.5,
    batch=64,
    split="group",
    leaky=None,
    target="brill",
    stride=8,
    finetune="none",
    weights_origin="file",
    weights_path=None,
    weights_digest="d",
    weights_note="",
    data_digest="e",
    warnings={"code": "Sentence."},
)


def record(folder: Path, status: str | None, error: str | None = None) -> Recorder:
    made = Recorder(folder, overrides=("seed=1",), command="x", config_hash="01234567")
    if status is not None:
        made.finish(status, error)
    return made


@pytest.mark.parametrize(
    ("status", "state"),
    [("completed", "done"), ("failed", "failed"), ("interrupted", "interrupted"), (None, "running")],
)
def test_a_jobs_state_is_what_its_folder_says(status: str | None, state: str, tmp_path: Path) -> None:
    record(tmp_path / "run", status, "why" if status == "failed" else None)
    row = job_row(tmp_path / "run", "01234567", ("seed=1",))
    assert (row.state, row.error) == (state, "why" if status == "failed" else None)
    assert job_row(tmp_path / "run", "76543210", ()).state == "missing"
    assert job_row(tmp_path / "none", "01234567", ()).state == "missing"


def test_the_ledger_remembers_what_every_auto_became_and_adds_jobs(tmp_path: Path) -> None:
    first = Ledger(tmp_path)
    job = JobRow(tmp_path / "a", "01234567", ("seed=1",), "missing")
    first.add(commands=["one"], jobs=[job], resolved={"01234567": RESOLVED}, devices={"cpu": CORES})
    record(tmp_path / "a", "completed")
    second = Ledger(tmp_path)
    assert second.resolved("01234567") == RESOLVED
    assert second.resolved("76543210") is None
    content = json.loads((tmp_path / "sweep.json").read_text())
    assert content["devices"] == {platform.node(): {"cpu": [["cpu", "core0"], ["cpu", "core3"]]}}
    second.add(commands=["two"], jobs=[JobRow(tmp_path / "b", "89abcdef", (), "missing")], resolved={}, devices={})
    content = json.loads((tmp_path / "sweep.json").read_text())
    assert content["commands"] == ["one", "two"]
    assert {name: row["state"] for name, row in content["jobs"].items()} == {"a": "done", "b": "missing"}


def test_a_damaged_record_is_a_failed_job_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{")
    row = job_row(tmp_path / "run", "01234567", ("seed=1",))
    assert row.state == "failed"
    assert "run.json cannot be read" in str(row.error)


@pytest.mark.parametrize("text", ["{", "[1]", "3", "{}", '{"a": 1}', '{"schema": 2}', "[" * 100_000, "9" * 5000])
def test_a_damaged_ledger_is_named_with_the_way_out(text: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(CitycamError, match=r"cannot be read: .*; move it away, and give the sweep's command again"):
        Ledger(tmp_path)


WRONG: list[tuple[tuple[str, ...], Any]] = [
    (("resolved", "h", "batch"), None),
    (("resolved", "h", "batch"), True),
    (("resolved", "h", "threads"), 0),
    (("resolved", "h", "precision"), "fp8"),
    (("resolved", "h", "rate"), float("nan")),
    (("resolved", "h", "leaky"), "no"),
    (("resolved", "h", "warnings"), {"a": 1}),
    (("resolved", "h", "surplus"), 1),
    (("resolved", "h"), None),
    (("resolved",), []),
    (("commands",), "python train.py"),
    (("commands",), [None]),
    (("working_folder",), "a\0b"),
    (("devices",), {"host": 5}),
    (("jobs", "a", "overrides"), None),
    (("jobs", "a", "folder"), "\ud800"),
    (("jobs", "../a"), {"hash": "h", "folder": "a", "overrides": []}),
    (("more",), float("inf")),
]


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_an_entry_that_does_not_fit_refuses_the_ledger(place: tuple[str, ...], value: Any, tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "schema": 1,
        "commands": ["python train.py"],
        "resolved": {"h": RESOLVED.as_dict()},
        "jobs": {"a": {"hash": "h", "folder": "a", "overrides": []}},
    }
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    assert Ledger(tmp_path).resolved("h") == RESOLVED
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    with pytest.raises(CitycamError, match=r"sweep\.json cannot be read"):
        Ledger(tmp_path)
