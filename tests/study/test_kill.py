"""A study that is killed goes on where it was, and ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome

Train = Callable[..., Outcome]
ROOT = Path(__file__).parents[2]
# Kills itself when a function is called for the given time, and says how many blocks of maps it made.
CHILD = """
import importlib, os, signal, sys
from citycam import cli
from citycam.study import cell_maps

place, name, turn = {place!r}, {name!r}, {turn}
cell_maps._BLOCK = 8
calls = {{"made": 0, "killed": 0}}
make = cell_maps._made

def made(*arguments):
    calls["made"] += 1
    return make(*arguments)

cell_maps._made = made
if place:
    module = importlib.import_module(place)
    real = getattr(module, name)

    def killed(*arguments, **options):
        calls["killed"] += 1
        if calls["killed"] == turn:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(module, name, killed)
sys.argv = ["citycam", "study", {run!r}, "--output", {output!r}]
code = cli.main()
print("blocks", calls["made"])
raise SystemExit(code)
"""
AT = {
    "the second block of maps": ("citycam.study.cell_maps", "_made", 2),
    "descriptions": ("citycam.study.run", "describe_peaks", 1),
    "tests": ("citycam.study.run", "prevalence", 1),
    "the second crop": ("citycam.study.crops", "_write", 2),
    "study.json": ("citycam.study.write", "write_study", 1),
}


def study(run: Path, output: Path, home: Path, place: str = "", name: str = "", turn: int = 0) -> tuple[int, str]:
    """Study in a process of its own; return its code and what it printed."""
    script = CHILD.format(place=place, name=name, turn=turn, run=str(run), output=str(output))
    environment = os.environ | {"CITYCAM_CACHE": str(home), "COLUMNS": "200"}
    child = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    return child.returncode, child.stdout


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a study, without the command that made it, which names the folder."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: its.replace(str(folder).encode(), b"HERE") for name, its in files.items()}


@pytest.mark.slow
def test_a_killed_study_ends_with_equal_bytes(train: Train, tmp_path: Path) -> None:
    trained = train("explain=none", "epochs=4", "split.val=0.4")
    (run,) = trained.runs
    code, printed = study(run, tmp_path / "whole", tmp_path / "cache-whole")
    assert code == 0
    blocks = int(printed.rsplit("blocks", 1)[1])
    assert blocks >= 2
    whole = content(tmp_path / "whole")
    assert {"study.json", "index.html", "elements.csv"} <= set(whole)
    for number, (what, (place, name, turn)) in enumerate(AT.items()):
        output, home = tmp_path / f"output{number}", tmp_path / f"cache{number}"
        code, _ = study(run, output, home, place, name, turn)
        assert code == -9, what
        assert not output.exists(), what
        code, printed = study(run, output, home)
        assert code == 0, what
        assert int(printed.rsplit("blocks", 1)[1]) == (blocks - 1 if number == 0 else 0), what
        assert content(output) == whole, what
