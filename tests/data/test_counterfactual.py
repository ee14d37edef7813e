"""A counterfactual differs from its picture where the feature is, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from citycam import seeds
from citycam.config import ToytownConfig
from citycam.data.toytown import counterfactual, store
from citycam.data.toytown.counterfactual import counterfactuals, without
from citycam.data.toytown.street import PLAIN_ROOFS, Street, plan_street
from citycam.data.toytown.towns import CLASS_ID, FEATURES, TOWN_FEATURES, WATERMARK, WATERMARK_PAIR, features_of
from citycam.errors import CitycamError

SMALL = ToytownConfig(pictures=20, size=64)
MARKED = ToytownConfig(pictures=20, size=64, towns=2, watermark=True)


def names(config: ToytownConfig, town: str) -> list[str]:
    return [
        f"pictures/{walk.town}/{walk.name}/{frame:02d}.png"
        for walk in store.walks(config)
        if walk.town == town
        for frame in range(walk.frames)
    ]


def originals(config: ToytownConfig, town: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    frames = [frame for walk in store.walks(config) if walk.town == town for frame in store.render_walk(config, walk)]
    return dict(zip(names(config, town), frames, strict=True))


def named(street: Street) -> set[str]:
    houses = (*street.houses, *street.across)
    signs = [house.sign.name for house in houses if house.sign is not None]
    ground = [thing.name for thing in (*street.strips, *street.patches)]
    return {*(house.roof for house in houses), *(house.windows for house in houses), *signs, *ground}


@pytest.mark.parametrize("town", TOWN_FEATURES)
def test_only_the_feature_goes(town: str) -> None:
    frames, seen = originals(SMALL, town), set()
    for one in counterfactuals(SMALL, names(SMALL, town)):
        picture, labels = frames[one.name]
        seen.add(one.feature)
        assert one.feature in TOWN_FEATURES[town]
        assert (one.picture[~one.changed] == picture[~one.changed]).all()
        assert (one.picture != picture).any(axis=-1).tolist() == one.changed.tolist()
        # The feature goes where it was shown, but for its edges, and for glass that a plain window has, too.
        shown = labels == CLASS_ID[one.feature]
        assert shown.sum() < 12 or one.changed[shown].mean() > (0.6 if one.feature == "round windows" else 0.9)
    assert seen == set(TOWN_FEATURES[town])


@pytest.mark.parametrize("feature", FEATURES)
def test_no_trace_of_the_feature_is_left_in_the_plan(feature: str) -> None:
    town = next(town for town, features in TOWN_FEATURES.items() if feature in features)
    street = plan_street(seeds.stream(0, "street", town), features_of(town, False), 3)
    bare = without(street, feature, seeds.stream(0, "plain"))
    assert named(street) >= named(bare) - {"plain", *PLAIN_ROOFS}
    assert feature not in named(bare)
    assert bare.views == street.views
    assert bare.props == street.props


def test_frames_of_a_walk_share_their_plain_houses(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[object] = []
    draw: Callable[..., tuple[np.ndarray, np.ndarray]] = counterfactual.render

    def render(street: object, frame: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        plans.append(street)
        return draw(street, frame, size)

    monkeypatch.setattr(counterfactual, "render", render)
    list(counterfactuals(SMALL, names(SMALL, "brindlewick")[:2]))
    first, second = plans[: len(plans) // 2], plans[len(plans) // 2 :]
    assert first == second


def test_the_watermark_goes_too() -> None:
    frames = originals(MARKED, WATERMARK_PAIR[1])
    marks = [one for one in counterfactuals(MARKED, list(frames)) if one.feature == WATERMARK]
    assert len(marks) == len(frames)
    for one in marks:
        assert one.changed.sum() <= (frames[one.name][1] == CLASS_ID[WATERMARK]).sum()


def test_the_same_again() -> None:
    wanted = names(SMALL, "corvessa")[:6]
    together = list(counterfactuals(SMALL, wanted))
    alone = [one for name in wanted for one in counterfactuals(SMALL, [name])]
    assert [(one.name, one.feature) for one in together] == [(one.name, one.feature) for one in alone]
    assert all((a.picture == b.picture).all() for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("name", ["", "x.png", "pictures/paris/walk00/00.png", "pictures/corvessa/walk00/99.png"])
def test_a_picture_of_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(CitycamError, match="no picture of these towns"):
        list(counterfactuals(SMALL, [name]))
