"""What several tests of mutations share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweeps import only, train_once


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, cities: Path, tiny_weights: Path) -> Path:
    """The folder of a run to predict with; tests leave it as it is."""
    place = tmp_path_factory.mktemp("small run")
    return only(train_once(place, cities, tiny_weights, "partition=multi", "explain=none"), "multi")
