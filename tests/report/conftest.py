"""Fixtures for the tests of figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from citycam.report import figures


@pytest.fixture
def saved_figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved during a test, in order."""
    saved: list[Any] = []
    save = figures.save

    def keep(figure: Any, path: Path) -> None:
        saved.append(figure)
        save(figure, path)

    monkeypatch.setattr(figures, "save", keep)
    return saved
