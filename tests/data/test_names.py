"""Names of cities, walks and files that tables, pages and terminals find hard: kept as they are, or refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citycam import cli
from citycam.config import FolderConfig
from citycam.data.sources import load_catalog
from citycam.files import read_csv
from tests.conftest import Outcome
from tests.sweeps import caller

Train = Callable[..., Outcome]

HARD = (
    "a\rb", "a\nb", "a\r\nb", "a\tb", " a ", 'a"b', "a'b", "a,b", "a;b", "-rf", "=1+1", "+1", "@a", "²", "rest", "true",
    "nan", "null", "$a$", "$\\frac$", "[red]a", "a|b", "<b>a", "<script>", "{a}", "%s", "a\x1b[31mb", "#a", "&amp;",
    "東京", "e\u0301", "\u202eabc", "a\u2028b", "😀", "\\udc80", "a\\rb", "CON", "é" * 100,
)  # fmt: skip


def paint(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path.with_name("x.png"))
    path.with_name("x.png").rename(path)


FEW = ("a\r\nb", "$\\frac$", "=1+1", "東京")


def paint_cities(root: Path, names: Sequence[str]) -> Path:
    """Make a city, two walks and a picture in each of every name."""
    for number, name in enumerate(names):
        for walk in range(2):
            paint(root / name / f"{name}{walk}" / f"{name}.png", 2 * number + walk)
    return root


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("names", [pytest.param(FEW, id="few"), pytest.param(HARD, id="all", marks=pytest.mark.slow)])
def test_hard_names_pass_through_every_file(
    names: Sequence[str],
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    import explain

    hard = paint_cities(tmp_path / "data" / "²", names)
    catalog = load_catalog(FolderConfig(root=str(hard), group="level:1"))
    outcome = train(
        f"data.root='{hard}'",
        "data.target=null",
        "data.group=level:1",
        "split.val=0.5",
        "partition=multi",
        "explain.methods=[cam]",
        f"hydra.run.dir='{tmp_path / 'runs' / '²'}'",
    )
    assert outcome.code == 0, outcome.err
    run = tmp_path / "runs" / "²"
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert tuple(record["classes"]) == catalog.cities
    known = {picture.name: (picture.digest, picture.city, picture.group) for picture in catalog.pictures}
    split = read_csv(run / "split.csv")
    assert {row["path"]: (row["digest"], row["city"], row["group"]) for row in split} == known
    assert len(split) == len(known) == 2 * len(names)
    predictions = read_csv(run / "predictions.csv")
    assert list(predictions[0])[4:] == [f"p_{city}" for city in catalog.cities]
    assert all(known[row["path"]][1] == row["city"] == row["label"] for row in predictions)
    assert [row[0] for row in rows(run / "confusion.csv")[1:]] == rows(run / "confusion.csv")[0][1:]
    assert [row["class"] for row in read_csv(run / "per_class.csv")] == list(catalog.cities)
    for sample in (run / "explain_sample.csv", run / "thumbs" / "index.csv"):
        assert {row["picture"] for row in read_csv(sample)} <= known.keys()
    call = caller(cli, "citycam", monkeypatch, capsys)
    again = call("predict", run, hard, "--out", tmp_path / "²")
    assert again.code == 0, again.err
    own = {row["path"]: row["predicted"] for row in read_csv(tmp_path / "²")}
    assert own.keys() == known.keys()
    assert {row["path"]: own[row["path"]] for row in predictions} == {
        row["path"]: row["predicted"] for row in predictions
    }
    compared = call("compare", run.parent, "--out", tmp_path / "compared")
    assert compared.code == 0, compared.err
    assert len(rows(tmp_path / "compared" / "comparison.csv")) == 2
    call = caller(explain, "explain.py", monkeypatch, capsys)
    drawn = call(f"run={run}", f"pictures={hard}", "explain.pictures=80", "explain.target=predicted")
    assert drawn.code == 0, drawn.err
    assert len(list(run.glob("explain-*/**/cam/*.png"))) == len(known)
