"""Every file of a run's folder has one reader, which gives what was written or refuses it in a sentence."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from citycam.errors import DamagedFile
from citycam.sweep.runs import read_runs
from citycam.sweep.stored import read_answers, read_metrics, read_settings, read_split, read_thumbs
from tests.report.made import answers, make_run

DIGEST = "0" * 32
# Nine times nine times nine …: a short text that stands for billions of values.
LAUGHS = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "\n".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]" for before, name in itertools.pairwise("abcdefghi")
)
GOOD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "config.yaml": (read_settings, "epochs: 1\nseed: 0\ndata: {root: '/a/R &D *x'}\n"),
    "metrics.csv": (read_metrics, "epoch,val_loss,val_accuracy\n1,0.5,0.25\n2,nan,\n"),
    "predictions.csv": (
        lambda folder: read_answers(folder / "predictions.csv"),
        "path,city,label,predicted,p_a,p_b\nx.png,a,a,b,0.25,0.75\n",
    ),
    "split.csv": (read_split, f"path,digest,city,group,part\na/x.png,{DIGEST},a,,val\n"),
    "thumbs/index.csv": (read_thumbs, f"digest,picture,kind,class,own_probability\n{DIGEST},x.png,typical,a,0.9\n"),
}
BAD: dict[str, list[str]] = {
    "config.yaml": [
        "", "5", "[1]", "a: 1: 2", "a: " + "9" * 5000, "a: 2020-13-45", "a: !!binary x", "a: .nan", "1: a",
        "a: !!set {b}",
        "[" * 100_000, "- " * 100_000, "{a: " * 50_000, "\n".join("[" * 90 for _ in range(900)), "a: &a [*a]",
        LAUGHS,
        "a: 1" + ":1" * 20_000,
    ],
    "metrics.csv": [
        "", "loss\n1\n", "epoch,val_accuracy\n1\n", "epoch,val_accuracy\n1,2\n", "epoch,val_accuracy\n1,nan\n",
        "epoch\ninf\n",
        "epoch\n2\n1\n", "epoch\n1.5\n", "epoch,epoch\n1,1\n", "epoch,val_loss\n1,1_0\n", "epoch\n1\n\n", 'epoch\n"1\n',
        "epoch,x\n1," + "1" * 200_000 + "\n",
    ],
    "predictions.csv": [
        "path,city,label,predicted,p_a\nx,a,a,c,1\n", "path,label,predicted\n", "path,label\nx,a\n",
        "path,label,predicted\nx,a,a\nx,a,a\n",
    ],
    "split.csv": [
        f"path,digest,city,group,part\n/etc/passwd,{DIGEST},a,,val\n",
        f"path,digest,city,group,part\n../x,{DIGEST},a,,val\n",
        f"path,digest,city,group,part\nx,{DIGEST},a,,valid\n", "path,digest,city,group,part\nx,0,a,,val\n",
        f"path,digest,city,group,part\nx,{DIGEST},,,val\n", "path,digest,city,group,part\n",
    ],
    "thumbs/index.csv": ["digest,kind\n0,typical\n", "digest,picture,kind,class,own_probability\n1,2\n"],
}  # fmt: skip


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", GOOD)
def test_a_file_is_read_and_a_missing_one_is_not_damaged(name: str, tmp_path: Path) -> None:
    read, text = GOOD[name]
    with pytest.raises(FileNotFoundError):
        read(tmp_path)
    write(tmp_path, name, text)
    assert read(tmp_path)
    write(tmp_path, name, f"\ufeff{text}")
    assert read(tmp_path)


@pytest.mark.parametrize("name", GOOD)
def test_what_is_no_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    read, _ = GOOD[name]
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(DamagedFile, match=r"cannot be read"):
        read(tmp_path)
    (tmp_path / name).rmdir()
    os.mkfifo(tmp_path / name)
    with pytest.raises(DamagedFile, match="not a regular file"):
        read(tmp_path)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_what_does_not_fit_is_refused(name: str, text: str, tmp_path: Path) -> None:
    write(tmp_path, name, text)
    with pytest.raises(DamagedFile, match=f"{name} cannot be read: .*; put it back, or train the run again"):
        GOOD[name][0](tmp_path)


def test_a_default_of_one_or_zero_is_a_number(tmp_path: Path) -> None:
    make_run(tmp_path / "0", answers(40, 2), overrides=["seed=1", "epochs=2"], seed=1)
    make_run(tmp_path / "1", answers(40, 2), overrides=["epochs=2"])
    write(tmp_path / "1", "config.yaml", "seed: 0\nepochs: 2\n")
    assert [row.overrides["seed"] for row in read_runs(tmp_path)] == ["1", "0"]


def test_numbers_of_two_files_that_differ_are_a_warning(tmp_path: Path) -> None:
    make_run(tmp_path / "0", answers(40, 2))
    (row,) = read_runs(tmp_path)
    assert row.damage == ()
    write(tmp_path / "0", "metrics.csv", "epoch,val_accuracy\n1,0.75\n")
    (row,) = read_runs(tmp_path)
    assert [mark.code for mark in row.damage] == ["numbers_differ"]
    write(tmp_path / "0", "metrics.csv", "epoch\ninf\n")
    (row,) = read_runs(tmp_path)
    assert [mark.code for mark in row.damage] == ["metrics_damaged"]
