"""Comparable runs are tested over the same pictures, and differences that are not significant are not ranked."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest

from citycam import files
from citycam.report.compare import rank_lines, write_comparison
from citycam.report.ranking import BALANCED, BELOW, BEST, FEW, SAME, UNTESTED, Comparable, arrange
from citycam.sweep.runs import read_all, read_runs
from tests.report.made import answers, make_run


def ranks(comparable: Comparable) -> list[tuple[str, str]]:
    """Return the name and the rank of each entry."""
    return [(entry.rows[0].name, entry.rank) for entry in comparable.entries]


def test_rows_are_sorted_and_insignificant_differences_are_not_ranked(tmp_path: Path) -> None:
    make_run(tmp_path / "a", answers(60, 30), overrides=["epochs=1"])
    make_run(tmp_path / "b", answers(60, 3), overrides=["epochs=2"])
    make_run(tmp_path / "c", answers(60, 5), overrides=["epochs=3"])
    (comparable,) = arrange(read_runs(tmp_path))
    assert ranks(comparable) == [("b", BEST), ("c", SAME), ("a", BELOW)]
    assert comparable.over == "the same 60 validation pictures"
    # McNemar's p is 1/2 for 2 discordant pictures; no flip of 5,000 comes near 27.
    assert [entry.p for entry in comparable.entries] == [None, 0.5, pytest.approx(1 / 5000)]


def test_the_pictures_of_a_walk_are_one_observation(tmp_path: Path) -> None:
    groups = [f"walk{index // 20}" for index in range(60)]
    make_run(tmp_path / "a", answers(60, 20), overrides=["epochs=1"], groups=groups)
    make_run(tmp_path / "b", answers(60, 0), overrides=["epochs=2"], groups=groups)
    (comparable,) = arrange(read_runs(tmp_path))
    assert ranks(comparable) == [("b", BEST), ("a", SAME)]
    assert comparable.over == "the same 60 validation pictures in 6 groups"


def test_runs_with_other_data_classes_or_split_are_not_compared(tmp_path: Path) -> None:
    make_run(tmp_path / "0", answers(20, 1))
    make_run(tmp_path / "1", answers(20, 2), digest="d1")
    make_run(tmp_path / "2", answers(20, 3), classes=["rest", "brill"])
    make_run(tmp_path / "3", answers(20, 4), split={"kind": "random", "leaky": True})
    make_run(tmp_path / "4", answers(20, 5), overrides=["split.seed=1"])
    comparables = arrange(read_runs(tmp_path))
    assert [ranks(comparable) for comparable in comparables] == [[(str(number), "")] for number in range(5)]
    titles = [comparable.title for comparable in comparables]
    assert titles[0] == "2 classes · folder d0 · split group"
    assert titles[2].startswith("brill against the rest")
    assert len(set(titles)) == 5


def test_seeds_are_one_entry_with_their_mean_and_interval(tmp_path: Path) -> None:
    for seed, wrong in enumerate((6, 12, 9)):
        make_run(tmp_path / f"{seed}", answers(60, wrong), overrides=["epochs=2", f"seed={seed}"], seed=seed)
    make_run(tmp_path / "x", answers(60, 30), overrides=["epochs=1"])
    (comparable,) = arrange(read_runs(tmp_path))
    first = comparable.entries[0]
    assert [len(entry.rows) for entry in comparable.entries] == [3, 1]
    assert comparable.settings == ["epochs"]
    assert first.mean("val_accuracy") == pytest.approx(0.85)
    # Student's 0.975 quantile with 2 degrees of freedom is 4.3027; 0.8, 0.85, 0.9 have a standard deviation of 0.05.
    # The runs' own arms are 0.1 each.
    low, high = first.interval_of("val_accuracy") or (0.0, 0.0)
    assert low == pytest.approx(0.85 - math.hypot(4.3027 * 0.05 / 3**0.5, 0.1), abs=1e-4)
    assert high == 1.0, "0.85 and as much"
    assert ranks(comparable) == [("0", BEST), ("x", BELOW)]


def test_a_difference_smaller_than_the_variation_over_seeds_is_not_ranked(tmp_path: Path) -> None:
    for seed, (wrong_a, wrong_b) in enumerate([(0, 40), (40, 20), (5, 50)]):
        make_run(tmp_path / f"a{seed}", answers(100, wrong_a), overrides=["epochs=1", f"seed={seed}"], seed=seed)
        make_run(tmp_path / f"b{seed}", answers(100, wrong_b), overrides=["epochs=2", f"seed={seed}"], seed=seed)
    (comparable,) = arrange(read_runs(tmp_path))
    assert [entry.rank for entry in comparable.entries] == [BEST, SAME]


def test_a_run_repeated_in_another_sweep_is_not_a_second_seed(tmp_path: Path) -> None:
    make_run(tmp_path / "one" / "r", answers(20, 1))
    make_run(tmp_path / "two" / "r", answers(20, 1))
    (comparable,) = arrange(read_all([tmp_path / "one", tmp_path / "two"]))
    assert [[row.name for row in entry.rows] for entry in comparable.entries] == [["one/r"], ["two/r"]]
    assert comparable.settings == ["sweep"]


def unequal(folder: Path, rest_wrong: int, target_wrong: int, name: str, *, weighted: bool = True) -> Path:
    """Write a run that tells 20 pictures of brill from 100 of the rest, with so many wrong answers."""
    labels = ["rest"] * 100 + ["brill"] * 20
    wrong = [place < rest_wrong or 100 <= place < 100 + target_wrong for place in range(120)]
    other = {"rest": "brill", "brill": "rest"}
    recalls = 1 - rest_wrong / 100, 1 - target_wrong / 20
    accuracy, balanced = 1 - sum(wrong) / 120, sum(recalls) / 2
    warning = {"code": "ece_with_class_weights", "sentence": "Classes are weighted."}
    final: dict[str, Any] = {"val_accuracy": accuracy, "val_balanced_accuracy": balanced, "n_val": 120, "chance": 0.5}
    final |= {"majority_accuracy": 100 / 120, "val_accuracy_interval": [accuracy - 0.05, accuracy + 0.05]}
    final |= {"val_balanced_accuracy_interval": [balanced - 0.1, balanced + 0.1]}
    known: dict[str, Any] = {"classes": ["rest", "brill"], "final": final, "warnings": [warning] * weighted}
    make_run(folder, answers(120, 0), overrides=[f"name={name}"], **known)
    rows = [[f"{place}.jpg", label, other[label] if wrong[place] else label] for place, label in enumerate(labels)]
    files.write_csv(folder / "predictions.csv", ["path", "label", "predicted"], rows)
    split = [[f"{place}.jpg", f"{place:032x}", label, None, "val"] for place, label in enumerate(labels)]
    files.write_csv(folder / "split.csv", ["path", "digest", "city", "group", "part"], split)
    return folder


def test_a_loss_that_weights_classes_is_ranked_by_balanced_accuracy(tmp_path: Path) -> None:
    unequal(tmp_path / "majority", 2, 18, "majority")  # accuracy 0.83, balanced 0.54
    unequal(tmp_path / "fair", 20, 5, "fair")  # accuracy 0.79, balanced 0.775
    (comparable,) = arrange(read_runs(tmp_path))
    assert comparable.measure == BALANCED
    assert ranks(comparable) == [("fair", BEST), ("majority", BELOW)]
    sentences = rank_lines(comparable)
    assert "balanced accuracy" in sentences[0]
    star = "* 1 is the best of these rows, and no more: Accuracy 0.792 is not above 0.833"
    assert sentences[-1].startswith(star)
    write_comparison(tmp_path, [comparable])
    text = (tmp_path / "comparison.md").read_text()
    assert "| 1 | fair | 0.775 [0.68 0.88] | best* | 0.833 | 0.792 | 120 | ≤ majority | fair |" in text
    rows = list(csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines()))
    assert [row["ranked_by"] for row in rows] == ["val_balanced_accuracy"] * 2
    assert [float(row["row_accuracy"]) for row in rows] == pytest.approx([95 / 120, 100 / 120])
    assert [float(row["row_balanced_accuracy"]) for row in rows] == pytest.approx([0.775, 0.54])


def test_without_weights_it_is_the_accuracy(tmp_path: Path) -> None:
    unequal(tmp_path / "majority", 2, 18, "majority", weighted=False)
    unequal(tmp_path / "fair", 20, 5, "fair", weighted=False)
    (comparable,) = arrange(read_runs(tmp_path))
    assert ranks(comparable) == [("majority", BEST), ("fair", SAME)]
    unequal(tmp_path / "third", 30, 6, "third")
    (comparable,) = arrange(read_runs(tmp_path))
    assert comparable.measure == BALANCED, "one run that weights its classes would be ranked by what it is not after"


def test_too_few_walks_tell_nothing(tmp_path: Path) -> None:
    groups = [f"walk{index // 24}" for index in range(60)]  # of 24, 24 and 12 pictures, in two cities: 5.6 equal ones
    make_run(tmp_path / "a", answers(60, 60), overrides=["epochs=1"], groups=groups)
    make_run(tmp_path / "b", answers(60, 0), overrides=["epochs=2"], groups=groups)
    (comparable,) = arrange(read_runs(tmp_path))
    assert ranks(comparable) == [("b", BEST), ("a", FEW)]
    assert rank_lines(comparable)[0].startswith("Too few walks to tell 2 from 1")
    write_comparison(tmp_path, [comparable])
    assert "too few walks to tell" in (tmp_path / "comparison.csv").read_text()


def test_two_seeds_of_equal_accuracy_have_an_interval(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(tmp_path / f"{seed}", answers(60, 12, start=30 * seed), overrides=[f"seed={seed}"], seed=seed)
    (comparable,) = arrange(read_runs(tmp_path))
    assert comparable.entries[0].interval_of("val_accuracy") == pytest.approx((0.7, 0.9))


def test_a_failed_seed_does_not_count(tmp_path: Path) -> None:
    make_run(tmp_path / "0", answers(20, 2), overrides=["seed=0"])
    make_run(tmp_path / "1", answers(20, 4), overrides=["seed=1"], seed=1)
    make_run(tmp_path / "2", answers(20, 4), overrides=["seed=2"], seed=2, status="failed", error="No.", final={})
    (comparable,) = arrange(read_runs(tmp_path))
    (entry,) = comparable.entries
    assert (len(entry.rows), len(entry.counted), entry.status) == (3, 2, "failed")
    assert entry.mean("val_accuracy") == pytest.approx(0.85)


def test_runs_with_other_or_damaged_predictions_are_untested(tmp_path: Path) -> None:
    make_run(tmp_path / "0", answers(40, 1), overrides=["epochs=1"])
    make_run(tmp_path / "1", answers(38, 19), overrides=["epochs=2"])
    make_run(tmp_path / "2", answers(40, 20), overrides=["epochs=3"])
    (tmp_path / "2" / "predictions.csv").write_bytes(b"path,label,predicted\n\xff")
    (comparable,) = arrange(read_runs(tmp_path))
    assert [entry.rank for entry in comparable.entries] == [BEST, UNTESTED, UNTESTED]


def test_a_setting_left_at_its_default_is_not_a_difference(tmp_path: Path) -> None:
    make_run(tmp_path / "0", answers(20, 1), overrides=["epochs=5"])
    make_run(tmp_path / "1", answers(20, 2), overrides=["optimizer=sgd"])
    files.write_text(tmp_path / "0" / "config.yaml", "optimizer:\n  kind: sgd\nepochs: 5\n")
    files.write_text(tmp_path / "1" / "config.yaml", "optimizer:\n  kind: sgd\nepochs: 7\n")
    (comparable,) = arrange(read_runs(tmp_path))
    assert comparable.settings == ["epochs"]
    assert [comparable.values(entry) for entry in comparable.entries] == [["5"], ["7"]]
    assert comparable.label(comparable.entries[1]) == "epochs 7"
