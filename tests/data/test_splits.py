"""The promises of every split, for any catalog, and a sentence if they cannot be kept."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from citycam.config import SplitConfig, SplitKind
from citycam.data.catalog import Catalog, Picture
from citycam.data.splits import SPLITS, choose, make_split
from citycam.errors import CitycamError


def catalog_of(*pictures: Picture) -> Catalog:
    return Catalog("folder", Path("root"), tuple(sorted(pictures, key=lambda picture: picture.name)))


def regular(cities: int = 3, groups: int | None = 5, frames: int = 10, timed: bool = False) -> Catalog:
    """Return a catalog of ``groups`` walks of ``frames`` pictures in each city; None: pictures without walks."""
    return catalog_of(
        *(
            Picture(
                name=f"c{city}/w{walk}/f{frame}.png",
                digest=f"{city}-{walk}-{frame}",
                city=f"c{city}",
                group=None if groups is None else f"c{city}/w{walk}",
                time=float(frame) if timed else None,
            )
            for city, walk, frame in itertools.product(range(cities), range(groups or 5), range(frames))
        )
    )


@st.composite
def catalogs(draw: st.DrawFn, grouped: bool) -> Catalog:
    """Draw cities with walks of unequal length, and copies of pictures within and between walks and cities."""
    pictures = []
    for city in range(draw(st.integers(2, 3))):
        for walk in range(draw(st.integers(3, 7))):
            for frame in range(draw(st.integers(1, 12))):
                digest = f"{city}-{walk}-{frame}"
                if frame and draw(st.integers(0, 9)) == 0:
                    digest = "black frame"
                group = f"c{city}/w{walk}" if grouped else None
                pictures.append(Picture(f"c{city}/w{walk}/{frame}.png", digest, f"c{city}", group, float(frame)))
    return catalog_of(*pictures)


configs = st.builds(
    lambda kind, seed, val, test: SplitConfig(kind=kind, seed=seed, val=val, test=test),
    kind=st.sampled_from([SplitKind.random, SplitKind.group, SplitKind.time]),
    seed=st.integers(0, 5),
    val=st.sampled_from([0.1, 0.2, 0.5]),
    test=st.sampled_from([0.0, 0.2]),
)


@settings(max_examples=150, deadline=None)
@given(catalog=catalogs(grouped=True), config=configs, order=st.randoms(use_true_random=False))
def test_every_split_keeps_its_promises(catalog: Catalog, config: SplitConfig, order: random.Random) -> None:
    try:
        split = make_split(catalog, config)
    except CitycamError:
        reject()
    assert len(split.parts) == len(catalog.pictures)
    everything = np.concatenate([split.indices(part) for part in ("train", "val", "test", "gap")])
    assert sorted(everything) == list(range(len(catalog.pictures)))
    by_digest, by_group = defaultdict(set), defaultdict(set)
    for picture, part in zip(catalog.pictures, split.parts, strict=True):
        if part != "gap":
            by_digest[picture.digest].add(part)
            by_group[picture.group].add(part)
    assert all(len(parts) == 1 for parts in by_digest.values())
    if config.kind is SplitKind.group:
        assert all(len(parts) == 1 for parts in by_group.values())
        assert split.leaky is False
    for city in catalog.cities:
        here = {part for picture, part in zip(catalog.pictures, split.parts, strict=True) if picture.city == city}
        assert here >= ({"train", "val", "test"} if config.test else {"train", "val"})
    shuffled = list(catalog.pictures)
    order.shuffle(shuffled)
    again = make_split(Catalog("folder", Path("elsewhere"), tuple(shuffled)), config)
    assert {p.name: part for p, part in zip(shuffled, again.parts, strict=True)} == {
        p.name: part for p, part in zip(catalog.pictures, split.parts, strict=True)
    }


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=3, max_size=9),
    share=st.floats(0.05, 0.9),
)
def test_whole_units_come_as_close_to_the_target_as_possible(sizes: list[int], share: float) -> None:
    target = max(1, round(share * sum(sizes)))
    taken = choose(sizes, target, leave=1)
    assert 1 <= len(taken) < len(sizes)
    best = min(
        abs(sum(chosen) - target) for count in range(1, len(sizes)) for chosen in itertools.combinations(sizes, count)
    )
    everything = abs(sum(sizes) - target) < best
    total = sum(sizes[index] for index in taken)
    if abs(total - target) != best and not everything:
        # Only where the closest sum is far: then none has closer odds.
        def distance(total: int) -> float:
            return abs(math.log(total / (sum(sizes) - total) / (target / (sum(sizes) - target))))

        sums = {sum(chosen) for count in range(1, len(sizes)) for chosen in itertools.combinations(sizes, count)}
        closest = min(sums, key=lambda total: (abs(total - target), total))
        assert not target / 2 <= closest <= 2 * target
        assert distance(total) == pytest.approx(min(map(distance, sums)))


@pytest.mark.parametrize(
    ("sizes", "target", "total"),
    [([1, 100, 100], 40, 100), ([100, 1, 100], 40, 100), ([1, 400], 80, 1), ([30, 100, 100], 46, 30)],
)
def test_a_part_of_a_few_pictures_is_not_close_to_a_fifth(sizes: list[int], target: int, total: int) -> None:
    assert sum(sizes[index] for index in choose(sizes, target, leave=1)) == total


def test_shares_are_exact_where_pictures_are_single() -> None:
    catalog = regular(cities=3, groups=None, frames=20)
    split = make_split(catalog, SplitConfig(kind=SplitKind.random, val=0.2, test=0.1))
    counts = Counter(zip((picture.city for picture in catalog.pictures), split.parts, strict=True))
    for city in catalog.cities:
        assert [counts[city, part] for part in ("train", "val", "test")] == [70, 20, 10]


def test_seeds_differ_and_cities_do_not_disturb_each_other() -> None:
    catalog = regular(cities=2, groups=10)
    more = catalog_of(*catalog.pictures, *regular(cities=3, groups=10).pictures[200:])
    for kind in (SplitKind.random, SplitKind.group):
        one = make_split(catalog, SplitConfig(kind=kind, seed=0))
        assert one.parts[:100] != one.parts[100:]
        assert one != make_split(catalog, SplitConfig(kind=kind, seed=1))
        assert make_split(more, SplitConfig(kind=kind, seed=0)).parts[:200] == one.parts


def walks(*sizes: int) -> Catalog:
    """Return two cities, each with walks of these sizes."""
    return catalog_of(
        *(
            Picture(f"c{city}/w{walk}/{frame}.png", f"{city}-{walk}-{frame}", f"c{city}", f"c{city}/w{walk}")
            for city in range(2)
            for walk, size in enumerate(sizes)
            for frame in range(size)
        )
    )


def test_a_share_that_walks_do_not_allow_is_said() -> None:
    split = make_split(walks(100, 100, 1), SplitConfig(kind=SplitKind.group))
    (warning,) = split.warnings
    assert "0.5 of c0 in val instead of 0.2 (1 group of 3), 0.5 of c1 in val instead of 0.2" in warning
    assert make_split(walks(10, 10, 10, 10, 10), SplitConfig(kind=SplitKind.group)).warnings == ()
    (warning,) = make_split(walks(10, 10, 10), SplitConfig(kind=SplitKind.group, test=0.1)).warnings
    assert "0.33 of c0 in val instead of 0.2 (1 group of 3), 0.33 of c0 in test instead of 0.1" in warning
    assert "and 1 more like that" in warning


def test_auto_is_group_where_groups_are_known() -> None:
    assert make_split(regular(), SplitConfig()).kind == "group"
    split = make_split(regular(groups=None), SplitConfig())
    assert (split.kind, split.leaky) == ("random", None)
    assert "not known" in split.warnings[0]


def test_random_is_leaky_where_there_are_groups() -> None:
    split = make_split(regular(), SplitConfig(kind=SplitKind.random))
    assert split.leaky is True
    assert "leaky" in split.warnings[0]


def test_a_byte_equal_copy_leaves_train() -> None:
    catalog = regular(cities=2, groups=4)
    split = make_split(catalog, SplitConfig(kind=SplitKind.group))
    train, val = catalog.pictures[split.indices("train")[0]], catalog.pictures[split.indices("val")[0]]
    twin = Picture(train.name, val.digest, train.city, train.group)
    again = make_split(
        catalog_of(twin, *(p for p in catalog.pictures if p is not train)), SplitConfig(kind=SplitKind.group)
    )
    assert again.indices("gap").tolist() == [catalog.pictures.index(train)]
    assert f"(first: {train.name})" in again.warnings[0]


def test_blocks_of_a_video_with_a_gap() -> None:
    catalog = regular(cities=2, groups=1, frames=20, timed=True)
    split = make_split(catalog, SplitConfig(kind=SplitKind.time, val=0.2, test=0.1, gap=0.1))
    parts = {
        picture.time: part for picture, part in zip(catalog.pictures, split.parts, strict=True) if picture.city == "c0"
    }
    assert [parts[float(frame)] for frame in range(20)] == (
        ["train"] * 10 + ["gap"] * 2 + ["val"] * 4 + ["gap"] * 2 + ["test"] * 2
    )
    assert split.leaky is False
    assert "split=group is stricter" in split.warnings[0]


def test_without_times_the_natural_order_of_names_is_used() -> None:
    catalog = regular(cities=2, groups=1, frames=20)
    split = make_split(catalog, SplitConfig(kind=SplitKind.time, gap=0.0))
    val = {catalog.pictures[row].name for row in split.indices("val")}
    assert val == {f"c{city}/w0/f{frame}.png" for city in range(2) for frame in range(16, 20)}
    assert "order of their names" in split.warnings[1]


def test_times_without_groups_make_a_city_one_video() -> None:
    catalog = catalog_of(
        *(Picture(f"c{c}/{t}", f"{c}{t}", f"c{c}", None, float(t)) for c in range(2) for t in range(20))
    )
    split = make_split(catalog, SplitConfig(kind=SplitKind.time))
    assert {picture.time for picture, part in zip(catalog.pictures, split.parts, strict=True) if part == "val"} == {
        16.0,
        17.0,
        18.0,
        19.0,
    }


def parted(*parts: str, groups: bool = False) -> Catalog:
    return catalog_of(
        *(
            Picture(f"c{c}/{part}/{n}", f"{c}{part}{n}", f"c{c}", f"c{c}/{part}{n % 3}" if groups else None, None, part)
            for c in range(2)
            for part in parts
            for n in range(10)
        )
    )


def test_folders_of_a_split_that_the_data_have() -> None:
    catalog = parted("train", "val", "test")
    split = make_split(catalog, SplitConfig(kind=SplitKind.folder))
    assert split.parts == tuple(picture.part for picture in catalog.pictures)
    assert split.leaky is None
    assert split.warnings == ()
    assert make_split(parted("train", "val", groups=True), SplitConfig(kind=SplitKind.folder)).leaky is False


@pytest.mark.parametrize("groups", [False, True])
def test_without_a_folder_val_it_comes_from_train(groups: bool) -> None:
    catalog = parted("train", "test", groups=groups)
    split = make_split(catalog, SplitConfig(kind=SplitKind.folder))
    for picture, part in zip(catalog.pictures, split.parts, strict=True):
        assert (part == "test") == (picture.part == "test")
    assert len(split.indices("val")) == (6 if groups else 4)
    assert split.leaky is (False if groups else None)
    assert "20% of train became val" in split.warnings[0]


def test_folders_that_divide_a_walk_are_leaky() -> None:
    divided = [
        Picture(f"c{c}/{part}/x", f"{c}{part}", f"c{c}", f"c{c}/w", None, part)
        for c in "01"
        for part in ("train", "val")
    ]
    assert make_split(catalog_of(*divided), SplitConfig(kind=SplitKind.folder)).leaky is True


@pytest.mark.parametrize(
    ("catalog", "config", "sentence"),
    [
        (
            regular(groups=1),
            {"kind": SplitKind.group},
            "at least 2 groups .*c0 has 1; .*split=time .*split=random .marked leaky",
        ),
        (regular(groups=2), {"kind": SplitKind.group, "test": 0.1}, "at least 3 groups"),
        (regular(groups=None), {"kind": SplitKind.group}, r"unknown for 150 \(first: c0/w0/f0\.png\).*split=random"),
        (regular(groups=None), {"kind": SplitKind.time}, r"c0/w0/f0\.png has neither.*split=random"),
        (regular(groups=4, frames=1), {"kind": SplitKind.time}, "split=time leaves c0 without pictures in val"),
        (regular(groups=None), {"kind": SplitKind.folder}, r"c0/w0/f0\.png is not; move it, or use split=auto"),
        (parted("val", "test"), {"kind": SplitKind.folder}, "finds no folder train"),
        (
            catalog_of(Picture("a/x", "1", "a"), Picture("b/y", "2", "b")),
            {},
            "a has 1 different picture, .* at least 2",
        ),
        (
            catalog_of(*(Picture(f"{city}/{n}", "same", city) for city in "ab" for n in range(5))),
            {},
            "a has 1 different picture,",
        ),
        (
            catalog_of(
                *(Picture(f"{c}/{n}", f"{c}{n}", c, f"{c}/w", float(n) if n else None) for c in "ab" for n in range(5))
            ),
            {"kind": SplitKind.time},
            r"some pictures of a/w have a time and others none \(first: a/0\)",
        ),
    ],
)
def test_missing_groups_times_and_pictures_are_named(
    catalog: Catalog, config: dict[str, object], sentence: str
) -> None:
    with pytest.raises(CitycamError, match=sentence):
        make_split(catalog, SplitConfig(**config))  # type: ignore[arg-type]


def test_the_registry_has_every_kind() -> None:
    assert {*SPLITS, "auto"} == {kind.name for kind in SplitKind}
