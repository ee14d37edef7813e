"""The catalog of the rendered towns, and the checks that hold for every source."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from citycam.config import SplitConfig, SplitKind, ToytownConfig
from citycam.data import toytown
from citycam.data.pictures import decode, digest
from citycam.data.sources import load_catalog
from citycam.data.splits import make_split
from citycam.errors import CitycamError

CONF = Path(__file__).parents[2] / "conf"
SMALL = {"towns": 2, "pictures": 20, "size": 64}


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYCAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_towns_with_walks_and_times() -> None:
    catalog = load_catalog(ToytownConfig(**SMALL))
    assert catalog.kind == "toytown"
    assert catalog.counts() == dict.fromkeys(sorted(toytown.TOWNS[:2]), 20)
    assert catalog.groups_known
    first = catalog.pictures[0]
    assert first.group is not None
    assert first.group.startswith(f"{first.city}/")
    assert first.time == 0.0
    assert digest(catalog.path(first)) == first.digest
    assert decode(catalog.path(first)).shape == (64, 64, 3)
    assert toytown.label_map(catalog.root, first.name).shape == (64, 64)
    assert [picture.name for picture in catalog.pictures] == sorted(picture.name for picture in catalog.pictures)
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
