"""The promises of every data source, the checks of every catalog, and the catalog of toytown."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from citycam.config import Config, SplitConfig, SplitKind, ToytownConfig
from citycam.data import toytown
from citycam.data.inputs import load_inputs
from citycam.data.pictures import decode, digest
from citycam.data.sources import SOURCES, load_catalog, source_of
from citycam.data.splits import make_split
from citycam.errors import CitycamError
from citycam.sweep.gate import read_request

CONF = Path(__file__).parents[2] / "conf"
SMALL = {"towns": 2, "pictures": 20, "size": 64}
# The smallest settings of every source, by its name; ``{cities}`` is a folder of three cities.
SMALLEST = {"toytown": ["data.towns=2", "data.pictures=20", "data.size=64"], "folder": ["data.root={cities}"]}


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYCAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(params=SOURCES)
def run(request: pytest.FixtureRequest, cities: Path) -> Config:
    """A run on the smallest data of each source."""
    data = [setting.format(cities=cities) for setting in SMALLEST[request.param]]
    parsed = read_request([f"data={request.param}", *data, "backbone=resnet18", "backbone.lesson=24"])
    assert parsed is not None
    return parsed.jobs[0].config


def test_every_source_finds_its_pictures(run: Config) -> None:
    calls: list[tuple[int, int]] = []
    source, catalog = source_of(run.data), load_catalog(run.data, lambda *pair: calls.append(pair))
    assert catalog.kind == run.data.kind
    assert len(catalog.cities) > 1
    assert [picture.name for picture in catalog.pictures] == sorted(picture.name for picture in catalog.pictures)
    assert all(digest(catalog.path(picture)) == picture.digest for picture in catalog.pictures[::7])
    assert not calls or calls[-1][0] == calls[-1][1]
    assert source.scan().digest == catalog.digest
    unknown = dataclasses.replace(run.data, target="nowhere")
    with pytest.raises(CitycamError, match=f"not a city of {source.place}, which holds {', '.join(catalog.cities)}"):
        load_catalog(unknown)


def test_every_source_offers_a_lesson(run: Config) -> None:
    inputs = load_inputs(run)
    lesson = source_of(run.data).lesson(run, inputs.catalog, inputs.train)
    pictures, labels = lesson.load()
    assert (pictures.dtype, pictures.shape[1:]) == (np.uint8, (64, 64, 3))
    assert len(pictures) == len(labels) == min(24, len(inputs.train))
    assert (labels.dtype, labels.ndim) in ((np.int64, 1), (np.uint8, 4))
    assert lesson.warning.startswith("No pretrained weights of resnet18 can be had here, so one body ")
    assert "backbone.weights=FILE" in lesson.warning
    same = source_of(run.data).lesson(run, inputs.catalog, inputs.train[::-1])
    assert same.key == lesson.key


@pytest.mark.parametrize(
    ("side", "image_size", "warned"),
    [(183, 64, True), (4000, 96, True), (360, 128, True), (128, 64, False), (100, 64, False), (4000, 224, False)],
)
def test_photographs_that_are_read_small_are_warned_of_once(
    side: int, image_size: int, warned: bool, tmp_path: Path
) -> None:
    for number, city in enumerate(("arden", "brill")):
        (tmp_path / city).mkdir()
        for name in range(8):
            Image.new("L", (side, side + name), 100 * number + name).save(tmp_path / city / f"{name}.png")
    request = read_request(["data=folder", f"data.root={tmp_path}", f"image_size={image_size}"])
    assert request is not None
    warnings = load_inputs(request.jobs[0].config).warnings
    assert ("small_image_size" in warnings) == warned
    if warned:
        assert f"about {side} pixels" in warnings["small_image_size"]
        assert "image_size=224, as in experiment=photos" in warnings["small_image_size"]


def test_toytown_is_read_at_its_own_size() -> None:
    request = read_request(["data.towns=2", "data.pictures=20"])
    assert request is not None
    assert "small_image_size" not in load_inputs(request.jobs[0].config).warnings


def test_a_source_renders_its_pictures_again_or_says_that_it_cannot(run: Config) -> None:
    catalog = load_catalog(run.data)
    if source_of(run.data).render_again() is None:
        return
    shutil.rmtree(catalog.root)
    assert source_of(run.data).render_again() == catalog.root
    assert all(digest(catalog.path(picture)) == picture.digest for picture in catalog.pictures)


def test_a_source_is_loaded_only_when_it_is_used() -> None:
    code = "import sys, citycam.data.inputs; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "citycam.data.sources" in loaded
    assert not {"citycam.data.toytown", "citycam.data.folder"} & set(loaded)


def test_towns_with_walks_and_times() -> None:
    catalog = load_catalog(ToytownConfig(**SMALL))
    assert catalog.counts() == dict.fromkeys(sorted(toytown.TOWNS[:2]), 20)
    assert catalog.groups_known
    first = catalog.pictures[0]
    assert first.group is not None
    assert first.group.startswith(f"{first.city}/")
    assert first.time == 0.0
    assert decode(catalog.path(first)).shape == (64, 64, 3)
    assert toytown.label_map(catalog.root, first.name).shape == (64, 64)
    split = make_split(catalog, SplitConfig())
    assert (split.kind, split.leaky) == ("group", False)


def test_towns_have_a_target_unless_another_is_named() -> None:
    towns = sorted(toytown.TOWNS[:2])
    assert load_catalog(ToytownConfig(**SMALL)).target == toytown.DEFAULT_TARGET
    assert load_catalog(ToytownConfig(**SMALL, target=towns[0])).target == towns[0]
    with pytest.raises(
        CitycamError, match=f"data.target=paris is not a city of toytown, which holds {', '.join(towns)}"
    ):
        load_catalog(ToytownConfig(**SMALL, target="paris"))


def test_limit_per_town() -> None:
    whole = load_catalog(ToytownConfig(**SMALL))
    few = load_catalog(ToytownConfig(**SMALL, limit=5))
    assert set(few.counts().values()) == {5}
    assert set(few.pictures) < set(whole.pictures)


@pytest.mark.parametrize("kind", [kind.name for kind in SplitKind])
def test_the_shipped_split_options_fit(kind: str) -> None:
    values = yaml.safe_load((CONF / "split" / f"{kind}.yaml").read_text(encoding="utf-8"))
    assert SplitConfig(**(values | {"kind": SplitKind[values["kind"]]})) == SplitConfig(kind=SplitKind[kind])
