"""citycam doctor says what is there, and ends with 1 where something that is needed is broken."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from citycam import cli, devices
from citycam.cli import doctor, packages
from citycam.model import hub
from tests.conftest import ROOT
from tests.sweeps import Ended, caller

Doctor = Callable[[], Ended]


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Doctor:
    """``citycam doctor`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    call = caller(cli, "citycam", monkeypatch, capsys)
    return lambda: call("doctor")


def line(outcome: Ended, subject: str) -> str:
    """What is said of a subject."""
    (text,) = [text for text in outcome.out.splitlines() if text.startswith(f"{subject} ")]
    return text


def test_it_says_what_is_there(examine: Doctor, own_cache: Path, tmp_path: Path) -> None:
    outcome = examine()
    assert (outcome.code, outcome.err) == (0, "")
    assert f"torch {torch.__version__.partition('+')[0]}" in line(outcome, "packages")
    assert f"{devices.cores()} core" in line(outcome, "processor")
    assert str(own_cache) in line(outcome, "cache")
    assert f"{tmp_path / 'multirun'}: can be written" in line(outcome, "results")
    assert "HF_HUB_OFFLINE keeps citycam off the network" in line(outcome, "weights")
    assert "resnet50" in line(outcome, "weights")
    assert outcome.out.splitlines()[-1] == "All that citycam needs works."
    assert len(outcome.out.splitlines()) < 24
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (("cache", "/kept/model.safetensors"), "in the cache (/kept/model.safetensors)"),
        (("hub", "timm/x"), "can be downloaded (timm/x)"),
        (("silent", "timm/x"), "the network does not answer (timm/x): give backbone.weights=FILE"),
        (("nowhere", ""), "nobody publishes any: give backbone.weights=FILE"),
    ],
)
def test_weights_that_cannot_be_had_break_nothing(
    where: tuple[str, str], words: str, examine: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "availability", lambda _: where)
    outcome = examine()
    assert outcome.code == 0
    assert words in line(outcome, "weights")


def test_a_missing_requirement_is_broken(examine: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    required = ["nothing-like-it>=2; extra == 'heic'", "timm>=99", "torch>=1", "absent>=1; python_version < '3'"]
    monkeypatch.setattr(packages, "requires", lambda _: required)
    outcome = examine()
    assert outcome.code == 1
    assert "broken: timm>=99 is not installed, or in another version; run pip install 'timm>=99'." in outcome.out
    assert "heic: not installed, pip install 'citycam[heic]'" in line(outcome, "extras")
    assert "export: installed" in line(outcome, "extras")


def test_a_library_that_cannot_be_imported_is_broken(examine: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> str | None:
        return "ImportError: libGL.so.1: no such file" if name == "citycam.train.run" else None

    monkeypatch.setattr(doctor, "import_problem", lacking)
    outcome = examine()
    assert outcome.code == 1
    assert "broken: training cannot start (ImportError: libGL.so.1: no such file); install again" in outcome.out


def test_without_torch_the_rest_is_still_said(examine: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "import_problem", lambda _: "OSError: libcudart.so")
    outcome = examine()
    assert outcome.code == 1
    assert "unknown" in line(outcome, "GPUs")
    assert "unknown" in line(outcome, "weights")
    assert "can be written" in line(outcome, "results")


def test_gpus_are_listed_with_their_free_memory(examine: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: ((number + 1) << 30, 8 << 30))
    outcome = examine()
    assert "GPU 0, 1.0 GB of 8.0 GB free; GPU 1, 2.0 GB of 8.0 GB free" in line(outcome, "GPUs")

    def failing(_number: int) -> tuple[int, int]:
        raise RuntimeError("CUDA driver version is insufficient.\nmore")

    monkeypatch.setattr(torch.cuda, "mem_get_info", failing)
    outcome = examine()
    assert outcome.code == 1
    assert "PyTorch fails on a GPU (CUDA driver version is insufficient); mend its driver" in outcome.out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_broken(examine: Doctor, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    outcome = examine()
    tmp_path.chmod(0o700)
    assert outcome.code == 1
    assert f"broken: {tmp_path / 'multirun'} cannot be written; run citycam from another folder." in outcome.out


def test_a_cache_that_is_no_folder_is_broken(examine: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path / "file"))
    outcome = examine()
    assert outcome.code == 1
    assert f"broken: {tmp_path / 'file'} cannot be written; set CITYCAM_CACHE to another folder." in outcome.out


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512f avx512_bf16\n", ("avx2", "avx512f", "avx512_bf16")),
        ("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512fx\n", ("avx2",)),
        ("Features\t: fp asimd sve bf16\n", ("sve", "bf16")),
        ("", None),
    ],
)
def test_features_are_read_and_never_assumed(
    text: str, features: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda path, **more: text if str(path) == "/proc/cpuinfo" else real(path, **more)
    )
    assert devices.processor().features == features


def test_why_an_import_fails_is_one_line() -> None:
    assert packages.import_problem("json") is None
    assert packages.import_problem("nothing_like_it") == "ModuleNotFoundError: No module named 'nothing_like_it'"


def test_the_extras_are_those_of_pyproject() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert set(packages.EXTRAS) == extras - {"dev", "bench"}
