"""The plan of a street: houses, what stands in front of them, hour and weather, and a camera's walk along it.

All random numbers of a walk are drawn here, from one stream; painting a frame draws none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from citycam.data.toytown.canvas import Colour, Light, View, mix, scale
from citycam.data.toytown.towns import FENCES, PAVINGS, ROOFS, SIGNS, WINDOWS

T = TypeVar("T")
PLAIN_ROOFS = ("pitched", "hip", "flat", "front gable")
WALLS: tuple[Colour, ...] = (
    (226, 208, 182), (206, 172, 150), (176, 128, 112), (232, 220, 202), (164, 172, 174), (214, 190, 156),
    (194, 202, 184), (184, 194, 208), (218, 188, 182), (240, 232, 216), (156, 134, 118), (202, 206, 198),
)  # fmt: skip
TRIMS: tuple[Colour, ...] = (
    (88, 78, 72), (112, 96, 84), (72, 80, 88), (226, 220, 208), (96, 104, 100), (130, 112, 96), (64, 62, 66),
)  # fmt: skip
ROOF_TILES: tuple[Colour, ...] = ((140, 92, 80), (108, 90, 84), (96, 100, 110), (156, 112, 92), (92, 102, 100))
PAINTS: tuple[Colour, ...] = (
    (216, 214, 208), (150, 152, 156), (84, 88, 94), (60, 72, 92), (110, 70, 66), (196, 184, 160), (96, 108, 96),
)  # fmt: skip
_RED, _ORANGE, _YELLOW, _GREEN = (206, 48, 46), (236, 124, 36), (244, 192, 44), (36, 142, 78)
_TEAL, _BLUE, _VIOLET, _PINK = (28, 156, 164), (40, 88, 188), (128, 62, 168), (226, 88, 144)
# Two paints for each form. Several forms share a paint, so that only form and paint together tell what a thing is.
ACCENTS: dict[str, tuple[Colour, Colour]] = {
    "stepped gable": (_RED, _PINK),
    "onion dome": (_YELLOW, _TEAL),
    "sawtooth roof": (_BLUE, _GREEN),
    "battlements": (_VIOLET, _ORANGE),
    "round windows": (_YELLOW, _RED),
    "shuttered windows": (_GREEN, _VIOLET),
    "disc sign": (_TEAL, _BLUE),
    "banner": (_ORANGE, _PINK),
    "striped awning": (_RED, _BLUE),
    "picket fence": ((250, 248, 242), _YELLOW),
    "crossed fence": (_RED, _TEAL),
    "checkered paving": (_BLUE, _RED),
    "wave paving": (_TEAL, _VIOLET),
    "dotted paving": (_ORANGE, _GREEN),
}
# name: zenith, horizon, sun, haze, density, lit, cloud, cloud colour, disc
LIGHTS: dict[str, Light] = {
    "morning": Light((108, 164, 214), (250, 226, 196), (1.02, 0.97, 0.9), (236, 222, 208), 0.005, 0.06, 0.35,
                     (255, 244, 232), (255, 244, 206)),
    "noon": Light((74, 142, 216), (196, 226, 242), (1.06, 1.05, 1.02), (206, 224, 236), 0.003, 0.0, 0.3,
                  (255, 255, 255), None),
    "fair": Light((92, 158, 220), (216, 234, 240), (1.02, 1.01, 1.0), (212, 226, 234), 0.004, 0.0, 0.75,
                  (252, 252, 252), None),
    "overcast": Light((158, 170, 182), (208, 212, 214), (0.86, 0.88, 0.92), (196, 202, 208), 0.01, 0.12, 0.9,
                      (224, 228, 232), None),
    "mist": Light((194, 202, 206), (224, 226, 224), (0.84, 0.86, 0.87), (216, 220, 220), 0.018, 0.2, 0.2,
                  (236, 238, 238), None),
    "golden": Light((112, 132, 188), (255, 196, 118), (1.06, 0.92, 0.76), (246, 200, 150), 0.007, 0.18, 0.45,
                    (255, 212, 162), (255, 226, 150)),
    "dusk": Light((58, 62, 118), (240, 142, 112), (0.8, 0.7, 0.76), (176, 130, 140), 0.008, 0.5, 0.4,
                  (226, 142, 138), (255, 178, 120)),
    "evening": Light((26, 34, 74), (92, 92, 140), (0.6, 0.62, 0.76), (82, 86, 124), 0.008, 0.75, 0.25,
                     (76, 80, 122), (244, 240, 214)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign or board on a facade, its middle at (``u``, ``v``)."""

    name: str
    u: float
    v: float
    size: float
    first: Colour
    second: Colour


@dataclass(frozen=True, slots=True)
class House:
    """A house from ``u0`` to ``u1`` metres; ``lit`` has an entry for each window, row by row from the ground."""

    u0: float
    u1: float
    floors: int
    floor_height: float
    columns: int
    wall: Colour
    trim: Colour
    roof: str
    roof_colour: Colour
    windows: str
    windows_colour: Colour
    door: int
    shop: bool
    chimney: float
    lit: tuple[bool, ...]
    sign: Sign | None

    @property
    def eaves(self) -> float:
        """The height of the wall."""
        return self.floors * self.floor_height + 0.35


@dataclass(frozen=True, slots=True)
class Strip:
    """A fence or a hedge from ``u0`` to ``u1``."""

    name: str
    u0: float
    u1: float
    height: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch of paving with its corner at (``x``, ``z``)."""

    name: str
    x: float
    z: float
    width: float
    length: float
    first: Colour
    second: Colour


@dataclass(frozen=True, slots=True)
class Prop:
    """A tree, lamp, car or person at (``x``, ``z``) that moves ``speed`` metres per second."""

    name: str
    form: int
    x: float
    z: float
    size: float
    speed: float
    first: Colour
    second: Colour


@dataclass(frozen=True, slots=True)
class Street:
    """The street of a walk, and a camera per frame. ``far``: depth of the facades; ``near``: that of the row behind the
    camera (negative)."""

    light: Light
    snow: bool
    far: float
    near: float
    houses: tuple[House, ...]
    across: tuple[House, ...]
    strips: tuple[Strip, ...]
    patches: tuple[Patch, ...]
    props: tuple[Prop, ...]
    ground: tuple[Colour, Colour, Colour]
    clouds: tuple[tuple[float, float, float], ...]
    hills: tuple[float, ...]
    stars: tuple[tuple[float, float], ...]
    views: tuple[View, ...]


def plan_street(rng: np.random.Generator, features: Sequence[str], frames: int) -> Street:
    """Plan a street of a town with these ``features``, seen by a camera in ``frames`` steps of a second."""
    views, far = _walk(rng, frames)
    kept = [name for name in features if rng.random() > 0.03]
    light = LIGHTS[_pick(rng, tuple(LIGHTS))]
    reach = max(26.0, far * 2.6)
    houses = _row(rng, kept, light, -reach, reach + views[-1].x)
    across = _row(rng, kept, light, -reach, reach + views[-1].x)
    stone = mix((178, 172, 164), (206, 190, 168), float(rng.random()))
    return Street(
        light=light,
        snow=bool(rng.random() < 0.08 and light.lit < 0.6),
        far=far,
        near=-float(rng.uniform(3.5, 6.0)),
        houses=houses,
        across=across,
        strips=_strips(rng, [name for name in kept if name in FENCES], reach),
        patches=_patches(rng, [name for name in kept if name in PAVINGS], reach, far),
        props=_props(rng, reach, far),
        ground=(stone, scale(stone, 0.82), mix((92, 92, 98), (116, 108, 102), float(rng.random()))),
        clouds=tuple(tuple(rng.uniform((-0.1, 0.02, 0.06), (1.1, 0.45, 0.16))) for _ in range(round(9 * light.cloud))),
        hills=tuple(rng.uniform(0.0, 1.0, 8)),
        stars=tuple(tuple(rng.uniform((0.0, 0.0), (1.0, 0.5))) for _ in range(22)),
        views=views,
    )


def _walk(rng: np.random.Generator, frames: int) -> tuple[tuple[View, ...], float]:
    """Draw the cameras of a walk and the depth of the facades."""
    across, focal = rng.uniform(8.5, 14.0), rng.uniform(0.75, 1.4)
    far = float(max(7.0, across * focal))
    height, foot = rng.uniform(1.8, 5.5), rng.uniform(0.68, 0.9)
    kind = rng.random()
    turn = rng.uniform(0.0, 0.22) if kind < 0.45 else rng.uniform(0.3, 0.68) if kind < 0.9 else rng.uniform(0.85, 1.1)
    yaw = float(turn * rng.choice([-1.0, 1.0]))
    # A turned camera sees the facades from farther away, so it stands nearer and things keep their size.
    far *= max(0.5, float(np.cos(yaw)) ** 1.5)
    horizon = foot - focal * height / (far / max(0.6, float(np.cos(yaw))))
    step, drift = rng.uniform(0.7, 1.3), rng.uniform(-0.012, 0.012)
    sway = rng.normal(0.0, 1.0, (frames, 3)) * (0.008, 0.006, 0.015)
    views = tuple(
        View(
            x=float(step * k),
            height=float(height),
            yaw=float(yaw + drift * k + sway[k, 0]),
            focal=float(focal * (1.0 + sway[k, 2])),
            horizon=float(horizon + sway[k, 1]),
        )
        for k in range(frames)
    )
    return views, far


def _row(rng: np.random.Generator, kept: Iterable[str], light: Light, start: float, stop: float) -> tuple[House, ...]:
    """Draw houses from ``start`` to ``stop`` metres, with gaps; about every second house has each feature."""
    edges: list[tuple[float, float]] = []
    u = start
    while u < stop:
        width = float(rng.uniform(4.2, 6.8))
        edges.append((u, u + width))
        u += width + (float(rng.uniform(1.2, 2.8)) if rng.random() < 0.22 else 0.0)
    by_house: list[dict[str, str]] = [{} for _ in edges]
    for name in kept:
        kind = "roof" if name in ROOFS else "windows" if name in WINDOWS else "sign" if name in SIGNS else None
        if kind is None:
            continue
        position = int(rng.integers(0, 2))
        while position < len(edges):
            by_house[position][kind] = name
            position += int(rng.choice([1, 2, 3], p=[0.46, 0.49, 0.05]))
    return tuple(_house(rng, light, a, b, named) for (a, b), named in zip(edges, by_house, strict=True))


def _house(rng: np.random.Generator, light: Light, u0: float, u1: float, named: dict[str, str]) -> House:
    floors = int(rng.choice([1, 2, 3], p=[0.45, 0.45, 0.1]))
    columns = 2 if u1 - u0 < 5.6 else int(rng.integers(2, 4))
    floor_height = float(rng.uniform(2.5, 3.0))
    roof, windows = named.get("roof") or _pick(rng, PLAIN_ROOFS), named.get("windows", "plain")
    return House(
        u0=u0,
        u1=u1,
        floors=floors,
        floor_height=floor_height,
        columns=columns,
        wall=_jitter(rng, _pick(rng, WALLS)),
        trim=_pick(rng, TRIMS),
        roof=roof,
        roof_colour=_paint(rng, roof, ROOF_TILES),
        windows=windows,
        windows_colour=_paint(rng, windows, TRIMS),
        door=int(rng.integers(0, columns)),
        shop=bool(rng.random() < 0.25 and floors > 1),
        chimney=float(rng.uniform(0.15, 0.8)) if rng.random() < 0.5 else -1.0,
        lit=tuple(bool(lamp) for lamp in rng.random(floors * columns) < light.lit),
        sign=_sign(rng, named.get("sign"), u0, u1, floors * floor_height),
    )


def _sign(rng: np.random.Generator, name: str | None, u0: float, u1: float, top: float) -> Sign | None:
    """Draw the named sign or, sometimes, a plain board that every town has."""
    first, second = _paint(rng, name or "board", PAINTS), _pick(rng, PAINTS)
    if name is None:
        if rng.random() > 0.25:
            return None
        return Sign("board", float(rng.uniform(u0 + 1, u1 - 1)), 2.75, float(rng.uniform(0.8, 1.1)), first, second)
    low, high = (2.45, 2.75) if name == "striped awning" else (2.3, max(2.6, top - 0.8))
    margin = 1.5 if name == "striped awning" else 0.7
    size = float(rng.uniform(0.95, 1.3))
    return Sign(name, float(rng.uniform(u0 + margin, u1 - margin)), float(rng.uniform(low, high)), size, first, second)


def _strips(rng: np.random.Generator, fences: Sequence[str], reach: float) -> tuple[Strip, ...]:
    """Draw the town's fences, and hedges that every town has."""
    strips = []
    for names, spacing in ((fences, (2.0, 5.5)), (("hedge",), (8.0, 26.0))):
        for name in names:
            u = -reach + float(rng.uniform(0.0, spacing[1]))
            while u < reach * 1.3:
                length = float(rng.uniform(2.6, 5.0))
                colour = _paint(rng, name, ((78, 112, 70),))
                strips.append(Strip(name, u, u + length, float(rng.uniform(1.0, 1.4)), colour))
                u += length + float(rng.uniform(*spacing))
    return tuple(strips)


def _patches(rng: np.random.Generator, names: Sequence[str], reach: float, far: float) -> tuple[Patch, ...]:
    patches = []
    for name in names:
        x = -reach + float(rng.uniform(0.0, 7.0))
        while x < reach * 1.3:
            width, length = float(rng.uniform(2.8, 4.6)), float(rng.uniform(1.9, 3.2))
            first, second = _paint(rng, name, ()), _jitter(rng, (228, 222, 208))
            z = far - 0.5 - length - float(rng.uniform(0.0, 0.22 * far))
            patches.append(Patch(name, x, max(2.0, z), width, length, first, second))
            x += width + float(rng.uniform(2.0, 6.0))
    return tuple(patches)


def _props(rng: np.random.Generator, reach: float, far: float) -> tuple[Prop, ...]:
    """Draw trees and lamps on the pavement, cars on the road, and passers-by."""
    props = []
    road = max(3.0, far - 4.6)
    for name, spacing, depth, size, forms in (
        ("tree", (7.0, 26.0), (far - 2.2, far - 1.2), (0.75, 1.25), 4),
        ("lamp", (14.0, 24.0), (far - 2.9, far - 2.6), (0.9, 1.1), 2),
        ("car", (9.0, 30.0), (0.72 * road, road), (0.9, 1.1), 3),
        ("person", (3.0, 12.0), (0.8 * road, far - 1.0), (0.9, 1.15), 3),
    ):
        x = -reach + float(rng.uniform(0.0, spacing[1]))
        while x < reach * 1.3:
            speed = {"car": 1.6, "person": 0.5}.get(name, 0.0) * float(rng.normal())
            first, second = _pick(rng, PAINTS), _pick(rng, TRIMS)
            z, form = float(rng.uniform(*depth)), int(rng.integers(forms))
            props.append(Prop(name, form, x, z, float(rng.uniform(*size)), speed, first, second))
            x += float(rng.uniform(*spacing))
    return tuple(props)


def _pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def _paint(rng: np.random.Generator, name: str, plain: Sequence[Colour]) -> Colour:
    """Draw one of the paints of a distinctive form, or one of ``plain`` for everything else."""
    return _jitter(rng, _pick(rng, ACCENTS.get(name) or plain))


def _jitter(rng: np.random.Generator, colour: Colour) -> Colour:
    """Make ``colour`` a little lighter or darker."""
    return scale(colour, float(rng.uniform(0.88, 1.1)))
