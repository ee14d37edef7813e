"""Damaged runs, sweeps and checkpoints through the doors: a sentence, never a traceback, a hang or a wrong row."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.mutations.mutate import HOSTILE, batches, damaged_bytes, damaged_json, each, hold
from tests.sweeps import Ended, caller, only, read
from tests.test_fixture import SWEEP, unpack

Door = Callable[..., Ended]
# What a comparison shows of these cannot be changed without a word.
CHECKED = ("train_", "val_loss", "val_accuracy", "val_f1", "val_auroc", "val_ece", "n_val")
TABLES = ("metrics.csv", "predictions.csv", "split.csv", "config.yaml", "thumbs/index.csv", "explain_sample.csv")
FILES = ("run.json", "run.json", *TABLES, ".hydra/overrides.yaml", "explain/maps.npz", "thumbs")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two completed runs in a sweep that names no other, and their pictures."""
    place = unpack(tmp_path_factory.mktemp("damaged"))
    gone = only(place / SWEEP, "epochs3")
    shutil.rmtree(gone)
    content = json.loads((place / SWEEP / "sweep.json").read_text())
    content["commands"] = content["commands"][:1]
    del content["jobs"][gone.name]
    (place / SWEEP / "sweep.json").write_text(json.dumps(content))
    return place


@pytest.fixture
def here(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the sweep's folder: what it names is relative to it."""
    monkeypatch.chdir(unpacked)
    monkeypatch.setenv("COLUMNS", "120")
    return unpacked


@pytest.fixture
def citycam(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Door:
    from citycam import cli

    return caller(cli, "citycam", monkeypatch, capsys)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Door:
    import train as door

    return caller(door, "train.py", monkeypatch, capsys)


@pytest.fixture
def explain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Door:
    import explain as door

    return caller(door, "explain.py", monkeypatch, capsys)


def damage(run: Path, name: str, rng: random.Random) -> None:
    """Damage one file of a run."""
    path = rng.choice(sorted(run.glob("thumbs/*.jpg"))) if name == "thumbs" else run / name
    kind = rng.randrange(12)
    if kind == 0:
        path.unlink()
    elif kind == 1:
        path.unlink()
        path.mkdir()
    elif kind == 2:
        path.unlink()
        os.mkfifo(path)
    elif name.endswith(".json"):
        path.write_bytes(damaged_json(path.read_text(encoding="utf-8"), rng))
    elif name.endswith(".npz") and kind < 9:
        path.write_bytes(damaged_arrays(path, rng))
    elif name == "thumbs" and kind < 6:
        path.write_bytes(enlarged(path.read_bytes(), rng))
    elif name.endswith(".csv") and kind < 8:
        path.write_text(damaged_cell(path.read_text(encoding="utf-8"), rng), encoding="utf-8")
    else:
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))


def damaged_cell(text: str, rng: random.Random) -> str:
    """A table with one cell replaced by something hostile."""
    rows = list(csv.reader(io.StringIO(text)))
    row = rng.choice(rows)
    cells = [str(value)[:200_000] for value in HOSTILE if not isinstance(value, int) or value < 10**300]
    cells += ["1e999", "-inf", "x" * 140_000]
    row[rng.randrange(len(row))] = rng.choice([cell for cell in cells if "\ud800" not in cell])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def damaged_arrays(path: Path, rng: random.Random) -> bytes:
    """maps.npz with one array left out, or of another shape, type or content."""
    with np.load(path) as arrays:
        content: dict[str, Any] = dict(arrays)
    name = rng.choice(sorted(content))
    given = content.pop(name)
    others: list[Any] = [
        given[0], given[None], given[:0], given[:1], given.reshape(-1), np.zeros(len(given), dtype="S3"),
        np.array(["\ud800"] * len(given)), np.array(["x"] * len(given)), np.array([{}] * len(given), dtype=object),
        np.full(given.shape, 7, dtype=np.int64), np.full(len(given), np.nan), np.zeros((len(given), 0, 4), np.float32),
        np.zeros((len(given), 1, 5000), np.float32), np.array(5),
    ]  # fmt: skip
    if rng.randrange(8):
        content[name] = rng.choice(others)
    made = io.BytesIO()
    np.savez_compressed(made, **content)
    return made.getvalue()


def enlarged(jpeg: bytes, rng: random.Random) -> bytes:
    """A JPEG whose header names another size."""
    start = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:start] + rng.randbytes(4) + jpeg[start + 4 :]


def compared(citycam: Door, sweep: Path, out: Path) -> dict[str, dict[str, str]]:
    """Rows of a comparison by the name of their run."""
    outcome = citycam("compare", sweep, "--out", out)
    hold(outcome.code, outcome.err, (0,))
    assert (out / "comparison.html").is_file()
    return {row["run"]: row for row in read(out / "comparison.csv")}


def check_row(row: dict[str, str], before: dict[str, str]) -> None:
    """A number is that of the run, or missing, or the row says that something was changed."""
    if row["status"] != "completed" or row["warnings"] != before["warnings"]:
        return
    for name, value in before.items():
        if name.startswith(CHECKED) and not name.endswith(("_low", "_high")):
            assert row.get(name, "") in ("", value), name


@pytest.fixture(scope="module")
def clean(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two runs without their checkpoints."""
    place = tmp_path_factory.mktemp("clean") / "runs"
    for run in (only(unpacked / SWEEP, "binary"), only(unpacked / SWEEP, "multi")):
        shutil.copytree(run, place / run.name, ignore=shutil.ignore_patterns("checkpoints"))
    return place


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("seeds", batches(60, 1200))
def test_damaged_runs_stay_rows_and_change_no_other(seeds: range, clean: Path, citycam: Door, tmp_path: Path) -> None:
    if not (clean.parent / "compared").exists():
        compared(citycam, clean, clean.parent / "compared")
    before = {row["run"]: row for row in read(clean.parent / "compared" / "comparison.csv")}
    kept, source = only(clean, "binary").name, only(clean, "multi").name
    sweep = tmp_path / "sweep"
    shutil.copytree(clean, sweep)

    def add(rng: random.Random) -> None:
        run = Path(shutil.copytree(clean / source, sweep / f"m{rng.random()}"))
        damage(run, rng.choice(FILES), rng)

    each(seeds, add)
    rows = compared(citycam, sweep, tmp_path / "after")
    assert set(rows) == {path.name for path in sweep.iterdir()}
    for name in (kept, source):
        changed = {key for key, value in before[name].items() if key in rows[name] and rows[name][key] != value}
        assert changed <= {"row", "rank", "p_against_best", "compared_among", "ranked_by"}, name
    for name, row in rows.items():
        if name != kept:
            check_row(row, before[source])


@pytest.mark.parametrize("seeds", batches(20, 100))
def test_a_damaged_sweep_json_is_a_sentence(
    seeds: range, here: Path, train: Door, citycam: Door, tmp_path: Path
) -> None:
    path = here / SWEEP / "sweep.json"
    text = path.read_text(encoding="utf-8")

    def check(rng: random.Random) -> None:
        path.write_bytes(damaged_json(text, rng))
        try:
            if rng.randrange(2):
                hold(*ended(train(f"sweep.resume={here / SWEEP}")))
            else:
                hold(*ended(citycam("compare", here / SWEEP, "--out", tmp_path / f"{rng.random()}")))
        finally:
            os.chdir(here)
            path.write_text(text, encoding="utf-8")

    each(seeds, check)


def ended(outcome: Ended) -> tuple[int, str]:
    return outcome.code, outcome.err


def answers(outcome: Ended) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(outcome.out)))


USED = ("run.json", "config.yaml", "split.csv")


@pytest.mark.parametrize("seeds", batches(20, 200))
def test_a_damaged_run_is_used_as_it_was_or_not_at_all(
    seeds: range, here: Path, citycam: Door, explain: Door, tmp_path: Path
) -> None:
    run, pictures = only(SWEEP, "multi"), "cities/arden/walk0"

    def check(rng: random.Random) -> None:
        place = tmp_path / f"{rng.random()}"
        shutil.copytree(here / SWEEP / "bodies", place / "bodies")
        damaged = Path(shutil.copytree(run, place / run.name))
        damage(damaged, rng.choice(USED), rng)
        if rng.randrange(3):
            hold(*ended(citycam("predict", damaged, pictures)))
        else:
            hold(*ended(explain(f"run={damaged}", "explain.methods=[cam]", f"out={place / 'out'}")))
        shutil.rmtree(place)

    each(seeds, check)


def lies(content: dict[str, Any], rng: random.Random) -> Any:
    """A checkpoint that loads and does not hold what it should."""
    state = content["state_dict"]
    key = rng.choice(sorted(state))
    weights: list[Any] = [
        None, 5, "x", state[key][:0], state[key].double(), state[key].to(torch.int64), state[key].to_sparse(),
        torch.full_like(state[key], float("nan")), state[key][None], torch.empty(0), [state[key]],
    ]  # fmt: skip
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice([None, 5, [], {}, content["state_dict"], [content], "text"])
    if kind == 1:
        content["state_dict"] = rng.choice([None, [], {}, 5, {1: state[key]}, {**state, "more": state[key]}])
    elif kind == 2:
        state[key] = rng.choice(weights)
    elif kind == 3:
        del state[key]
    elif kind == 4:
        name = rng.choice(sorted(content))
        content[name] = rng.choice([None, 5, "x", [], {}, -1, 10**9, float("nan")])
    else:
        name = rng.choice(sorted(content["citycam"]))
        content["citycam"][name] = rng.choice([None, 5, "x", [], {}, ["a"], {"path": 5, "digest": None}])
    return content


@pytest.mark.parametrize("seeds", batches(20, 300))
def test_a_damaged_checkpoint_gives_the_same_answers_or_none(
    seeds: range, here: Path, citycam: Door, tmp_path: Path
) -> None:
    run, pictures = only(SWEEP, "multi"), "cities/arden/walk0"
    before = answers(citycam("predict", run, pictures))
    assert len(before) == 3
    place = tmp_path / "s"
    shutil.copytree(here / SWEEP, place)
    path = place / run.name / "checkpoints" / "last.ckpt"
    (body,) = (place / "bodies").iterdir()
    kept = {file: file.read_bytes() for file in (path, body)}

    def check(rng: random.Random) -> None:
        if rng.randrange(2):
            torch.save(lies(torch.load(path, weights_only=True), rng), path)
        else:
            file = rng.choice((path, body))
            file.write_bytes(damaged_bytes(kept[file], rng))
        try:
            outcome = citycam("predict", place / run.name, pictures)
            hold(*ended(outcome))
            assert outcome.code or answers(outcome) == before
        finally:
            for file, content in kept.items():
                file.write_bytes(content)

    each(seeds, check)
