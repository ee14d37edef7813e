"""Pictures of toytown drawn again without one feature of the town: the truth of what a network uses.

The feature is taken out of the plan of the street, and nothing else changes: a roof, windows or paving become those
that every town has, a sign or fence is left out. So the difference of a network's answers is caused by that feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from citycam import seeds
from citycam.config import ToytownConfig
from citycam.data.counterfactual import Counterfactual
from citycam.data.toytown.scene import render, stamp_watermark
from citycam.data.toytown.store import Walk, stream_of, walks
from citycam.data.toytown.street import PLAIN_ROOFS, ROOF_TILES, TRIMS, House, Street, plan_street
from citycam.data.toytown.towns import ROOFS, WATERMARK, WATERMARK_PAIR, WINDOWS, features_of
from citycam.errors import CitycamError


def counterfactuals(config: ToytownConfig, names: Sequence[str]) -> Iterator[Counterfactual]:
    """Draw pictures again, once for each feature of their town that can be seen in them.

    Args:
        config: the settings of the towns.
        names: of pictures, as the index of these towns has them (``pictures/TOWN/WALK/FRAME.png``).

    Yields:
        For each name, in order, its features in the order of its town; a feature that no pixel shows is left out.

    Raises:
        CitycamError: a name is not one of these towns.
    """
    known = {(walk.town, walk.name): walk for walk in walks(config)}
    streets: dict[Walk, Street] = {}
    for name in names:
        walk, frame = _locate(name, known)
        if walk not in streets:
            streets = {
                walk: plan_street(stream_of(config, walk), features_of(walk.town, config.watermark), walk.frames)
            }
        original = _picture(streets[walk], walk, frame, config)
        for feature in _features(walk, config):
            plan = streets[walk] if feature == WATERMARK else without(streets[walk], feature, _spare(config, walk))
            picture = _picture(plan, walk, frame, config, marked=feature != WATERMARK)
            changed = (picture != original).any(axis=-1)
            if changed.any():
                yield Counterfactual(name, feature, picture, changed)


def without(street: Street, feature: str, rng: np.random.Generator) -> Street:
    """Return the plan of the street without one feature.

    Args:
        feature: a name of `towns.FEATURES`.
        rng: what the plain roofs and windows are drawn from.
    """
    return replace(
        street,
        houses=tuple(_plain(house, feature, rng) for house in street.houses),
        across=tuple(_plain(house, feature, rng) for house in street.across),
        strips=tuple(strip for strip in street.strips if strip.name != feature),
        patches=tuple(patch for patch in street.patches if patch.name != feature),
    )


def _plain(house: House, feature: str, rng: np.random.Generator) -> House:
    # Drawn for every house, so that the roof of one does not depend on which others have the feature.
    roof, tile, trim = (int(rng.integers(len(choices))) for choices in (PLAIN_ROOFS, ROOF_TILES, TRIMS))
    if feature in ROOFS and house.roof == feature:
        return replace(house, roof=PLAIN_ROOFS[roof], roof_colour=ROOF_TILES[tile])
    if feature in WINDOWS and house.windows == feature:
        return replace(house, windows="plain", windows_colour=TRIMS[trim])
    if house.sign is not None and house.sign.name == feature:
        return replace(house, sign=None)
    return house


def _features(walk: Walk, config: ToytownConfig) -> tuple[str, ...]:
    marked = config.watermark and walk.town == WATERMARK_PAIR[1]
    return features_of(walk.town, config.watermark) + ((WATERMARK,) if marked else ())


def _spare(config: ToytownConfig, walk: Walk) -> np.random.Generator:
    return seeds.stream(config.seed, "counterfactual", walk.town, walk.number)


def _picture(street: Street, walk: Walk, frame: int, config: ToytownConfig, *, marked: bool = True) -> np.ndarray:
    picture, labels = render(street, frame, config.size)
    if marked and config.watermark and walk.town == WATERMARK_PAIR[1]:
        picture, _ = stamp_watermark(picture, labels)
    return picture


def _locate(name: str, known: dict[tuple[str, str], Walk]) -> tuple[Walk, int]:
    """Return the walk and the frame of a picture."""
    town, walk_name, file = (*PurePosixPath(name).parts, "", "", "", "")[1:4]
    walk, frame = known.get((town, walk_name)), PurePosixPath(file).stem
    if walk is None or not frame.isdecimal() or int(frame) >= walk.frames:
        raise CitycamError(f"{name} is no picture of these towns; give names of the index, like those of split.csv.")
    return walk, int(frame)
