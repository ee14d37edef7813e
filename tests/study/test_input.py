"""Input that cannot be studied is one sentence, and what can still be answered is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from citycam.report.elements import read_study
from citycam.study import run as study_run
from tests.conftest import Outcome, paint_cities
from tests.study.test_study import Call, call

__all__ = ["call"]
Train = Callable[..., Outcome]
TRAIN = ("explain=none", "epochs=2", "split.val=0.4")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Cities that a test may change."""
    return paint_cities(tmp_path / "own", ("arden", "brill", "corvo"), 16)


def refused(outcome: Outcome, *words: str) -> None:
    """One sentence that says the words, and no study."""
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    assert all(word in outcome.err for word in words), outcome.err
    assert not list(outcome.results.rglob("study.json"))


def test_pictures_that_are_gone_are_named_and_found_where_they_were_moved(
    own: Path, train: Train, call: Call, tmp_path: Path
) -> None:
    trained = train(*TRAIN, f"data.root={own}")
    assert trained.code == 0, trained.err
    own.rename(tmp_path / "elsewhere")
    refused(call(trained.runs[0]), "data.root")
    assert call(trained.runs[0], f"data.root={tmp_path / 'elsewhere'}").code == 0


def test_a_run_without_its_checkpoint_is_refused(train: Train, call: Call) -> None:
    trained = train(*TRAIN)
    shutil.rmtree(trained.runs[0] / "checkpoints")
    refused(call(trained.runs[0]))


def test_a_failed_run_beside_a_completed_one_does_not_end_the_study(train: Train, call: Call) -> None:
    trained = train(*TRAIN, "optimizer=sgd", "optimizer.lr=0.01,1e30", multirun=True)
    assert trained.code == 1
    outcome = call(trained.results)
    assert outcome.code == 0, outcome.err


def test_maps_that_show_nothing_are_said(train: Train, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = train(*TRAIN)
    monkeypatch.setattr(study_run, "cell_maps", lambda _subject, some: np.zeros((len(some), 16, 16), np.float32))
    refused(call(trained.runs[0]), "No map of the training pictures", "Train it longer")


def test_a_city_of_too_few_pictures_is_said_and_the_others_are_studied(
    train: Train, call: Call, tmp_path: Path
) -> None:
    root = paint_cities(tmp_path / "few", ("arden", "brill", "corvo"), 16)
    for path in sorted((root / "corvo").rglob("*.png"))[3:]:
        path.unlink()
    trained = train(*TRAIN, f"data.root={root}")
    assert trained.code == 0, trained.err
    outcome = call(trained.runs[0])
    assert outcome.code == 0, outcome.err
    (folder,) = (trained.results / "study").iterdir()
    city = read_study(folder).cities[2]
    assert city.name == "corvo"
    assert any("too few pictures" in note for note in city.notes)
    assert not city.elements


def test_one_city_with_enough_pictures_is_refused(train: Train, call: Call, tmp_path: Path) -> None:
    root = paint_cities(tmp_path / "few", ("arden", "brill"), 16)
    for path in sorted((root / "brill").rglob("*.png"))[3:]:
        path.unlink()
    trained = train(*TRAIN, f"data.root={root}")
    assert trained.code == 0, trained.err
    refused(call(trained.runs[0]), "only arden has 4 pictures")
