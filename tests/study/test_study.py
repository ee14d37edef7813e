"""``citycam study`` by its door: files, what is read back, and wrong input."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from citycam import cli
from citycam.errors import DamagedFile
from citycam.report.elements import NAME, VERDICTS, read_study
from citycam.study_config import StudyConfig, read_settings
from tests.conftest import Outcome, forget

Train = Callable[..., Outcome]
Call = Callable[..., Outcome]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """``call("RUN")``: citycam study in this process."""

    def study(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["citycam", "study", *map(str, arguments)])
        forget()
        capsys.readouterr()
        code = cli.main()
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err, tmp_path)

    return study


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a study."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_study_from_a_sweep_to_its_files(train: Train, call: Call) -> None:
    trained = train("optimizer=sgd,adam", "explain=none", "epochs=4", "split.val=0.4", multirun=True)
    assert trained.code == 0, trained.err
    outcome = call(trained.results)
    assert outcome.code == 0, outcome.err
    assert "the best of 2 runs" in outcome.err
    (folder,) = (trained.results / "study").iterdir()
    study = read_study(folder)
    assert [city.name for city in study.cities] == ["arden", "brill", "corvo"]
    assert study.units == "pictures"
    assert "pictures, not walks" in outcome.out
    with (folder / "elements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(study.elements)
    for row, element in zip(rows, study.elements, strict=True):
        assert row["verdict"] == element.verdict
        assert element.verdict in VERDICTS
        assert float(row["here"]) == element.here.value
        assert all((folder / crop.file).is_file() and (folder / crop.whole).is_file() for crop in element.crops)
    with (folder / "cities.csv").open(newline="") as file:
        assert [(row["city"], float(row["recall"])) for row in csv.DictReader(file)] == [
            (city.name, city.recall.value) for city in study.cities
        ]
    with (folder / "occurrence.csv").open(newline="") as file:
        shares = {row["number"]: row for row in csv.DictReader(file)}
    for element in study.elements:
        assert float(shares[str(element.number)][element.city]) == element.here.value
    comparison = (trained.results / "comparison.html").read_text()
    assert f'"href":"study/{folder.name}/index.html"' in comparison
    assert f"{trained.results / 'comparison.html'} links to it" in outcome.err
    (folder / "names.txt").write_text("element 0: the tower")
    (folder / "crops" / "mine.jpg").write_bytes(b"mine")
    before = content(folder)
    assert call(trained.results).code == 0
    assert content(folder) == before


def test_what_is_not_ours_is_not_written_over(train: Train, call: Call, tmp_path: Path) -> None:
    trained = train("explain=none")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    outcome = call(trained.runs[0], "--output", tmp_path / "mine")
    assert outcome.code == 2
    assert "holds something else" in outcome.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_run_of_one_city_and_the_rest_is_refused(train: Train, call: Call) -> None:
    trained = train("explain=none", "partition=binary")
    outcome = call(trained.runs[0])
    assert outcome.code == 2
    assert "partition=multi" in outcome.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["study.picture=3"], "did you mean study.pictures"),
        (["study.pictures=0"], "at least 1"),
        (["study.pictures=many"], "no whole number"),
        (["study.seed=1", "study.seed=2"], "given twice"),
        (["epochs=3"], "epochs is not known"),
        ([], "does not exist"),
    ],
)
def test_wrong_input_is_one_sentence(words: list[str], sentence: str, call: Call, tmp_path: Path) -> None:
    outcome = call(tmp_path / "nowhere", *words)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err


def test_settings_are_typed() -> None:
    assert read_settings([]) == StudyConfig()
    assert read_settings(["study.pictures=7", "study.seed=3"]) == StudyConfig(pictures=7, seed=3)


@pytest.mark.parametrize(
    "content",
    [
        "5",
        "{}",
        '{"schema": 1}',
        '{"schema": 2}',
        '{"schema": 2, "cities": 3}',
        '{"schema": 2, "cities": [{"elements": [{"verdict": "true"}]}]}',
        "[" * 100_000,
        "nonsense",
    ],
)
def test_a_damaged_study_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(DamagedFile):
        read_study(tmp_path)


def test_a_crop_outside_the_folder_is_refused(train: Train, call: Call) -> None:
    trained = train("explain=none", "epochs=4", "split.val=0.4")
    assert call(trained.runs[0]).code == 0
    (folder,) = (trained.results / "study").iterdir()
    text = json.loads((folder / NAME).read_text())
    crops = [crop for city in text["cities"] for element in city["elements"] for crop in element["crops"]]
    if not crops:
        pytest.skip("this machine's network has no elements on noise")
    crops[0]["file"] = "../../secret.jpg"
    (folder / NAME).write_text(json.dumps(text))
    with pytest.raises(DamagedFile, match="outside"):
        read_study(folder)


def test_a_sweep_ends_with_a_study_of_its_best_run(train: Train) -> None:
    trained = train("optimizer=sgd,adam", "explain=none", "epochs=2", "split.val=0.4", "study=default", multirun=True)
    assert trained.code == 0, trained.err
    (folder,) = (trained.results / "study").iterdir()
    assert read_study(folder).pictures == StudyConfig().pictures
    assert "distinctive elements in 3 cities" in trained.out
    assert f'"href":"study/{folder.name}/index.html"' in (trained.results / "comparison.html").read_text()
    # The runs are done; each is studied now, and the numbers of a run do not depend on its study.
    again = train(
        *("optimizer=sgd,adam", "explain=none", "epochs=2", "split.val=0.4", "study=default", "study.runs=each"),
        multirun=True,
    )
    assert again.code == 0, again.err
    assert {path.name for path in (trained.results / "study").iterdir()} == {run.name for run in trained.runs}


def test_a_sweep_whose_best_run_cannot_be_studied_says_so(train: Train) -> None:
    trained = train("explain=none", "study=default", "study.pictures=1")
    assert trained.code == 1
    assert "no study: A study compares cities" in trained.err
    assert (trained.results / "comparison.html").is_file()


def test_elements_get_labels_of_a_folder(train: Train, call: Call, tmp_path: Path) -> None:
    trained = train("explain=none", "epochs=4", "split.val=0.4")
    labels = tmp_path / "labels"
    outcome = call(trained.runs[0], f"study.labels={labels}")
    assert outcome.code == 2
    assert "classes.txt cannot be read" in outcome.err
    labels.mkdir()
    (labels / "classes.txt").write_text("0 Wall\n1 Door\n")
    outcome = call(trained.runs[0], f"study.labels={labels}")
    assert outcome.code == 2
    assert "has no label map of any tested picture" in outcome.err
    with (trained.runs[0] / "split.csv").open(newline="") as file:
        names = [row["path"] for row in csv.DictReader(file)]
    for name in names:
        path = (labels / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 1).save(path)
    outcome = call(trained.runs[0], f"study.labels={labels}")
    assert outcome.code == 0, outcome.err
    (folder,) = (trained.results / "study").iterdir()
    elements = read_study(folder).elements
    assert elements
    assert {(element.label, element.label_share) for element in elements if element.pictures} == {("Door", 1.0)}
