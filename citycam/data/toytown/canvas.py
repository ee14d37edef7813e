"""A pinhole camera, the light of an hour and a weather, and a canvas that paints colours and classes together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from citycam.data.toytown.towns import CLASS_ID

Colour = tuple[int, int, int]
Point = tuple[float, float, float]
SUPERSAMPLE = 2
_NEAR = 0.6


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Mix two colours: ``first`` if ``share`` is 0, ``second`` if it is 1."""
    keep = 1.0 - share
    return (
        int(first[0] * keep + second[0] * share),
        int(first[1] * keep + second[1] * share),
        int(first[2] * keep + second[2] * share),
    )


def scale(colour: Colour, factor: float) -> Colour:
    """Make ``colour`` darker (``factor`` < 1) or lighter (> 1)."""
    return (
        min(255, int(colour[0] * factor)),
        min(255, int(colour[1] * factor)),
        min(255, int(colour[2] * factor)),
    )


@dataclass(frozen=True, slots=True)
class Light:
    """The light of an hour and a weather.

    Attributes:
        zenith, horizon: colours of the sky.
        sun: factors of every colour.
        haze, density: the colour that distant things fade into, by ``density`` per metre.
        lit: share of windows with a lamp behind them.
        cloud, cloud_colour: share of the sky that is covered, 0 to 1, and by what.
        disc: colour of the sun or moon, or None.
    """

    zenith: Colour
    horizon: Colour
    sun: tuple[float, float, float]
    haze: Colour
    density: float
    lit: float
    cloud: float
    cloud_colour: Colour
    disc: Colour | None

    def on(self, colour: Colour, distance: float) -> Colour:
        """Return the colour that ``colour`` has at ``distance`` metres."""
        clear = math.exp(-self.density * max(0.0, distance - 6.0))
        sun, haze, fog = self.sun, self.haze, 1.0 - clear
        return (
            min(255, int(colour[0] * sun[0] * clear + haze[0] * fog)),
            min(255, int(colour[1] * sun[1] * clear + haze[1] * fog)),
            min(255, int(colour[2] * sun[2] * clear + haze[2] * fog)),
        )


@dataclass(frozen=True, slots=True)
class View:
    """A camera at (``x``, ``height``, 0) metres, turned by ``yaw`` radians to the right (verticals stay upright).

    ``focal`` is in picture widths; ``horizon`` is its row as a share of the picture's height, from the top.
    """

    x: float
    height: float
    yaw: float
    focal: float
    horizon: float


class Canvas:
    """The picture and its classes, painted as polygons in metres: x along the street, y up, z away from the camera."""

    def __init__(self, side: int, view: View, light: Light) -> None:
        self.side = side
        self.pixels = side * SUPERSAMPLE
        self.view = view
        self.light = light
        self.image = Image.new("RGB", (self.pixels, self.pixels))
        self.classes = Image.new("L", (self.pixels, self.pixels))
        self._draw = ImageDraw.Draw(self.image)
        self._mark = ImageDraw.Draw(self.classes)
        self._cos, self._sin = math.cos(view.yaw), math.sin(view.yaw)
        self._focal = view.focal * self.pixels
        self._middle = self.pixels / 2
        self._horizon = view.horizon * self.pixels

    def depth(self, x: float, z: float) -> float:
        """Return the distance in front of the camera, along its axis, in metres."""
        return (x - self.view.x) * self._sin + z * self._cos

    def project(self, points: Sequence[Point]) -> tuple[list[tuple[float, float]], float]:
        """Project a polygon, clipped at the near plane; return its points (pixels) and the nearest depth (metres)."""
        camera = [
            (
                (x - self.view.x) * self._cos - z * self._sin,
                y - self.view.height,
                (x - self.view.x) * self._sin + z * self._cos,
            )
            for x, y, z in points
        ]
        nearest = min(point[2] for point in camera)
        if nearest < _NEAR:
            camera = _cut(camera)
        return [
            (self._middle + self._focal * x / z, self._horizon - self._focal * y / z) for x, y, z in camera
        ], nearest

    def visible(self, x0: float, x1: float, z: float) -> bool:
        """Return whether an upright strip from ``x0`` to ``x1`` at ``z`` can be in the picture."""
        flat, _ = self.project([(x0, 0.0, z), (x1, 0.0, z)])
        return len(flat) > 1 and max(p[0] for p in flat) > -20 and min(p[0] for p in flat) < self.pixels + 20

    def polygon(self, points: Sequence[Point], colour: Colour, name: str, *, glow: bool = False) -> None:
        """Paint a polygon of the world; ``glow`` ignores the light of the hour."""
        flat, nearest = self.project(points)
        if len(flat) < 3:
            return
        if not glow:
            colour = self.light.on(colour, nearest)
        self._draw.polygon(flat, fill=colour)
        self._mark.polygon(flat, fill=CLASS_ID[name])

    def flat_polygon(self, points: Sequence[tuple[float, float]], colour: Colour, name: str) -> None:
        """Paint a polygon given in shares of the picture (0 to 1), in exactly this colour."""
        flat = [(x * self.pixels, y * self.pixels) for x, y in points]
        self._draw.polygon(flat, fill=colour)
        self._mark.polygon(flat, fill=CLASS_ID[name])

    def ball(self, centre: Point, radius: float, colour: Colour, name: str, *, glow: bool = False) -> None:
        """Paint a disc of ``radius`` metres that faces the camera."""
        flat, depth = self.project([centre])
        if not flat or depth < _NEAR:
            return
        reach = radius * self._focal / depth
        (x, y) = flat[0]
        box = (x - reach, y - reach, x + reach, y + reach)
        self._draw.ellipse(box, fill=colour if glow else self.light.on(colour, depth))
        self._mark.ellipse(box, fill=CLASS_ID[name])

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the picture (uint8, side × side × 3) and its classes (uint8, side × side)."""
        picture = np.asarray(self.image.reduce(SUPERSAMPLE))
        classes = np.asarray(self.classes)[SUPERSAMPLE // 2 :: SUPERSAMPLE, SUPERSAMPLE // 2 :: SUPERSAMPLE]
        return picture, np.ascontiguousarray(classes)


@dataclass(frozen=True, slots=True)
class Plane:
    """An upright plane along the street at depth ``z``; ``out`` is -1 if its front faces smaller z."""

    canvas: Canvas
    z: float
    out: float = -1.0

    def at(self, u: float, v: float, d: float = 0.0) -> Point:
        """Return the point ``u`` metres along, ``v`` up, ``d`` in front of the plane."""
        return (u, v, self.z + self.out * d)

    def box(self, u0: float, v0: float, u1: float, v1: float, colour: Colour, name: str, d: float = 0.0) -> None:
        """Paint an upright rectangle."""
        self.shape([(u0, v0), (u1, v0), (u1, v1), (u0, v1)], colour, name, d)

    def shape(
        self, points: Sequence[tuple[float, float]], colour: Colour, name: str, d: float = 0.0, *, glow: bool = False
    ) -> None:
        """Paint an upright polygon."""
        depth = self.z + self.out * d
        self.canvas.polygon([(u, v, depth) for u, v in points], colour, name, glow=glow)


def circle(u: float, v: float, radius: float, corners: int = 14) -> list[tuple[float, float]]:
    """Return the corners of a regular polygon around (``u``, ``v``)."""
    turn = 2 * math.pi / corners
    return [(u + radius * math.cos(turn * k), v + radius * math.sin(turn * k)) for k in range(corners)]


def _cut(points: list[Point]) -> list[Point]:
    """Clip a polygon in camera coordinates at the near plane (Sutherland and Hodgman 1974)."""
    kept: list[Point] = []
    for first, second in zip(points, points[1:] + points[:1], strict=True):
        if first[2] >= _NEAR:
            kept.append(first)
        if (first[2] >= _NEAR) != (second[2] >= _NEAR):
            share = (_NEAR - first[2]) / (second[2] - first[2])
            kept.append((first[0] + share * (second[0] - first[0]), first[1] + share * (second[1] - first[1]), _NEAR))
    return kept
