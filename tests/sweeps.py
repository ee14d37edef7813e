"""A small sweep trained once for a whole test module, and the doors that look at it afterwards."""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import TINY, forget


@dataclass(frozen=True)
class Ended:
    """Exit code, stdout, stderr."""

    code: int
    out: str
    err: str


def train_once(place: Path, cities: Path, weights: Path, *overrides: str) -> Path:
    """Train the sweep ``s`` in ``place`` by train.py's own door; returns its folder."""
    import train as door

    arguments = ["-m", "data=folder", f"data.root={cities}", "data.target=brill", "backbone=timm"]
    arguments += [f"backbone.name={TINY}", f"backbone.weights={weights}", "backbone.strides=[32,16,8]"]
    arguments += ["epochs=2", "threads=1", "precision=fp32", "sweep.name=s", "explain.pictures=3"]
    given = {override.partition("=")[0] for override in overrides}
    arguments = [argument for argument in arguments if argument.partition("=")[0] not in given]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["train.py", *arguments, *overrides])
        forget()
        assert door.main() == 0
    return place / "multirun" / "s"


def only(sweep: Path, word: str) -> Path:
    """The one run of the sweep whose folder's name holds ``word``."""
    (found,) = [path for path in sweep.iterdir() if word in path.name and (path / "run.json").exists()]
    return found


def copy_of(sweep: Path, place: Path) -> Path:
    """A copy of a sweep that a test may damage."""
    return Path(shutil.copytree(sweep, place / "copy"))


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def caller(
    door: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """``call("run=…")``: a door's main in this process, as a new process would find things."""

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        forget()
        capsys.readouterr()
        try:
            code = door.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Ended(code, *capsys.readouterr())

    return call
