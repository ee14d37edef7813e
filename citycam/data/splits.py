"""Which pictures train, validate and test: honest splits, and how honest each one is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from citycam import seeds
from citycam.config import SplitConfig, SplitKind
from citycam.data.catalog import Catalog, Picture
from citycam.errors import CitycamError
from citycam.words import counted, natural

PARTS = ("train", "val", "test", "gap")


@dataclass(frozen=True)
class Split:
    """``parts``: train, val, test or gap (in none of them) for each picture, in the catalog's order. ``leaky``: whether
    frames of one walk lie on both sides; None where that is not known."""

    kind: str
    leaky: bool | None
    parts: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def indices(self, part: str) -> np.ndarray:
        """Rows of the catalog in ``part``, ascending, int64."""
        return np.flatnonzero(np.array(self.parts) == part).astype(np.int64)


@dataclass
class _Draft:
    """A split in the making: the part of each picture by name."""

    leaky: bool | None
    parts: dict[str, str]
    warnings: list[str]


def make_split(catalog: Catalog, config: SplitConfig) -> Split:
    """Deal the pictures. Every city has pictures in train and val (and test, where its share is not 0).

    Byte-equal pictures never lie in different parts: where they would, only the part that comes last of train, val and
    test keeps its copies, with a warning. Equal catalogs give equal splits, whatever the order of their rows; how a
    city is dealt does not depend on the other cities.

    Raises:
        CitycamError: groups, times or pictures do not suffice; the sentence says which weaker split would do.
    """
    kind = config.kind.name
    if config.kind is SplitKind.auto:
        kind = SplitKind.group.name if catalog.groups_known else SplitKind.random.name
    draft = SPLITS[kind](catalog, config)
    _part_twins(catalog, draft)
    _require_every_city(catalog, kind, draft.parts, config)
    parts = tuple(draft.parts[picture.name] for picture in catalog.pictures)
    return Split(kind, draft.leaky, parts, tuple(draft.warnings))


def by_group(catalog: Catalog, config: SplitConfig) -> _Draft:
    """Whole groups on one side, the shares of every city met as closely as the sizes of its groups allow."""
    _require_groups(catalog, "group")
    parts: dict[str, str] = {}
    for city, pictures in _by_city(catalog.pictures).items():
        units = _units(pictures, lambda picture: str(picture.group))
        if len(units) < _n_parts(config):
            raise CitycamError(
                f"split=group needs at least {_n_parts(config)} groups (walks, videos) in every city, and {city} has "
                f"{len(units)}; name more with data.group or data.table, or take a weaker split: split=time (blocks of "
                "each video) or split=random (marked leaky)."
            )
        parts |= _deal(units, config, "group", city)
    return _Draft(False, parts, [])


def by_time(catalog: Catalog, config: SplitConfig) -> _Draft:
    """Blocks of every video: train first, then val, then test, with a gap between that belongs to none of them."""
    parts: dict[str, str] = {}
    unnamed = False
    for city, pictures in _by_city(catalog.pictures).items():
        for group, video in _units(pictures, lambda picture: picture.group or "").items():
            timed = [picture.time is not None for picture in video]
            if any(timed) and not all(timed):
                raise CitycamError(
                    f"split=time: some pictures of {group or city} have a time and others none (first: "
                    f"{video[timed.index(False)].name}); fill in the column time of data.table, or take split=random."
                )
            if not all(timed) and not group:
                raise CitycamError(
                    f"split=time needs to know the videos or the times of pictures, and {video[0].name} has neither; "
                    "name them with data.group or data.table, or take a weaker split: split=random."
                )
            unnamed |= not all(timed)
            parts |= _blocks(
                sorted(video, key=lambda picture: (picture.time or 0.0, natural(picture.name), picture.name)), config
            )
    warnings = ["split=time: train and val hold different moments of the same videos; split=group is stricter."]
    if unnamed:
        warnings.append("split=time: pictures have no times, so the order of their names stands for it.")
    return _Draft(False, parts, warnings)


def by_random(catalog: Catalog, config: SplitConfig) -> _Draft:
    """Pictures one by one (byte-equal ones together), stratified by city."""
    parts: dict[str, str] = {}
    for city, pictures in _by_city(catalog.pictures).items():
        units = _units(pictures, lambda picture: picture.digest)
        if len(units) < _n_parts(config):
            raise CitycamError(
                f"{city} has {counted(len(units), 'different picture')}, and a split needs "
                f"at least {_n_parts(config)} of every city; add some, or move that folder away."
            )
        parts |= _deal(units, config, "random", city)
    if any(picture.group is not None for picture in catalog.pictures):
        warning = "split=random puts frames of one walk into both train and val: its accuracy flatters (leaky)."
        return _Draft(True, parts, [warning])
    warning = (
        "split=random: whether frames of one walk lie in both train and val is not known; name walks with data.group "
        "or data.table for an honest split."
    )
    return _Draft(None, parts, [warning])


def by_folder(catalog: Catalog, config: SplitConfig) -> _Draft:
    """The sub-folders train, val and test that data bring along; without val, val is taken from train."""
    without = next((picture for picture in catalog.pictures if picture.part is None), None)
    if without is not None:
        raise CitycamError(
            f"split=folder needs every picture below a folder train, val or test, and {without.name} is not; move it, "
            "or take split=auto."
        )
    parts = {picture.name: str(picture.part) for picture in catalog.pictures}
    warnings = []
    if "train" not in parts.values():
        raise CitycamError(f"split=folder finds no folder train in {catalog.root}; add one, or take split=auto.")
    if "val" not in parts.values():
        training = [picture for picture in catalog.pictures if picture.part == "train"]
        parts |= _val_from_train(training, config)
        warnings.append(
            f"split=folder: the data bring no folder val, so {config.val:.0%} of train became val and train shrank; "
            "test, if there, stays as it is."
        )
    return _Draft(_straddles(catalog, parts), parts, warnings)


SPLITS: dict[str, Callable[[Catalog, SplitConfig], _Draft]] = {
    "group": by_group,
    "time": by_time,
    "random": by_random,
    "folder": by_folder,
}


def _by_city(pictures: Iterable[Picture]) -> dict[str, list[Picture]]:
    return _units(pictures, lambda picture: picture.city)


def _units(pictures: Iterable[Picture], key: Callable[[Picture], str]) -> dict[str, list[Picture]]:
    units: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        units[key(picture)].append(picture)
    return dict(sorted(units.items()))


def _n_parts(config: SplitConfig) -> int:
    return 3 if config.test > 0 else 2


def _deal(units: Mapping[str, Sequence[Picture]], config: SplitConfig, kind: str, city: str) -> dict[str, str]:
    """Whole units to parts, in the shares of ``config``; at least one unit to each part."""
    keys = list(units)
    order = [keys[index] for index in seeds.stream(config.seed, "split", kind, city).permutation(len(keys))]
    total = sum(map(len, units.values()))
    parts: dict[str, str] = {}
    wanted = [("test", config.test)] if config.test > 0 else []
    wanted.append(("val", config.val))
    for position, (part, share) in enumerate(wanted):
        target = max(1, round(share * total))
        taken = choose([len(units[key]) for key in order], target, leave=len(wanted) - position)
        parts |= {picture.name: part for index in taken for picture in units[order[index]]}
        order = [key for index, key in enumerate(order) if index not in taken]
    return parts | {picture.name: "train" for key in order for picture in units[key]}


def choose(sizes: Sequence[int], target: int, leave: int) -> set[int]:
    """Positions whose sizes add up as closely to ``target`` as whole units allow, the earlier ones first.

    At least one is chosen and at least ``leave`` are not.
    """
    taken, total = set[int](), 0
    for index, size in enumerate(sizes):
        if total + size <= target:
            taken.add(index)
            total += size
    if total != target or not taken:
        taken = _closest_sum(sizes, target)
    while len(sizes) - len(taken) < leave:
        taken.remove(min(taken, key=lambda index: (sizes[index], index)))
    return taken


def _closest_sum(sizes: Sequence[int], target: int) -> set[int]:
    # reachable[i]: bit s is set where some of the first i units add up to s. Sums beyond the nearest one above the
    # target are of no use.
    most = (1 << (target + max(sizes) + 1)) - 1
    reachable = [1]
    for size in sizes:
        reachable.append((reachable[-1] | reachable[-1] << size) & most)
    sums = (total for total in range(1, most.bit_length()) if reachable[-1] >> total & 1)
    total = min(sums, key=lambda total: (abs(total - target), total))
    taken = set()
    for index in range(len(sizes) - 1, -1, -1):
        if not reachable[index] >> total & 1:
            taken.add(index)
            total -= sizes[index]
    return taken


def _blocks(video: Sequence[Picture], config: SplitConfig) -> dict[str, str]:
    """Parts of one video in its order. One too short for a picture in each part trains as a whole."""
    count = len(video)
    gap = max(1, round(config.gap * count)) if config.gap > 0 else 0
    val = max(1, round(config.val * count))
    test = max(1, round(config.test * count)) if config.test > 0 else 0
    blocks = ["gap"] * gap + ["val"] * val + (["gap"] * gap + ["test"] * test if test else [])
    train = count - len(blocks)
    if train < 1:
        blocks, train = [], count
    return {picture.name: part for picture, part in zip(video, ["train"] * train + blocks, strict=True)}


def _val_from_train(training: Sequence[Picture], config: SplitConfig) -> dict[str, str]:
    plain = SplitConfig(kind=config.kind, seed=config.seed, val=config.val, test=0.0)
    grouped = all(picture.group is not None for picture in training)
    parts: dict[str, str] = {}
    for city, pictures in _by_city(training).items():
        units = _units(pictures, lambda picture: str(picture.group) if grouped else picture.digest)
        if len(units) < 2:
            raise CitycamError(
                f"split=folder takes val from train where there is no folder val, and {city} has only "
                f"{counted(len(units), 'group' if grouped else 'different picture')} in train; "
                "add a folder val, or take split=auto."
            )
        parts |= _deal(units, plain, "folder", city)
    return parts


def _straddles(catalog: Catalog, parts: Mapping[str, str]) -> bool | None:
    if not catalog.groups_known:
        return None
    return any(len(sides) > 1 for sides in _sides(catalog.pictures, parts, lambda picture: picture.group).values())


def _sides(
    pictures: Iterable[Picture], parts: Mapping[str, str], key: Callable[[Picture], Hashable]
) -> dict[Hashable, set[str]]:
    sides: dict[Hashable, set[str]] = defaultdict(set)
    for picture in pictures:
        if parts[picture.name] != "gap":
            sides[key(picture)].add(parts[picture.name])
    return sides


def _part_twins(catalog: Catalog, draft: _Draft) -> None:
    """Leave out copies of pictures that lie in a higher part too, so that no part knows another one's pictures."""
    sides = _sides(catalog.pictures, draft.parts, lambda picture: picture.digest)
    out = [
        picture.name
        for picture in catalog.pictures
        if (part := draft.parts[picture.name]) != "gap" and part != max(sides[picture.digest], key=PARTS.index)
    ]
    draft.parts.update(dict.fromkeys(out, "gap"))
    if out:
        draft.warnings.append(
            f"Left out of train (or val): {counted(len(out), 'picture')} with a byte-equal copy on the other side "
            f"(first: {min(out)})."
        )


def _require_groups(catalog: Catalog, kind: str) -> None:
    without = [picture.name for picture in catalog.pictures if picture.group is None]
    if without:
        raise CitycamError(
            f"split={kind} needs the group (walk, video) of every picture, unknown for {len(without)} (first: "
            f"{min(without)}); name them with data.group or data.table, or take a weaker split: split=random."
        )


def _require_every_city(catalog: Catalog, kind: str, parts: Mapping[str, str], config: SplitConfig) -> None:
    for city, pictures in _by_city(catalog.pictures).items():
        here = {parts[picture.name] for picture in pictures}
        wanted = ("train", "val", "test") if config.test > 0 and kind != "folder" else ("train", "val")
        for part in wanted:
            if part not in here:
                weaker = "add pictures" if kind == "random" else "add pictures, or take a weaker split: split=random"
                raise CitycamError(f"split={kind} leaves {city} without pictures in {part}; {weaker}.")
