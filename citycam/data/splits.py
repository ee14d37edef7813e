"""The split of pictures into train, val and test, and whether it leaks."""

from __future__ import annotations

import math
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
    """The part of every picture.

    Attributes:
        kind: of the split, never ``auto``.
        leaky: whether frames of one walk lie in several parts; None if that is not known.
        parts: train, val, test or gap (in none of them) for each picture, in the order of the catalog.
        warnings: sentences for people.
    """

    kind: str
    leaky: bool | None
    parts: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def indices(self, part: str) -> np.ndarray:
        """Return the rows of the catalog in ``part``, ascending, int64."""
        return np.flatnonzero(np.array(self.parts) == part).astype(np.int64)


@dataclass
class _Draft:
    """An unfinished split: the part of each picture by name."""

    leaky: bool | None
    parts: dict[str, str]
    warnings: list[str]


def make_split(catalog: Catalog, config: SplitConfig) -> Split:
    """Split the pictures. Every city has pictures in train and val, and in test if its share is not 0.

    Byte-equal pictures never lie in different parts: only the last of train, val and test that holds a copy keeps its
    copies, with a warning. Equal catalogs give equal splits, in any order of their rows. The split of a city does not
    depend on the other cities.

    Raises:
        CitycamError: there are too few groups, times or pictures; the sentence names a weaker split that is possible.
    """
    kind = config.kind.name
    if config.kind is SplitKind.auto:
        kind = SplitKind.group.name if catalog.groups_known else SplitKind.random.name
    draft = SPLITS[kind](catalog, config)
    if kind != SplitKind.folder.name and any(picture.part is not None for picture in catalog.pictures):
        named = ", ".join(sorted({str(picture.part) for picture in catalog.pictures}))
        draft.warnings.append(
            f"The split that the data bring along ({named}) is not used: split={kind} deals all pictures anew; "
            "split=folder keeps it."
        )
    _part_twins(catalog, draft)
    _require_every_city(catalog, kind, draft.parts, config)
    parts = tuple(draft.parts[picture.name] for picture in catalog.pictures)
    return Split(kind, draft.leaky, parts, tuple(draft.warnings))


def by_group(catalog: Catalog, config: SplitConfig) -> _Draft:
    """Put whole groups into one part, as close to the shares in every city as the sizes of its groups allow."""
    _require_groups(catalog, "group")
    parts: dict[str, str] = {}
    far: list[str] = []
    for city, pictures in _by_city(catalog.pictures).items():
        units = _units(pictures, lambda picture: str(picture.group))
        if len(units) < _n_parts(config):
            raise CitycamError(
                f"split=group needs at least {_n_parts(config)} groups (walks, videos) in every city, and {city} has "
                f"{len(units)}; name more with data.group or data.table, or use a weaker split: split=time (blocks of "
                "each video) or split=random (marked leaky)."
            )
        dealt = _deal(units, config, "group", city)
        far += _far_shares(units, dealt, config, city)
        parts |= dealt
    return _Draft(False, parts, _say_far("group", far))


def by_time(catalog: Catalog, config: SplitConfig) -> _Draft:
    """Cut every video into blocks: train, then val, then test, with a gap between them that belongs to no part."""
    parts: dict[str, str] = {}
    unnamed = False
    for city, pictures in _by_city(catalog.pictures).items():
        for group, video in _units(pictures, lambda picture: picture.group or "").items():
            timed = [picture.time is not None for picture in video]
            if any(timed) and not all(timed):
                raise CitycamError(
                    f"split=time: some pictures of {group or city} have a time and others none (first: "
                    f"{video[timed.index(False)].name}); fill in the column time of data.table, or use split=random."
                )
            if not all(timed) and not group:
                raise CitycamError(
                    f"split=time needs the video or the time of every picture, and {video[0].name} has neither; name "
                    "them with data.group or data.table, or use a weaker split: split=random."
                )
            unnamed |= not all(timed)
            parts |= _blocks(
                sorted(video, key=lambda picture: (picture.time or 0.0, natural(picture.name), picture.name)), config
            )
    warnings = ["split=time: train and val hold different moments of the same videos; split=group is stricter."]
    if unnamed:
        warnings.append("split=time: pictures have no times, so the order of their names is used instead.")
    return _Draft(False, parts, warnings)


def by_random(catalog: Catalog, config: SplitConfig) -> _Draft:
    """Split single pictures (byte-equal ones together), stratified by city."""
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
        warning = "split=random puts frames of one walk into both train and val: its accuracy is too high (leaky)."
        return _Draft(True, parts, [warning])
    warning = (
        "split=random: whether frames of one walk lie in both train and val is not known; name walks with data.group "
        "or data.table for an honest split."
    )
    return _Draft(None, parts, [warning])


def by_folder(catalog: Catalog, config: SplitConfig) -> _Draft:
    """Use the sub-folders train, val and test of the data; without a folder val, val is taken from train."""
    without = next((picture for picture in catalog.pictures if picture.part is None), None)
    if without is not None:
        raise CitycamError(
            f"split=folder needs every picture below a folder train, val or test, and {without.name} is not; move it, "
            "or use split=auto."
        )
    parts = {picture.name: str(picture.part) for picture in catalog.pictures}
    warnings = []
    if "train" not in parts.values():
        raise CitycamError(f"split=folder finds no folder train in {catalog.root}; add one, or use split=auto.")
    if "val" not in parts.values():
        training = [picture for picture in catalog.pictures if picture.part == "train"]
        dealt, far = _val_from_train(training, config)
        parts |= dealt
        warnings.append(
            f"split=folder: the data have no folder val, so {config.val:.0%} of train became val; test, if there is "
            "one, stays as it is."
        )
        warnings += _say_far("folder", far)
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
    """Assign whole units to parts, in the shares of ``config``; at least one unit to each part."""
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
    """Return the positions whose sizes add up as closely to ``target`` as whole units allow, earlier ones first.

    At least one position is chosen, and at least ``leave`` are not. Close is a small difference. Where that gives less
    than half of ``target`` or more than twice of it, close is a small ratio of what is chosen to what is not: of units
    of 1, 100 and 100 pictures, 100 are closer to 40 than 1 is.
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
    # reachable[i]: bit s is set if some of the first i units add up to s. Sums beyond the nearest one above the target
    # are not needed.
    most = (1 << (target + max(sizes) + 1)) - 1
    reachable = [1]
    for size in sizes:
        reachable.append((reachable[-1] | reachable[-1] << size) & most)
    sums = [total for total in range(1, most.bit_length()) if reachable[-1] >> total & 1]
    total = min(sums, key=lambda total: (abs(total - target), total))
    everything = sum(sizes)
    inside = [total for total in sums if total < everything]
    if inside and target < everything and not target <= 2 * total <= 4 * target:
        odds = target / (everything - target)
        total = min(inside, key=lambda total: (abs(math.log(total / (everything - total) / odds)), total))
    taken = set()
    for index in range(len(sizes) - 1, -1, -1):
        if not reachable[index] >> total & 1:
            taken.add(index)
            total -= sizes[index]
    return taken


def _far_shares(
    units: Mapping[str, Sequence[Picture]], parts: Mapping[str, str], config: SplitConfig, city: str
) -> list[str]:
    """Return in words each part of a city whose share is below half or above one and a half of what was asked for."""
    total = sum(map(len, units.values()))
    far = []
    for part, wanted in (("val", config.val), ("test", config.test)):
        inside = [len(pictures) for pictures in units.values() if parts[pictures[0].name] == part]
        share = sum(inside) / total
        if wanted > 0 and not 0.5 * wanted <= share <= 1.5 * wanted:
            walks = f"{counted(len(inside), 'group')} of {len(units)}"
            far.append(f"{share:.2g} of {city} in {part} instead of {wanted:.2g} ({walks})")
    return far


def _say_far(kind: str, far: Sequence[str]) -> list[str]:
    if not far:
        return []
    more = f", and {len(far) - 3} more like that" if len(far) > 3 else ""
    return [
        f"split={kind} puts whole groups into one part, and few or unequal groups leave a share of "
        f"{', '.join(far[:3])}{more}; name smaller groups with data.group or data.table for closer shares."
    ]


def _blocks(video: Sequence[Picture], config: SplitConfig) -> dict[str, str]:
    """Return the parts of a video, in its order. A video too short for a picture in each part is all train."""
    count = len(video)
    gap = max(1, round(config.gap * count)) if config.gap > 0 else 0
    val = max(1, round(config.val * count))
    test = max(1, round(config.test * count)) if config.test > 0 else 0
    blocks = ["gap"] * gap + ["val"] * val + (["gap"] * gap + ["test"] * test if test else [])
    train = count - len(blocks)
    if train < 1:
        blocks, train = [], count
    return {picture.name: part for picture, part in zip(video, ["train"] * train + blocks, strict=True)}


def _val_from_train(training: Sequence[Picture], config: SplitConfig) -> tuple[dict[str, str], list[str]]:
    """Return the new parts of training pictures, and in words the shares that are far from what was asked for."""
    plain = SplitConfig(kind=config.kind, seed=config.seed, val=config.val, test=0.0)
    grouped = all(picture.group is not None for picture in training)
    parts: dict[str, str] = {}
    far: list[str] = []
    for city, pictures in _by_city(training).items():
        units = _units(pictures, lambda picture: str(picture.group) if grouped else picture.digest)
        if len(units) < 2:
            raise CitycamError(
                f"split=folder takes val from train if there is no folder val, and {city} has only "
                f"{counted(len(units), 'group' if grouped else 'different picture')} in train; "
                "add a folder val, or use split=auto."
            )
        dealt = _deal(units, plain, "folder", city)
        far += _far_shares(units, dealt, plain, city) if grouped else []
        parts |= dealt
    return parts, far


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
    """Move copies of pictures that also lie in a later part to the gap, so that no two parts share a picture."""
    sides = _sides(catalog.pictures, draft.parts, lambda picture: picture.digest)
    out = [
        picture.name
        for picture in catalog.pictures
        if (part := draft.parts[picture.name]) != "gap" and part != max(sides[picture.digest], key=PARTS.index)
    ]
    draft.parts.update(dict.fromkeys(out, "gap"))
    if out:
        draft.warnings.append(
            f"Left out of train (or val): {counted(len(out), 'picture')} with a byte-equal copy in val or test "
            f"(first: {min(out)})."
        )


def _require_groups(catalog: Catalog, kind: str) -> None:
    without = [picture.name for picture in catalog.pictures if picture.group is None]
    if without:
        raise CitycamError(
            f"split={kind} needs the group (walk, video) of every picture, unknown for {len(without)} (first: "
            f"{min(without)}); name them with data.group or data.table, or use a weaker split: split=random."
        )


def _require_every_city(catalog: Catalog, kind: str, parts: Mapping[str, str], config: SplitConfig) -> None:
    for city, pictures in _by_city(catalog.pictures).items():
        here = {parts[picture.name] for picture in pictures}
        wanted = ("train", "val", "test") if config.test > 0 and kind != "folder" else ("train", "val")
        for part in wanted:
            if part not in here:
                weaker = "add pictures" if kind == "random" else "add pictures, or use a weaker split: split=random"
                raise CitycamError(f"split={kind} leaves {city} without pictures in {part}; {weaker}.")
