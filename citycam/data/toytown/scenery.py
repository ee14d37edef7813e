"""Painting of what all towns share: sky, hills, ground, trees, lamps, cars and passers-by."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from citycam.data.toytown.canvas import Canvas, Colour, Plane, circle, mix, scale
from citycam.data.toytown.features import FENCE_FORMS, PAVING_FORMS
from citycam.data.toytown.street import Prop, Street, Strip
from citycam.data.toytown.towns import CLASS_ID

_SNOW: Colour = (236, 240, 246)
_GREEN: Colour = (92, 132, 74)
_LEAVES: tuple[Colour, ...] = ((86, 134, 70), (112, 146, 66), (66, 112, 76), (176, 128, 58))
_FAR = 220.0


def paint_sky(canvas: Canvas, street: Street) -> None:
    """Paint a gradient, the sun or moon, stars at night, and soft clouds."""
    light, side = street.light, canvas.pixels
    share = np.clip(np.linspace(0.0, 1.0 / max(0.3, canvas.view.horizon), side), 0.0, 1.0)[:, None] ** 1.3
    column = np.array(light.zenith) * (1 - share) + np.array(light.horizon) * share
    sky = Image.fromarray(column.astype(np.uint8)[:, None, :].repeat(4, axis=1)).resize(
        (side, side), Image.Resampling.NEAREST
    )
    canvas.image.paste(sky)
    shift = -0.35 * canvas.view.yaw - 0.004 * canvas.view.x
    if light.lit > 0.6:
        for x, y in street.stars:
            spot = (x * side, y * side * 0.9, x * side + 2, y * side * 0.9 + 2)
            ImageDraw.Draw(canvas.image).ellipse(spot, fill=mix(light.zenith, (255, 250, 230), 0.75))
    if light.disc is not None:
        x, y = (street.hills[7] + shift) % 1.0, 0.1 + 0.22 * street.hills[6]
        for radius, glow in ((0.085, 0.25), (0.064, 0.45), (0.045, 1.0)):
            disc = mix(light.horizon if light.lit < 0.6 else light.zenith, light.disc, glow)
            box = ((x - radius) * side, (y - radius) * side, (x + radius) * side, (y + radius) * side)
            ImageDraw.Draw(canvas.image).ellipse(box, fill=disc)
    _clouds(canvas, street, shift)


def _clouds(canvas: Canvas, street: Street, shift: float) -> None:
    small = max(32, canvas.pixels // 4)
    veil = Image.new("L", (small, small))
    pen = ImageDraw.Draw(veil)
    for x, y, size in street.clouds:
        x = (x + shift + 0.2) % 1.4 - 0.2
        for dx, dy, share in (
            (0.0, 0.0, 1.0),
            (-0.8, 0.18, 0.65),
            (0.85, 0.2, 0.7),
            (0.35, -0.3, 0.7),
            (-1.5, 0.3, 0.4),
        ):
            u, v, wide, tall = x + dx * size, y + dy * size * 0.6, size * share, size * share * 0.42
            pen.ellipse(((u - wide) * small, (v - tall) * small, (u + wide) * small, (v + tall) * small), fill=215)
    veil = veil.filter(ImageFilter.GaussianBlur(small / 42)).resize(canvas.image.size, Image.Resampling.BILINEAR)
    canvas.image.paste(street.light.cloud_colour, (0, 0, *canvas.image.size), veil)
    canvas.classes.paste(CLASS_ID["cloud"], (0, 0, *canvas.image.size), veil.point([0] * 110 + [255] * 146))


def paint_ground(canvas: Canvas, street: Street) -> None:
    """Paint hills at the skyline, then lawn, pavements, kerbs, road and the town's paving."""
    horizon, light = canvas.view.horizon, street.light
    for layer, (height, depth) in enumerate(((0.09, 150.0), (0.05, 80.0))):
        phase, wave = street.hills[2 * layer] * 6.3, 4.0 + 5.0 * street.hills[2 * layer + 1]
        line = [
            (k / 24, horizon + 0.004 - height * (0.55 + 0.45 * math.sin(phase + wave * (k / 24 + canvas.view.yaw))))
            for k in range(25)
        ]
        colour = mix(_GREEN, light.haze, 0.55 - 0.25 * layer)
        canvas.flat_polygon([(0.0, 1.0), *line, (1.0, 1.0)], light.on(colour, depth / 4), "hill")
    stone, kerb, asphalt = (mix(colour, _SNOW, 0.72) if street.snow else colour for colour in street.ground)
    lawn = mix(_GREEN, _SNOW, 0.85) if street.snow else _GREEN
    far, near, x = street.far, street.near, canvas.view.x
    edge = max(1.5, far - 3.4)
    inner = near + 2.2
    for z0, z1, colour, name in (
        (far, _FAR, lawn, "ground"),
        (-_FAR, near, lawn, "ground"),
        (near, inner, stone, "pavement"),
        (inner, edge, asphalt, "road"),
        (edge, far, stone, "pavement"),
        (edge - 0.22, edge, kerb, "pavement"),
    ):
        canvas.polygon(
            [(x - _FAR, 0.0, z0), (x + _FAR, 0.0, z0), (x + _FAR, 0.0, z1), (x - _FAR, 0.0, z1)], colour, name
        )
    start = math.floor((x - 30) / 3.0) * 3.0
    for k in range(21):
        u, middle = start + 3.0 * k, (inner + edge) / 2
        dash = [(u, 0.0, middle), (u + 1.4, 0.0, middle), (u + 1.4, 0.0, middle + 0.16), (u, 0.0, middle + 0.16)]
        canvas.polygon(dash, mix(asphalt, (240, 238, 230), 0.6), "road")
        seam = [(u, 0.0, edge), (u + 0.06, 0.0, edge), (u + 0.06, 0.0, far), (u, 0.0, far)]
        canvas.polygon(seam, kerb, "pavement")
    for patch in street.patches:
        if canvas.visible(patch.x, patch.x + patch.width, patch.z + patch.length / 2):
            form = PAVING_FORMS[patch.name]
            form(canvas, patch.x, patch.z, patch.width, patch.length, patch.first, patch.second)


def paint_foreground(canvas: Canvas, street: Street, seconds: float) -> None:
    """Paint fences, hedges, trees, lamps, cars and people, far ones first."""
    things: list[tuple[float, Strip | Prop]] = []
    for strip in street.strips:
        z = street.far - 0.9
        if canvas.visible(strip.u0, strip.u1, z):
            things.append((canvas.depth((strip.u0 + strip.u1) / 2, z), strip))
    for prop in street.props:
        x = prop.x + prop.speed * seconds
        depth = canvas.depth(x, prop.z)
        if depth > 2.0 and canvas.visible(x - 3, x + 3, prop.z):
            things.append((depth, prop))
    for _, thing in sorted(things, key=lambda pair: -pair[0]):
        if isinstance(thing, Prop):
            _paint_prop(canvas, street, thing, thing.x + thing.speed * seconds)
        elif thing.name == "hedge":
            _hedge(canvas, street, thing)
        else:
            FENCE_FORMS[thing.name](Plane(canvas, street.far - 0.9), thing.u0, thing.u1, thing.height, thing.colour)


def _hedge(canvas: Canvas, street: Street, strip: Strip) -> None:
    plane = Plane(canvas, street.far - 0.9)
    plane.box(strip.u0, 0.0, strip.u1, strip.height * 0.85, strip.colour, "hedge")
    steps = max(3, round((strip.u1 - strip.u0) / 0.55))
    top = mix(strip.colour, _SNOW, 0.8) if street.snow else scale(strip.colour, 1.22)
    for k in range(steps + 1):
        u = strip.u0 + (strip.u1 - strip.u0) * k / steps
        plane.shape(circle(u, strip.height * 0.8, 0.3, 9), top, "hedge")


def _paint_prop(canvas: Canvas, street: Street, prop: Prop, x: float) -> None:
    plane = Plane(canvas, prop.z)
    if prop.name == "tree":
        _tree(canvas, plane, prop, x, street.snow)
    elif prop.name == "lamp":
        _lamp(canvas, plane, prop, x)
    elif prop.name == "car":
        _car(plane, prop, x, street.light.lit > 0.3)
    else:
        _person(canvas, plane, prop, x)


def _tree(canvas: Canvas, plane: Plane, prop: Prop, x: float, snow: bool) -> None:
    size = prop.size
    leaves = mix(_LEAVES[prop.form], prop.second, 0.08)
    crown = mix(leaves, _SNOW, 0.6) if snow else scale(leaves, 1.2)
    plane.box(x - 0.15 * size, 0.0, x + 0.15 * size, 2.0 * size, (96, 74, 58), "tree")
    if prop.form == 2:
        for level in range(3):
            low, half = (0.9 + 1.1 * level) * size, (1.25 - 0.3 * level) * size
            plane.shape([(x - half, low), (x + half, low), (x, low + 1.8 * size)], leaves, "tree")
            plane.shape([(x - half * 0.9, low + 0.1), (x - 0.1, low + 0.1), (x, low + 1.75 * size)], crown, "tree")
        return
    tall = 1.7 if prop.form == 1 else 1.0
    for dx, dy, radius, colour in (
        (0.55, -0.25, 0.8, scale(leaves, 0.78)),
        (-0.6, -0.2, 0.78, scale(leaves, 0.86)),
        (0.1, 0.1, 1.0, leaves),
        (0.5, 0.45, 0.66, leaves),
        (-0.4, 0.55, 0.72, crown),
        (0.05, 0.85, 0.55, crown),
    ):
        wide = 0.62 if prop.form == 1 else 1.0
        centre = plane.at(x + dx * size * wide, (2.7 + 0.5 * (tall - 1.0) + dy * tall) * size)
        canvas.ball(centre, radius * size * (0.8 if prop.form == 1 else 1.0), colour, "tree")


def _lamp(canvas: Canvas, plane: Plane, prop: Prop, x: float) -> None:
    tall, iron = 3.4 * prop.size, (58, 62, 66)
    plane.box(x - 0.07, 0.0, x + 0.07, tall, iron, "lamp")
    plane.box(x - 0.16, 0.0, x + 0.16, 0.4, iron, "lamp")
    reach = 0.5 if prop.form else 0.0
    plane.box(x - 0.05, tall - 0.05, x + reach + 0.05, tall + 0.05, iron, "lamp")
    glow = canvas.light.lit > 0.3
    canvas.ball(plane.at(x + reach, tall), 0.24, (255, 226, 150) if glow else (232, 232, 220), "lamp", glow=glow)


def _car(plane: Plane, prop: Prop, x: float, lights: bool) -> None:
    way = 1.0 if prop.speed >= 0 else -1.0
    long, tall = 1.9 * prop.size, (1.4, 1.75, 1.3)[prop.form] * prop.size

    def side(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x + way * u * long, v * tall) for u, v in points]

    rear = -0.72 if prop.form == 1 else -0.58
    plane.shape(side([(-1, 0.2), (1, 0.2), (1, 0.5), (0.86, 0.62), (-0.94, 0.64), (-1, 0.5)]), prop.first, "car")
    plane.shape(side([(rear - 0.14, 0.6), (0.52, 0.6), (0.24, 1.0), (rear, 1.0)]), scale(prop.first, 0.92), "car")
    plane.shape(side([(rear - 0.02, 0.63), (-0.16, 0.63), (-0.16, 0.92), (rear + 0.06, 0.92)]), (186, 208, 220), "car")
    plane.shape(side([(-0.08, 0.63), (0.42, 0.63), (0.2, 0.92), (-0.08, 0.92)]), (172, 196, 210), "car")
    plane.shape(side([(-1, 0.2), (1, 0.2), (1, 0.28), (-1, 0.28)]), scale(prop.first, 0.65), "car")
    for wheel in (-0.6, 0.62):
        plane.shape(circle(x + wheel * long, 0.32, 0.34, 12), (38, 38, 42), "car")
        plane.shape(circle(x + wheel * long, 0.32, 0.16, 8), (170, 172, 176), "car")
    front = (255, 236, 170) if lights else (226, 224, 210)
    plane.shape(side([(0.9, 0.4), (1.0, 0.4), (1.0, 0.54), (0.9, 0.56)]), front, "car", glow=lights)


def _person(canvas: Canvas, plane: Plane, prop: Prop, x: float) -> None:
    size = prop.size
    skin = ((236, 196, 164), (168, 118, 88), (112, 78, 60))[prop.form]
    for leg in (-0.14, 0.14):
        plane.box(x + (leg - 0.09) * size, 0.0, x + (leg + 0.09) * size, 0.8 * size, (52, 50, 62), "person")
    flare = 0.34 if prop.form == 1 else 0.27
    coat = [(-flare, 0.55), (flare, 0.55), (0.22, 1.4), (-0.22, 1.4)]
    plane.shape([(x + u * size, v * size) for u, v in coat], prop.first, "person")
    arm = 0.38 if prop.speed >= 0 else -0.38
    reach = [(0.12, 1.36), (0.24 * (1 if arm > 0 else -1), 1.36), (arm, 0.8), (arm * 0.75, 0.78)]
    plane.shape([(x + u * size, v * size) for u, v in reach], scale(prop.first, 0.8), "person")
    canvas.ball(plane.at(x, 1.58 * size), 0.17 * size, skin, "person")
    plane.shape(
        [
            (x - 0.18 * size, 1.6 * size),
            (x + 0.18 * size, 1.6 * size),
            (x + 0.1 * size, 1.78 * size),
            (x - 0.1 * size, 1.78 * size),
        ],
        prop.second,
        "person",
    )
