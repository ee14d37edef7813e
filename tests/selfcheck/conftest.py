"""Pictures enough for a verdict, and small networks on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from citycam.cli import selfcheck as door
from citycam.doors import door as guard
from tests.conftest import Outcome, forget, paint_cities, small_settings


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cities of 120 small pictures, each of four walks."""
    return paint_cities(tmp_path_factory.mktemp("many") / "cities", ("arden", "brill"), 120)


def settings_of(many: Path, tiny_weights: Path, *more: str) -> list[str]:
    """What makes a check small: a tiny network on tiny pictures, and a head of few steps."""
    usual = [item for item in small_settings(many, tiny_weights) if not item.startswith("sweep.name")]
    usual += ["epochs=1", "image_size=32", "explain.samples=2", "explain.steps=1"]
    given = {item.partition("=")[0] for item in more}
    return [item for item in usual if item.partition("=")[0] not in given] + list(more)


Check = Callable[..., Outcome]


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], many: Path, tiny_weights: Path
) -> Check:
    """``check("partition=binary")``: citycam selfcheck in this process, in an empty folder, on small real files;
    ``small=False``: of these words alone."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str, small: bool = True) -> Outcome:
        forget()
        capsys.readouterr()
        arguments = settings_of(many, tiny_weights, *words) if small else list(words)
        code = guard(lambda: door.run(arguments))()
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err, tmp_path / "multirun" / "selfcheck")

    return call
