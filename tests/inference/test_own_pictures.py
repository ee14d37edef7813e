"""The pictures of a trained run: where they lie today, rendered again, or missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from citycam.config import DataConfig, FolderConfig, ToytownConfig
from citycam.data.sources import load_catalog
from citycam.errors import CitycamError
from citycam.inference.own_pictures import check_digest, find_root
from citycam.sweep.record import DataRecord, RunRecord


def trained(data: DataConfig, root: Path) -> Any:
    """Return what `find_root` and `check_digest` read of a run on these data."""
    return SimpleNamespace(
        folder=Path("multirun/s/one"),
        record=RunRecord(status="completed", data=DataRecord(root=str(root))),
        config=SimpleNamespace(data=data),
    )


def test_rendered_pictures_that_were_deleted_are_rendered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    data = ToytownConfig(towns=2, pictures=20, size=64)
    catalog = load_catalog(data)
    run = trained(data, catalog.root)
    assert find_root(run, None) == catalog.root
    shutil.rmtree(catalog.root)
    with pytest.raises(CitycamError, match="is no folder; give the one that holds the run's pictures"):
        find_root(run, tmp_path / "nowhere")
    assert find_root(run, None) == catalog.root
    for picture in catalog.pictures[::9]:
        check_digest(run, catalog, picture)


def test_photographs_that_were_moved_need_a_new_root(cities: Path, tmp_path: Path) -> None:
    run = trained(FolderConfig(root=str(tmp_path / "gone")), tmp_path / "gone")
    assert find_root(run, cities) == cities
    with pytest.raises(CitycamError, match=r"gone, which is not there; give data\.root=FOLDER if they were moved"):
        find_root(run, None)
