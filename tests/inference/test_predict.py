"""citycam predict: the run's own answers for its own pictures, and honest numbers for others."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from citycam.config import Partition
from citycam.inference.new_pictures import labels_from_folders
from tests.conftest import paint_cities
from tests.sweeps import Ended, caller, copy_of, only, read, train_once

Predict = Callable[..., Ended]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, cities: Path, tiny_weights: Path) -> Path:
    """A binary and a multi run."""
    place = tmp_path_factory.mktemp("sweep")
    return train_once(place, cities, tiny_weights, "partition=binary,multi", "explain=none")


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Predict:
    from citycam import cli

    call = caller(cli, "citycam", monkeypatch, capsys)
    return lambda *arguments: call("predict", *arguments)


def rows_of(text: str) -> dict[str, dict[str, str]]:
    return {row["path"]: row for row in csv.DictReader(io.StringIO(text))}


def shares(row: dict[str, str]) -> list[float]:
    return [float(value) for key, value in row.items() if key.startswith("p_")]


@pytest.mark.parametrize("word", ["binary", "multi"])
def test_a_runs_own_pictures_get_its_own_answers(word: str, predict: Predict, sweep: Path, cities: Path) -> None:
    run = only(sweep, word)
    outcome = predict(run, cities)
    assert outcome.code == 0, outcome.err
    found, known = rows_of(outcome.out), {row["path"]: row for row in read(run / "predictions.csv")}
    assert len(found) == 48
    for name, row in known.items():
        assert found[name]["predicted"] == row["predicted"]
        np.testing.assert_allclose(shares(found[name]), shares(row), atol=1e-6)


@pytest.mark.parametrize("word", ["binary", "multi"])
def test_pictures_that_trained_the_run_do_not_count(word: str, predict: Predict, sweep: Path, cities: Path) -> None:
    run = only(sweep, word)
    final = json.loads((run / "run.json").read_text())["final"]
    printed = predict(run, cities).err
    low, high = final["val_accuracy_interval"]
    trained = sum(row["part"] == "train" for row in read(run / "split.csv"))
    assert f"accuracy {final['val_accuracy']:.3f} [{low:.3f}, {high:.3f}], balanced" in printed
    assert f"majority {final['majority_accuracy']:.3f}, n = {final['n_val']}" in printed
    assert f"Not counted: {trained} pictures that trained this run." in printed
    for row in read(run / "confusion.csv"):
        true, *counts = row.values()
        (line,) = [line for line in printed.splitlines() if line.startswith(f"{true} ") and line.split()[1].isdigit()]
        assert line.split()[1:] == counts


def test_only_trained_pictures_give_no_accuracy(predict: Predict, sweep: Path, cities: Path, tmp_path: Path) -> None:
    run = only(sweep, "multi")
    for row in read(run / "split.csv"):
        if row["part"] == "train":
            copy = tmp_path / row["path"]
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(cities / row["path"], copy)
    outcome = predict(run, tmp_path)
    assert (outcome.code, "accuracy" in outcome.err, "trained this run" in outcome.err) == (0, False, True)


def test_folders_of_other_names_give_no_accuracy(predict: Predict, sweep: Path, tmp_path: Path) -> None:
    pictures = paint_cities(tmp_path / "new", ("arden", "elsewhere"), 3, (50, 40))
    binary = predict(only(sweep, "binary"), pictures)
    assert (binary.code, "accuracy" in binary.err) == (0, False)
    multi = predict(only(sweep, "multi"), pictures)
    assert "n = 3" in multi.err
    assert "Not counted: 3 pictures in no folder of such a name." in multi.err
    rest = paint_cities(tmp_path / "with target", ("brill", "elsewhere"), 3, (50, 40))
    said = predict(only(sweep, "binary"), rest).err
    assert "those in all other folders as rest" in said
    assert "n = 6" in said


@pytest.mark.parametrize("batch", [3, 64])
def test_unreadable_pictures_are_named_and_the_others_are_as_without_them(
    batch: int, predict: Predict, sweep: Path, cities: Path, tmp_path: Path
) -> None:
    run = only(copy_of(sweep, tmp_path), "multi")
    ledger = json.loads((run.parent / "sweep.json").read_text())
    for values in ledger["resolved"].values():
        values["batch"] = batch
    (run.parent / "sweep.json").write_text(json.dumps(ledger))
    pictures = Path(shutil.copytree(cities / "corvo", tmp_path / "corvo"))
    whole = predict(run, pictures)
    (pictures / "walk0" / "000.jpg").write_bytes(b"")
    (pictures / "walk2" / "text.png").write_text("no picture")
    outcome = predict(run, pictures)
    assert (whole.code, outcome.code) == (0, 1)
    assert outcome.out == whole.out
    assert "cannot be read: walk0/000.jpg: the file is empty" in outcome.err
    assert "walk2/text.png" in outcome.err
    assert "16 of 18 pictures" in outcome.err


def test_only_unreadable_pictures(predict: Predict, sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    outcome = predict(only(sweep, "multi"), tmp_path)
    assert (outcome.code, outcome.out.splitlines()) == (1, ["path,predicted,p_arden,p_brill,p_corvo"])


def test_out_is_written_whole_and_only_over_its_own(
    predict: Predict, sweep: Path, cities: Path, tmp_path: Path
) -> None:
    run, out = only(sweep, "multi"), tmp_path / "p.csv"
    picture = cities / "brill" / "walk0" / "00.png"
    assert predict(run, picture, "--out", out).code == 0
    assert [row["path"] for row in read(out)] == ["00.png"]
    assert predict(run, cities / "corvo", "--out", out).code == 0
    assert len(read(out)) == 16
    refused = predict(only(sweep, "binary"), cities, "--out", out)
    assert (refused.code, "not written over" in refused.err, len(read(out))) == (2, True, 16)
    assert predict(run, cities, "--out", tmp_path).code == 2


def test_best_weights_are_those_of_best_ckpt(predict: Predict, sweep: Path, cities: Path, tmp_path: Path) -> None:
    run = only(copy_of(sweep, tmp_path), "multi")
    by_name = predict(run, cities, "--weights", "best").out
    assert by_name == predict(run / "checkpoints" / "best.ckpt", cities).out
    (run / "checkpoints" / "last.ckpt").unlink()
    assert predict(run, cities, "--weights", "best").out == by_name
    assert predict(run, cities).code == 2


def test_a_fine_tuned_run_answers_as_it_did(predict: Predict, cities: Path, tiny_weights: Path, tmp_path: Path) -> None:
    sweep = train_once(tmp_path, cities, tiny_weights, "backbone.finetune=all", "explain=none")
    (run,) = [path.parent for path in sweep.glob("*/run.json")]
    found = rows_of(predict(run, cities).out)
    for row in read(run / "predictions.csv"):
        np.testing.assert_allclose(shares(found[row["path"]]), shares(row), atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "."], "nowhere does not exist"),
        ([".", "."], ". holds no run"),
        (["SWEEP", "."], "holds 2 completed runs"),
        (["RUN", "nowhere"], "nowhere does not exist; give a folder of pictures"),
        (["RUN", "."], "holds no pictures"),
        (["RUN", "notes.txt"], "is no picture by its name"),
        (["RUN/checkpoints/best.ckpt", ".", "--weights", "last"], "were both asked for"),
        (["RUN/metrics.csv", "."], "is no checkpoint in the folder of its run"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    arguments: list[str], words: str, predict: Predict, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    run = str(only(sweep, "multi"))
    outcome = predict(*(word.replace("RUN", run).replace("SWEEP", str(sweep)) for word in arguments))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert words in outcome.err


def test_what_folders_names_say() -> None:
    names = ["test/S\u00e3o/a.jpg", "Sa\u0303o/x/b.jpg", "c.jpg", "rio/d.jpg", "other/e.jpg"]
    multi = labels_from_folders(names, ["rio", "S\u00e3o"], Partition.multi)
    assert multi is not None
    assert multi.labels.tolist() == [1, 1, -1, 0, -1]
    binary = labels_from_folders(names, ["rest", "S\u00e3o"], Partition.binary)
    assert binary is not None
    assert binary.labels.tolist() == [1, 1, -1, 0, 0]
    assert labels_from_folders(names, ["rest", "paris"], Partition.binary) is None
    assert labels_from_folders(names, ["paris", "rome"], Partition.multi) is None


def test_names_that_no_table_can_hold_are_unreadable(
    predict: Predict, sweep: Path, cities: Path, tmp_path: Path
) -> None:
    pictures = Path(shutil.copytree(cities / "corvo" / "walk0", tmp_path / "new"))
    bad = pictures / os.fsdecode(b"caf\xe9.png")
    try:
        shutil.copy(pictures / "00.png", bad)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    shutil.copy(pictures / "00.png", pictures / "a\rb.png")
    shutil.copy(pictures / "00.png", pictures / "c.jpg_large")
    for path in (pictures, bad):
        outcome = predict(only(sweep, "multi"), path)
        assert outcome.code == 1
        assert "cannot be read: caf\\xe9.png: its name is not UTF-8 text\n" in outcome.err
    outcome = predict(only(sweep, "multi"), pictures)
    assert "a\rb.png" in rows_of(outcome.out)
    assert "note: Skipped 1 file that may be pictures by other names (1 .jpg_large; first: c.jpg_large)" in outcome.err


def test_a_picture_is_one_by_its_first_bytes_too(predict: Predict, sweep: Path, cities: Path, tmp_path: Path) -> None:
    shutil.copy(cities / "corvo" / "walk0" / "00.png", tmp_path / "download.1")
    assert predict(only(sweep, "multi"), tmp_path / "download.1").code == 0


def test_no_pipe_is_opened(predict: Predict, sweep: Path, cities: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    outcome = predict(only(sweep, "multi"), tmp_path / "pipe.png")
    assert (outcome.code, "is neither a folder nor a regular file" in outcome.err) == (2, True)
    outcome = predict(only(sweep, "multi"), cities / "brill" / "walk0", "--out", tmp_path / "pipe.png")
    assert (outcome.code, "holds something else" in outcome.err) == (2, True)
