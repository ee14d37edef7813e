"""The wheel is all that a fresh environment needs: its commands work in an empty folder and read nothing from here."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import ROOT, small_settings

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]
BUILT_FROM = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "citycam", "conf")
# Read by every Python of the fresh environment, also by those that others start: notes files opened in the checkout.
WATCH = """
import os, sys
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith({places!r}):
        with os.fdopen(os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "w") as file:
            file.write(arguments[0] + "\\n")
sys.addaudithook(watch)
"""


def lacking() -> str:
    """What keeps this environment from building a wheel without a network; empty where nothing does."""
    for name in ("pip", "setuptools"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed here"
    wanted = re.search(r"setuptools>=(\d+)", (ROOT / "pyproject.toml").read_text())
    assert wanted is not None
    there = version("setuptools")
    return f"setuptools {there} is too old" if int(there.partition(".")[0]) < int(wanted[1]) else ""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: builds leave things behind, and take in what earlier ones have left."""
    if lacking():
        pytest.skip(f"no wheel can be built: {lacking()}")
    place = tmp_path_factory.mktemp("build")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (place / "source").mkdir(exist_ok=True)
            shutil.copy(ROOT / name, place / "source" / name)
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", place, place / "source"]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True, stdout=subprocess.DEVNULL)
    (built,) = place.glob("citycam-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, in which this one's libraries are found, but not its citycam."""
    place = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)
    python = place / "venv" / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-warn-script-location", wheel]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], check=True)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip())
    # Each line is a folder. Files of this kind in those folders are not read, so an editable citycam is not found.
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    (own / "libraries.pth").write_text("\n".join(sorted(libraries)))
    places = tuple(str(ROOT / name) for name in ("citycam", "conf", "train.py", "explain.py"))
    (own / "sitecustomize.py").write_text(WATCH.format(places=places, log=str(place / "opened")))
    return place


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Run:
    """``run("doctor")``: citycam of the fresh environment in an empty folder."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        command = [environment / "venv" / "bin" / "citycam", *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return call


def test_every_command_works_from_the_wheel(
    run: Run, environment: Path, tmp_path: Path, cities: Path, tiny_weights: Path
) -> None:
    opened = environment / "opened"
    opened.unlink(missing_ok=True)
    small = [*small_settings(cities, tiny_weights), "epochs=1", "explain.pictures=2"]
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    run("train", "seed=0,1", "-m", *small, *joblib)
    runs = sorted(path.parent for path in (tmp_path / "multirun" / "s").glob("*/run.json"))
    assert [json.loads((one / "run.json").read_text())["status"] for one in runs] == ["completed"] * 2
    run("train", "trainer=ddp", "explain=none", *small, "sweep.name=two")  # ranks are processes of their own
    run("explain", f"run={runs[0]}", "explain.methods=[layercam]")
    assert list(runs[0].glob("explain-layercam-*/maps.npz"))
    run("compare", tmp_path / "multirun" / "s")
    assert (tmp_path / "multirun" / "s" / "comparison.html").exists()
    assert "predicted" in run("predict", runs[0], cities).stdout
    assert f"({environment / 'venv'}" in run("doctor").stdout
    assert "  experiment: paper, quick\n" in run("train", "--help").stdout
    assert not opened.exists(), opened.read_text()


def test_a_file_of_the_checkout_would_be_noticed(environment: Path, tmp_path: Path) -> None:
    (environment / "opened").unlink(missing_ok=True)
    code = f"open({str(ROOT / 'conf' / 'config.yaml')!r})"
    subprocess.run([environment / "venv" / "bin" / "python", "-c", code], cwd=tmp_path, check=True)
    assert (environment / "opened").read_text() == f"{ROOT / 'conf' / 'config.yaml'}\n"


def test_all_options_travel_in_the_wheel(environment: Path) -> None:
    (installed,) = environment.glob("venv/lib/python*/site-packages/citycam/conf")
    assert {path.relative_to(installed) for path in installed.rglob("*.yaml")} == {
        path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")
    }
