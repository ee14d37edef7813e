"""What may be compared is compared, by the same pictures; what is noise is not ranked."""

from __future__ import annotations

from pathlib import Path

import pytest

from citycam import files
from citycam.report.ranking import BELOW, BEST, SAME, UNTESTED, Comparable, arrange
from citycam.sweep.runs import read_all, read_runs
from tests.report.made import answers, make_run


def told(comparable: Comparable) -> list[tuple[str, str]]:
    """Names and ranks."""
    return [(entry.rows[0].name, entry.rank) for entry in comparable.entries]


def test_rows_are_sorted_and_noise_is_not_ranked(tmp_path: Path) -> None:
    make_run(tmp_path / "a", answers(60, 30), overrides=["epochs=1"])
    make_run(tmp_path / "b", answers(60, 3), overrides=["epochs=2"])
    make_run(tmp_path / "c", answers(60, 5), overrides=["epochs=3"])
    (found,) = arrange(read_runs(tmp_path))
    assert told(found) == [("b", BEST), ("c", SAME), ("a", BELOW)]
    assert found.over == "the same 60 validation pictures"
    # Of 2 pictures that one answered and the other did not, McNemar's p is 1/2, and of 27 it is 2 / 2^27, twice.
    assert [entry.p for entry in found.entries] == [None, 0.5, pytest.approx(4 / 2**27)]


def test_pictures_of_one_walk_count_as_one_observation(tmp_path: Path) -> None:
    groups = [f"walk{place // 20}" for place in range(60)]
    make_run(tmp_path / "a", answers(60, 20), overrides=["epochs=1"], groups=groups)
    make_run(tmp_path / "b", answers(60, 0), overrides=["epochs=2"], groups=groups)
    (found,) = arrange(read_runs(tmp_path))
    assert told(found) == [("b", BEST), ("a", SAME)]
    assert found.over == "the same 60 validation pictures in 6 groups"


def test_other_data_classes_and_splits_stand_apart(tmp_path: Path) -> None:
    make_run(tmp_path / "0", answers(20, 1))
    make_run(tmp_path / "1", answers(20, 2), digest="d1")
    make_run(tmp_path / "2", answers(20, 3), classes=["rest", "brill"])
    make_run(tmp_path / "3", answers(20, 4), split={"kind": "random", "leaky": True})
    make_run(tmp_path / "4", answers(20, 5), overrides=["split.seed=1"])
    found = arrange(read_runs(tmp_path))
    assert [told(one) for one in found] == [[(str(place), "")] for place in range(5)]
    titles = [one.title for one in found]
    assert titles[0] == "2 classes · folder d0 · split group"
    assert titles[2].startswith("brill against the rest")
    assert len(set(titles)) == 5


def test_seeds_are_one_row_with_their_mean_and_interval(tmp_path: Path) -> None:
    for seed, wrong in enumerate((6, 12, 9)):
        make_run(tmp_path / f"{seed}", answers(60, wrong), overrides=["epochs=2", f"seed={seed}"], seed=seed)
    make_run(tmp_path / "x", answers(60, 30), overrides=["epochs=1"])
    (found,) = arrange(read_runs(tmp_path))
    first = found.entries[0]
    assert [len(entry.rows) for entry in found.entries] == [3, 1]
    assert found.settings == ["epochs"]
    assert first.mean("val_accuracy") == pytest.approx(0.85)
    # Student's 0.975 quantile with 2 degrees of freedom is 4.3027; the spread of 0.8, 0.85, 0.9 is 0.05.
    assert first.interval == (pytest.approx(0.85 - 4.3027 * 0.05 / 3**0.5, abs=1e-4), pytest.approx(0.9742, abs=1e-4))
    assert told(found) == [("0", BEST), ("x", BELOW)]


def test_seeds_that_vary_more_than_they_differ_are_not_told_apart(tmp_path: Path) -> None:
    for seed, (one, other) in enumerate([(0, 40), (40, 20), (5, 50)]):
        make_run(tmp_path / f"a{seed}", answers(100, one), overrides=["epochs=1", f"seed={seed}"], seed=seed)
        make_run(tmp_path / f"b{seed}", answers(100, other), overrides=["epochs=2", f"seed={seed}"], seed=seed)
    (found,) = arrange(read_runs(tmp_path))
    assert [entry.rank for entry in found.entries] == [BEST, SAME]


def test_the_same_run_in_two_sweeps_is_no_second_seed(tmp_path: Path) -> None:
    make_run(tmp_path / "one" / "r", answers(20, 1))
    make_run(tmp_path / "two" / "r", answers(20, 1))
    (found,) = arrange(read_all([tmp_path / "one", tmp_path / "two"]))
    assert [[row.name for row in entry.rows] for entry in found.entries] == [["one/r"], ["two/r"]]
    assert found.settings == ["sweep"]


def test_a_failed_seed_leaves_the_others_counted(tmp_path: Path) -> None:
    make_run(tmp_path / "0", answers(20, 2), overrides=["seed=0"])
    make_run(tmp_path / "1", answers(20, 4), overrides=["seed=1"], seed=1)
    make_run(tmp_path / "2", answers(20, 4), overrides=["seed=2"], seed=2, status="failed", error="No.", final={})
    (found,) = arrange(read_runs(tmp_path))
    (entry,) = found.entries
    assert (len(entry.rows), len(entry.counted), entry.status) == (3, 2, "failed")
    assert entry.mean("val_accuracy") == pytest.approx(0.85)


def test_without_the_same_answers_nothing_is_claimed(tmp_path: Path) -> None:
    make_run(tmp_path / "0", answers(40, 1), overrides=["epochs=1"])
    make_run(tmp_path / "1", answers(38, 19), overrides=["epochs=2"])
    make_run(tmp_path / "2", answers(40, 20), overrides=["epochs=3"])
    (tmp_path / "2" / "predictions.csv").write_bytes(b"path,label,predicted\n\xff")
    (found,) = arrange(read_runs(tmp_path))
    assert [entry.rank for entry in found.entries] == [BEST, UNTESTED, UNTESTED]


def test_a_default_is_no_difference(tmp_path: Path) -> None:
    make_run(tmp_path / "0", answers(20, 1), overrides=["epochs=5"])
    make_run(tmp_path / "1", answers(20, 2), overrides=["optimizer=sgd"])
    files.write_text(tmp_path / "0" / "config.yaml", "optimizer:\n  kind: sgd\nepochs: 5\n")
    files.write_text(tmp_path / "1" / "config.yaml", "optimizer:\n  kind: sgd\nepochs: 7\n")
    (found,) = arrange(read_runs(tmp_path))
    assert found.settings == ["epochs"]
    assert [found.values(entry) for entry in found.entries] == [["5"], ["7"]]
    assert found.words(found.entries[1]) == "epochs 7"
