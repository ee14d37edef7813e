"""The same command again on a damaged sweep: skipped, resumed, restarted with a warning, or refused with a sentence."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import forget, small_settings
from tests.mutations.mutate import batches, damaged_bytes, each, hold
from tests.mutations.test_run_folders import check_row, damage, lies
from tests.sweeps import Ended, caller, only, read

Door = Callable[..., Ended]
ASKED = ("epochs=2,3", "partition=multi", "explain=none")
# Damaged more often than every other file of a run.
LIKELY = ("run.json", "run.json", "metrics.csv", "config.yaml", "split.csv", ".hydra/config.yaml")
CHECKPOINTS = ("checkpoints/last.ckpt", "checkpoints/last.ckpt", "checkpoints/best.ckpt")


@pytest.fixture(scope="module")
def words(cities: Path, tiny_weights: Path) -> list[str]:
    return ["-m", *small_settings(cities, tiny_weights), *ASKED]


@pytest.fixture(scope="module")
def stopped(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep with a completed run, and one that was stopped in its second epoch."""
    return begun(tmp_path_factory.mktemp("stopped"), words, stop=True)


@pytest.fixture(scope="module")
def whole(stopped: Path, words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep, resumed undamaged, which gives the numbers of one that was never stopped."""
    place = tmp_path_factory.mktemp("whole")
    shutil.copytree(stopped, place / "multirun" / "s")
    return begun(place, words, stop=False)


def begun(place: Path, words: list[str], *, stop: bool) -> Path:
    import train as door
    from citycam.model.module import CityModule

    real = CityModule.training_step

    def step(self: Any, chunk: Any, number: int) -> Any:
        if stop and self.trainer.max_epochs == 3 and self.current_epoch == 1:
            raise KeyboardInterrupt
        return real(self, chunk, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(CityModule, "training_step", step)
        patch.setattr(sys, "argv", ["train.py", *words])
        forget()
        assert door.main() == (130 if stop else 0)
    return place / "multirun" / "s"


def spoil(sweep: Path, word: str, rng: random.Random) -> Path:
    """Damage a file of the run named by ``word``, or one that the runs share; return it."""
    run = only(sweep, word)
    kind = rng.randrange(8)
    if kind == 0:
        damage(sweep, "sweep.json", rng)
        return sweep / "sweep.json"
    if kind == 1:
        (path,) = (sweep / "bodies").iterdir()
        path.write_bytes(damaged_bytes(path.read_bytes(), rng))
        return path
    name = rng.choice(LIKELY)
    if kind in (2, 3):
        name = rng.choice(CHECKPOINTS)
    elif kind == 4:
        name = rng.choice(sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()))
    path = run / name
    if not path.exists():  # a run that was stopped has not all files yet
        path.write_bytes(damaged_bytes(b"damaged", rng))
    elif kind == 2:
        torch.save(lies(torch.load(path, weights_only=True), rng), path)
    else:
        damage(run, name, rng)
    return path


@pytest.mark.parametrize(
    ("word", "seeds"),
    [
        pytest.param(word, *param.values, marks=param.marks)
        for word, default in (("epochs2", 6), ("epochs3", 4))
        for param in batches(default, 200)
    ],
)
def test_the_same_command_ends_well_on_a_damaged_run(
    word: str,
    seeds: range,
    words: list[str],
    whole: Path,
    stopped: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import train as door

    train, name = caller(door, "train.py", monkeypatch, capsys), only(stopped, word).name
    (before,) = [row for row in read(whole / "comparison.csv") if row["run"] == name]
    single = [*[item for item in words[1:] if item not in ASKED[:1]], word.replace("epochs", "epochs=")]

    def check(rng: random.Random) -> None:
        place = tmp_path / f"{rng.random()}"
        sweep = Path(shutil.copytree(stopped, place / "multirun" / "s", symlinks=True))
        monkeypatch.chdir(place)
        spoiled = spoil(sweep, word, rng)
        outcome = train(*(words if rng.randrange(3) == 0 else single))
        hold(outcome.code, outcome.err)
        assert outcome.code == 0 or "citycam: " in outcome.err, (spoiled, outcome)
        check_results(outcome, sweep / name, whole / name, before, spoiled)
        os.chdir(tmp_path)
        shutil.rmtree(place)

    each(seeds, check)


def check_results(outcome: Ended, run: Path, whole: Path, before: dict[str, str], spoiled: Path) -> None:
    """A run that ended has the numbers of one that nothing happened to."""
    rows = {row["run"]: row for row in read(run.parent / "comparison.csv")}
    check_row(rows[run.name], before)
    if outcome.code:
        return
    if spoiled.parent.name == "bodies" and "epochs3" in run.name:
        assert spoiled.read_bytes() == (whole.parent / "bodies" / spoiled.name).read_bytes()
    for name in ("metrics.csv", "predictions.csv", "split.csv"):
        if run / name != spoiled:
            assert (run / name).read_bytes() == (whole / name).read_bytes(), (name, spoiled, outcome.err)
