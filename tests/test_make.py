"""What a build server runs, and the hook that runs before commits."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not (shutil.which("make") and shutil.which("git")), reason="needs make and git")
# Git and make set these for what they run, and the tests may be run by both.
INHERITED = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name not in INHERITED}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("codes", "ran", "code"),
    [
        ((0, 0, 0), "style test coverage", 0),
        ((1, 0, 0), "style", 2),
        ((0, 1, 0), "style test", 2),
        ((0, 0, 1), "style test coverage", 2),
    ],
)
def test_a_build_server_checks_style_and_then_runs_the_tests(
    codes: tuple[int, int, int], ran: str, code: int, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    targets = zip(("style", "test", "coverage"), codes, strict=True)
    (tmp_path / "Makefile").write_text("".join(f"{name}:\n\t@echo {name}; exit {ends}\n" for name, ends in targets))
    ended = run(tmp_path, ".ci/run")
    assert (ended.stdout.split(), ended.returncode) == (ran.split(), code)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose ruff finds a fault."""
    run(tmp_path, "git", "init", "--quiet")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / ".made").touch()
    (tmp_path / ".venv" / "bin" / "ruff").write_text("#!/bin/sh\necho a fault; exit 1\n")
    (tmp_path / ".venv" / "bin" / "ruff").chmod(0o755)
    return tmp_path


@pytest.fixture
def python(clone: Path) -> Path:
    """A Python whose environments are made at once."""
    (clone / ".venv" / ".made").unlink()
    path = clone / "python"
    path.write_text("#!/bin/sh\ncase $2 in venv) mkdir -p $3/bin && ln -sf $PWD/python $3/bin/python;; esac\n")
    path.chmod(0o755)
    return path


def test_making_the_environment_says_what_it_takes(clone: Path, python: Path) -> None:
    made = run(clone, "make", "venv", f"PYTHON={python}")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("making .venv: some minutes, 3 GB to download, 6 GB on disk\n")
    assert (clone / ".venv" / ".made").exists()
    assert run(clone, "make", "venv", f"PYTHON={python}").stdout.startswith("make: Nothing to be done")


def test_no_environment_is_made_of_a_python_that_is_too_old(clone: Path, python: Path) -> None:
    python.write_text("#!/bin/sh\necho 'needs 3.11' >&2; exit 2\n")
    made = run(clone, "make", "venv", f"PYTHON={python}")
    assert (made.returncode, made.stdout) == (2, "")
    assert "needs 3.11" in made.stderr


@pytest.mark.parametrize("command", [("make", "hooks"), ("make", "venv", "HOOKS=1")])
def test_the_hook_refuses_a_commit_with_faults(command: tuple[str, ...], clone: Path) -> None:
    for _ in range(2):
        assert run(clone, *command).returncode == 0
    run(clone, "git", "add", ".")
    commit = run(clone, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "a")
    assert commit.returncode
    assert "a fault" in commit.stdout + commit.stderr
    assert run(clone, "git", "log").returncode  # there is no commit


def test_a_hook_of_ones_own_is_kept(clone: Path) -> None:
    hook = clone / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("mine")
    assert run(clone, "make", "hooks").returncode
    assert hook.read_text() == "mine"


def test_an_environment_alone_has_no_hook(clone: Path) -> None:
    assert run(clone, "make", "venv").returncode == 0
    assert not (clone / ".git" / "hooks" / "pre-commit").exists()
