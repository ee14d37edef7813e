"""From a command line to a folder of results, through the door that people use."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Outcome, paint_cities

Train = Callable[..., Outcome]


def record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return content


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path, *names: str) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


EVERY_RUN = {
    "run.json",
    "config.yaml",
    ".hydra/config.yaml",
    ".hydra/hydra.yaml",
    ".hydra/overrides.yaml",
    "split.csv",
    "metrics.csv",
    "predictions.csv",
    "confusion.csv",
    "confusion.png",
    "per_class.csv",
    "curves.png",
    "skipped.csv",
    "run.log",
    "explain_sample.csv",
    "checkpoints/last.ckpt",
    "checkpoints/best.ckpt",
    "thumbs/index.csv",
    "explain/maps.npz",
    "explain/scores.csv",
    "explain/sheet_cam.png",
    "explain/sheet_gradcam.png",
    "explain/sheet_smoothgradcampp.png",
}
NUMBERS = ("metrics.csv", "predictions.csv", "split.csv", "explain_sample.csv", "explain/scores.csv")


def test_a_sweep_leaves_a_whole_folder_for_each_run(train: Train) -> None:
    outcome = train("partition=binary,multi", "optimizer=sgd,adam", multirun=True)
    assert outcome.code == 0, outcome.err
    assert len(outcome.runs) == 4
    for run in outcome.runs:
        files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
        assert files >= EVERY_RUN
        assert any(name.startswith("events.out.tfevents.") for name in files)
        assert not any(name.endswith(".part") for name in files)
        found = record(run)
        assert found["status"] == "completed"
        assert set(found["seconds"]) >= {"data", "model", "bank", "train", "maps", "files", "epochs", "total"}
        final = found["final"]
        assert final["n_val"] == len(table(run / "predictions.csv"))
        assert final["majority_accuracy"] == pytest.approx(1 / 3 if len(found["classes"]) == 3 else 2 / 3, abs=0.1)
        low, high = final["val_accuracy_interval"]
        assert 0 <= low <= final["val_accuracy"] <= high <= 1
    assert {path.name for path in outcome.results.iterdir()} >= {
        "sweep.json",
        "comparison.csv",
        "comparison.md",
        "bodies",
    }
    assert len(list((outcome.results / "bodies").iterdir())) == 1
    assert "majority" in outcome.out
    # One line per finished run.
    assert sum(line.startswith(run.name) for line in outcome.out.splitlines() for run in outcome.runs) == 4


def test_runs_of_equal_data_share_split_and_sample(train: Train) -> None:
    outcome = train("partition=binary,multi", "seed=0,1", multirun=True)
    for name in ("split.csv", "explain_sample.csv"):
        assert len({(run / name).read_bytes() for run in outcome.runs}) == 1
    sample = table(outcome.runs[0] / "explain_sample.csv")
    parts = {row["path"]: row["part"] for row in table(outcome.runs[0] / "split.csv")}
    assert {parts[row["picture"]] for row in sample} == {"val"}
    assert {row["city"] for row in sample} == {"brill"}


@pytest.mark.parametrize(
    ("arguments", "of_train", "of_val"),
    [
        pytest.param(("optimizer=sgd,adam", "epochs=2,3", "partition=binary,multi"), 3, 1, marks=pytest.mark.slow),
        (("partition=binary,multi", "epochs=2,3"), 3, 1),
        pytest.param(("epochs=2,3", "augment=paper"), 3, 3, marks=pytest.mark.slow),
        pytest.param(("epochs=2,3", "augment=none"), 1, 1, marks=pytest.mark.slow),
        (("epochs=2,3", "augment.views=2"), 2, 1),
    ],
)
def test_each_view_passes_the_body_once_and_none_in_a_second_sweep(
    arguments: tuple[str, ...],
    of_train: int,
    of_val: int,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from citycam.bank.extract import Extractor
    from citycam.bank.measure import Choice
    from citycam.jobs import resolve
    from citycam.resolved import Arithmetic

    passed: list[int] = []
    real = Extractor.pictures

    def counting(self: Extractor, pictures: torch.Tensor) -> np.ndarray:
        passed.append(len(pictures))
        return real(self, pictures)

    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Extractor, "pictures", counting)
    monkeypatch.setattr(resolve, "choose", lambda *_, **__: Choice(Arithmetic(), 8, 100.0, {}))
    outcome = train(*arguments, multirun=True)
    assert outcome.code == 0, outcome.err
    parts = [row["part"] for row in table(outcome.runs[0] / "split.csv")]
    sample = len(table(outcome.runs[0] / "explain_sample.csv"))
    views = of_train * parts.count("train") + of_val * parts.count("val")
    assert sum(passed) == views + sample * (1 + 8)  # explained pictures, plain and with 8 noisy copies
    passed.clear()
    shutil.rmtree(outcome.results)
    train(*arguments, multirun=True)
    assert sum(passed) == 0


def test_the_same_command_trains_nothing_again(train: Train) -> None:
    first = train("seed=0,1", multirun=True)
    kept = ("run.json", "metrics.csv", "checkpoints/last.ckpt", ".hydra/overrides.yaml")
    before = {run.name: contents(run, *kept) for run in first.runs}
    again = train("seed=0,1,2", multirun=True)
    assert again.code == 0
    assert "3 runs, 2 of them done before" in again.err
    assert len(again.runs) == 3
    for run in again.runs:
        if run.name in before:
            assert contents(run, *kept) == before[run.name]


def test_equal_settings_give_equal_numbers(train: Train) -> None:
    one = train("epochs=2", "sweep.name=s")
    kept = contents(one.runs[0], *NUMBERS)
    maps = dict(np.load(one.runs[0] / "explain/maps.npz"))
    shutil.rmtree(one.results)
    two = train("epochs=2", "sweep.name=s")
    assert contents(two.runs[0], *NUMBERS) == kept
    for name, values in np.load(two.runs[0] / "explain/maps.npz").items():
        np.testing.assert_array_equal(values, maps[name])


@pytest.mark.parametrize("augment", ["default", "paper", "none"])
def test_bank_on_or_off_gives_equal_numbers(augment: str, train: Train) -> None:
    kept = train("epochs=2", f"augment={augment}", "explain=none").runs[0]
    numbers = contents(kept, "metrics.csv", "predictions.csv")
    shutil.move(kept, kept.parent.parent / "kept")
    shutil.rmtree(kept.parent)
    passed = train("epochs=2", f"augment={augment}", "explain=none", "bank.enabled=false").runs[0]
    assert contents(passed, "metrics.csv", "predictions.csv") == numbers


def test_seed_moves_the_numbers_but_not_the_split(train: Train) -> None:
    outcome = train("seed=0,1", "epochs=2", "explain=none", multirun=True)
    assert len({(run / "metrics.csv").read_bytes() for run in outcome.runs}) == 2
    assert len({(run / "split.csv").read_bytes() for run in outcome.runs}) == 1


def test_a_frozen_body_is_not_in_the_checkpoint_and_not_moved(train: Train, tiny_weights: Path) -> None:
    from safetensors.torch import load_file

    run = train().runs[0]
    content = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert {key.split(".")[1] for key in content["state_dict"]} == {"head"}
    body = run / "checkpoints" / content["citycam"]["body"]["path"]
    kept, given = load_file(body), load_file(tiny_weights)
    assert kept.keys() == given.keys()
    assert all(torch.equal(kept[key], given[key]) for key in kept)


def test_where_no_weights_can_be_had_one_body_is_taught_and_the_runs_say_so(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from citycam.train import lesson as body

    taught: list[int] = []
    real = body.teach

    def counting(*arguments: Any, **options: Any) -> Any:
        taught.append(options["seen"])
        return real(*arguments, **options | {"seen": 64})

    monkeypatch.setattr(body, "teach", counting)
    monkeypatch.setattr(body, "find_weights", lambda _config: None)
    outcome = train("backbone.weights=auto", "seed=0,1", multirun=True)
    assert outcome.code == 0, outcome.err
    assert taught.count(10_000) == 1
    assert "No pretrained weights of mobilenetv2_035 can be had here" in outcome.err
    for run in outcome.runs:
        assert "no_pretrained_weights" in {warning["code"] for warning in record(run)["warnings"]}
        assert record(run)["backbone"]["weights"]["origin"] == "pretrained here"
    assert "No pretrained weights" in (outcome.results / "comparison.md").read_text()
    digests = {record(run)["backbone"]["weights"]["digest"] for run in outcome.runs}
    assert len(digests) == 1
    # Another split has another training part, so the body that learnt this one must not be used for it.
    train("backbone.weights=auto", "split.seed=1")
    assert taught.count(10_000) == 2


def test_maps_are_made_with_the_weights_that_run_json_names(train: Train) -> None:
    last = train("epochs=3", "explain.methods=[cam]", "optimizer.lr=0.05").runs[0]
    best_epoch = record(last)["best"]["epoch"]
    raw = np.load(last / "explain/maps.npz")["cam"]
    shutil.rmtree(last.parent)
    best = train("epochs=3", "explain.methods=[cam]", "optimizer.lr=0.05", "explain.weights=best").runs[0]
    assert record(best)["explained"]["weights"] == "best"
    same = np.array_equal(np.load(best / "explain/maps.npz")["cam"], raw)
    assert same is (best_epoch == 3)
    assert (best / "metrics.csv").read_bytes()


# Recalls of four epochs: equal, equal but for the order of a sum, equal in single precision, and really higher.
@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([0.6, 0.6, 0.6, 0.6], 1),
        ([0.6, 0.1 + 0.2 + 0.3, 0.6, 0.6], 1),
        ([0.5, 0.6, 0.6 + 1e-8, 0.6], 3),
        ([0.5, 0.6, 0.7, 0.6], 3),
        ([0.0, 0.0, 0.0, 0.0], 1),
    ],
)
def test_the_best_epoch_is_the_earliest_of_equals_in_record_and_checkpoint(
    values: list[float], best: int, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from citycam.model import metrics

    real = metrics.evaluate
    calls: list[int] = []

    def evaluate(*arguments: Any) -> dict[str, float]:
        calls.append(len(calls))
        # Of an epoch train comes first, then val.
        return real(*arguments) | {"balanced_accuracy": values[len(calls[:-1]) // 2]}

    monkeypatch.setattr(metrics, "evaluate", evaluate)
    run = train(f"epochs={len(values)}", "explain=none").runs[0]
    assert record(run)["best"]["epoch"] == best
    assert torch.load(run / "checkpoints/best.ckpt", weights_only=True)["epoch"] == best - 1


def test_maps_say_where_predictions_have_another_arithmetic(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    from citycam.explain import draw

    notes: list[str] = []
    real = draw.write_maps

    def keep(*arguments: Any, **options: Any) -> Any:
        (shown,) = arguments[2].values()
        notes.append(shown.note)
        return real(*arguments, **options)

    monkeypatch.setattr(draw, "write_maps", keep)
    for precision in ("fp32", "bf16"):
        run = train(f"precision={precision}", "explain.pictures=1", "explain.methods=[cam]").runs[0]
        assert record(run)["explained"]["precision"] == "fp32"
        shutil.rmtree(run.parent)
    assert ["predictions: bf16" in note for note in notes] == [False, True]


def test_cam_is_complete_and_equals_gradcam(train: Train) -> None:
    run = train("explain.methods=[cam,gradcam,hirescam,xgradcam]").runs[0]
    maps, explained = np.load(run / "explain/maps.npz"), record(run)["explained"]
    assert explained["methods"]["cam"]["completeness_gap"] <= 1e-4
    assert explained["map_size"] == [8, 8]
    assert "same map up to a positive factor" in explained["same_maps"]
    step = 4  # output stride 8 read at the plain network's 32
    mean = maps["cam"][:, ::step, ::step].mean(axis=(1, 2))
    np.testing.assert_allclose(mean + maps["cam_bias"], maps["cam_explained"], atol=1e-4)
    cells = maps["cam"][0].size
    np.testing.assert_allclose(maps["gradcam"] * cells, maps["cam"], atol=1e-5)


def test_pictures_that_cannot_be_read_are_listed_in_the_run(train: Train, tmp_path: Path) -> None:
    root = paint_cities(tmp_path / "bad", ("arden", "brill"), 16)
    (root / "arden" / "broken.jpg").write_bytes(b"no picture")
    refused = train(f"data.root={root}")
    assert (refused.code, "broken.jpg" in refused.err) == (2, True)
    assert not refused.runs
    run = train(f"data.root={root}", "data.on_bad=skip", "explain=none").runs[0]
    assert [row["path"] for row in table(run / "skipped.csv")] == ["arden/broken.jpg"]
    assert "pictures_skipped" in {warning["code"] for warning in record(run)["warnings"]}


def test_changed_data_are_never_taken_for_done(train: Train, tmp_path: Path) -> None:
    root = paint_cities(tmp_path / "growing", ("arden", "brill"), 16)
    run = train(f"data.root={root}", "explain=none").runs[0]
    before = contents(run, "run.json", "metrics.csv")
    paint_cities(root, ("arden", "brill"), 20)
    again = train(f"data.root={root}", "explain=none")
    assert again.code == 2
    assert "holds this run on other data" in again.err
    assert contents(run, "run.json", "metrics.csv") == before


def test_groups_make_the_split_honest_and_say_so(train: Train) -> None:
    leaky = train("split=random", "data.group=level:1", "explain=none", "sweep.name=s").runs[0]
    assert record(leaky)["split"]["leaky"] is True
    shutil.rmtree(leaky.parent)
    honest = train("data.group=level:1", "explain=none").runs[0]
    found = record(honest)["split"]
    assert (found["kind"], found["leaky"]) == ("group", False)
    rows = table(honest / "split.csv")
    assert all(len({row["part"] for row in rows if row["group"] == group}) == 1 for group in {r["group"] for r in rows})
    assert record(honest)["final"]["interval_over"] == "groups"


def test_augment_paper_says_that_validation_was_changed_too(train: Train) -> None:
    run = train("augment=paper", "explain=none").runs[0]
    assert "validation_augmented" in {warning["code"] for warning in record(run)["warnings"]}


def test_what_holds_for_some_jobs_is_said_before_any(train: Train) -> None:
    outcome = train("augment=none,paper", "explain=none", multirun=True)
    assert "note: augment=paper changes validation pictures" in outcome.err


def test_quick_looks_at_few_pictures(train: Train) -> None:
    run = train("experiment=quick", "data.limit=10").runs[0]
    assert len(table(run / "split.csv")) == 30
    assert len(table(run / "explain_sample.csv")) <= 8


def test_checkpoints_are_of_the_last_and_the_best_epoch(train: Train) -> None:
    run = train("epochs=4", "optimizer.lr=0.01", "explain=none").runs[0]
    kept = {name: torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("last", "best")}
    assert kept["last"]["epoch"] == 3
    assert kept["best"]["epoch"] == json.loads((run / "run.json").read_text())["best"]["epoch"] - 1
    assert kept["last"]["optimizer_states"][0]["state"]
