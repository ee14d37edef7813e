"""selfcheck.json: written whole, read back by one reader, which refuses what does not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citycam.errors import DamagedFile
from citycam.report.verdicts import (
    FOLDER,
    NAME,
    BodyKey,
    Cue,
    Estimate,
    MarkCheck,
    Pictures,
    Scores,
    SelfCheck,
    known_checks,
    read_check,
    sentences_for,
    write_check,
)
from citycam.resolved import WeightsSource
from citycam.sweep.record import BackboneRecord, DataRecord, RunRecord

WEIGHTS = "ab" * 16
HALF = Estimate(0.5, 0.4, 0.6)


def made(**changes: Any) -> SelfCheck:
    """A check of one method."""
    scores = Scores("Grad-CAM", "method", HALF, HALF, HALF, HALF, HALF, None, 0, "blind", "0.5")
    usual: dict[str, Any] = {
        "body": BodyKey("resnet50", WEIGHTS, 64, None),
        "pictures": Pictures("folder", "/photos/mine", "cd" * 16, "arden", "multi", 60, 240, "walks"),
        "seed": 0,
        "seconds": 1.5,
        "marks": (
            MarkCheck("disc 16 %", 10, 0.02, 60, (Cue("red", HALF, HALF, HALF, HALF, True),), {"gradcam": scores}),
        ),
        "randomised": {"gradcam": {"head": 0.1, "all": 0.0}},
        "class_swap": {},
        "verdicts": {"gradcam": "blind"},
        "sentences": {"gradcam": "this method finds a planted mark in 50 %"},
        "asked": ("gradcam",),
        "notes": (),
        "command": "citycam selfcheck",
    }
    return SelfCheck(**(usual | changes))


def record(**changes: Any) -> RunRecord:
    """A run of the same body and pictures."""
    return RunRecord(
        status="completed",
        config_hash="f00",
        data=DataRecord(digest=changes.get("data", "cd" * 16)),
        backbone=BackboneRecord(
            "resnet50",
            WeightsSource("file", None, changes.get("weights", WEIGHTS), ""),
            changes.get("finetune", "none"),
        ),
    )


def test_a_check_is_read_back_as_it_was(tmp_path: Path) -> None:
    assert read_check(write_check(tmp_path, made())) == made()


def test_none_is_no_damage(tmp_path: Path) -> None:
    for path in (tmp_path / NAME, tmp_path / NAME / "below"):
        with pytest.raises(FileNotFoundError):
            read_check(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError):
        read_check(tmp_path / "file" / NAME)


@given(st.data())
def test_damage_is_refused_in_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = write_check(tmp_path_factory.mktemp("check"), made())
    text = path.read_text(encoding="utf-8")
    cut = data.draw(st.integers(0, len(text) - 2))
    path.write_text(text[:cut], encoding="utf-8")
    with pytest.raises(DamagedFile, match="make it again with citycam selfcheck"):
        read_check(path)


@given(st.data())
def test_a_value_of_another_kind_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = write_check(tmp_path_factory.mktemp("check"), made())
    content = json.loads(path.read_text(encoding="utf-8"))
    place: Any = content
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    others: list[Any] = [[[]], {"a": {}}, True, 10**400]
    place[key] = data.draw(st.sampled_from([other for other in others if other is not place[key]]))
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DamagedFile):
        read_check(path)


def test_a_newer_one_says_so(tmp_path: Path) -> None:
    path = write_check(tmp_path, made(schema=99))
    with pytest.raises(DamagedFile, match="newer citycam"):
        read_check(path)


def beside(sweep: Path, check: SelfCheck, name: str = "one") -> None:
    """Write a check where comparisons look for it."""
    (sweep / FOLDER / name).mkdir(parents=True)
    write_check(sweep / FOLDER / name, check)


def test_runs_of_the_same_body_and_size_have_the_sentence(tmp_path: Path) -> None:
    sweep = tmp_path / "multirun" / "sweep"
    beside(sweep, made())
    checks = known_checks([sweep / "run-1", sweep / "run-2"])
    assert len(checks) == 1
    own = "On your pictures this method finds a planted mark in 50 %"
    assert sentences_for(record(), 64, checks) == {"gradcam": own}
    assert sentences_for(record(data="ee"), 64, checks) == {
        "gradcam": own.replace("your", "other").replace("res ", "res (mine) ")
    }
    assert sentences_for(record(), 96, checks) == {}
    assert sentences_for(record(weights="ee"), 64, checks) == {}
    assert sentences_for(record(finetune="layer4"), 64, checks) == {}


def test_a_fine_tuned_body_has_verdicts_of_its_own(tmp_path: Path) -> None:
    beside(tmp_path / "sweep", made(body=BodyKey("resnet50", WEIGHTS, 64, "f00")))
    checks = known_checks([tmp_path / "sweep" / "run"])
    assert sentences_for(record(finetune="layer4"), 64, checks)
    assert not sentences_for(record(), 64, checks)
    assert not sentences_for(dataclasses.replace(record(finetune="layer4"), config_hash="f01"), 64, checks)


def test_a_check_of_the_runs_own_pictures_goes_first_and_damage_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "multirun" / "sweep"
    other = Pictures("folder", "/photos/others", "ee" * 16, "arden", "multi", 60, 240, "walks")
    beside(sweep, made(pictures=other, sentences={"gradcam": "OTHER"}), "a")
    beside(sweep.parent, made(), "b")
    beside(sweep, made(body=BodyKey("resnet50", WEIGHTS, 96, None)), "other-size")
    beside(sweep, made(), "c")
    (sweep / FOLDER / "c" / NAME).write_text("{")
    checks = known_checks([sweep / "run"])
    assert "cannot be read" in capsys.readouterr().err
    own = {"gradcam": "On your pictures this method finds a planted mark in 50 %"}
    assert sentences_for(record(), 64, checks) == own
    assert sentences_for(record(), 64, checks[:1]) == {"gradcam": "On other pictures (others) OTHER"}
