"""The tables of a run have fixed columns and keep every digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from citycam.files import read_csv
from citycam.model.metrics import ClassRow
from citycam.report import tables


def test_metrics_have_the_same_columns_if_an_epoch_lacks_measures(tmp_path: Path) -> None:
    epochs = [{"epoch": 1, "train_loss": 0.1 + 0.2, "lr": 0.001}, {"epoch": 2, "val_auroc": 0.5}]
    tables.write_metrics(tmp_path, epochs, ("loss", "auroc"))
    rows = read_csv(tmp_path / "metrics.csv")
    assert list(rows[0]) == ["epoch", "train_loss", "train_auroc", "val_loss", "val_auroc", "lr"]
    assert rows[0]["train_loss"] == "0.30000000000000004"
    assert (rows[0]["val_auroc"], rows[1]["val_auroc"], rows[1]["lr"]) == ("", "0.5", "")


def test_predictions_have_a_probability_per_class(tmp_path: Path) -> None:
    shares = np.array([[0.25, 0.75], [1.0, 1e-20]])
    tables.write_predictions(
        tmp_path / "predictions.csv",
        paths=["a,b.jpg", "c.jpg"],
        cities=["Oslo", "Bergen"],
        labels=np.array([1, 0]),
        predicted=np.array([1, 0]),
        probabilities=shares,
        classes=("rest", "Oslo"),
    )
    rows = read_csv(tmp_path / "predictions.csv")
    assert rows[0] == {
        "path": "a,b.jpg",
        "city": "Oslo",
        "label": "Oslo",
        "predicted": "Oslo",
        "p_rest": "0.25",
        "p_Oslo": "0.75",
    }
    assert rows[1]["city"] == "Bergen"
    assert rows[1]["label"] == "rest"
    assert float(rows[1]["p_Oslo"]) == 1e-20


def test_columns_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        tables.write_predictions(
            tmp_path / "predictions.csv",
            paths=["a"],
            cities=[],
            labels=[0],
            predicted=[0],
            probabilities=np.ones((1, 1)),
            classes=["x"],
        )
    assert list(tmp_path.iterdir()) == []


def test_confusion_and_per_class(tmp_path: Path) -> None:
    tables.write_confusion(tmp_path, np.array([[3, 1], [0, 2]]), ("a", "b"))
    assert (tmp_path / "confusion.csv").read_text() == "true,a,b\na,3,1\nb,0,2\n"
    tables.write_per_class(tmp_path, [ClassRow("a", 4, 3, 1.0, 0.75), ClassRow("b", 0, 0, None, None)])
    assert (tmp_path / "per_class.csv").read_text() == "class,n,predicted,precision,recall\na,4,3,1.0,0.75\nb,0,0,,\n"


def test_split_and_skipped(tmp_path: Path) -> None:
    tables.write_split(tmp_path, [("a.jpg", "00ff", "Oslo", None, "train")])
    tables.write_skipped(tmp_path, [])
    assert (tmp_path / "split.csv").read_text() == "path,digest,city,group,part\na.jpg,00ff,Oslo,,train\n"
    assert (tmp_path / "skipped.csv").read_text() == "path,reason\n"
