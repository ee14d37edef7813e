"""Painting of a row of houses."""

from __future__ import annotations

from citycam.data.toytown.canvas import Canvas, Colour, Plane, mix, scale
from citycam.data.toytown.features import ROOF_FORMS, SIGN_FORMS, WINDOW_FORMS
from citycam.data.toytown.street import House, Sign, Street

_GLASS: Colour = (92, 116, 138)
_LAMP: Colour = (255, 214, 128)
_PALE: Colour = (240, 236, 226)
_SNOW: Colour = (240, 243, 248)
_DEPTH = 6.0


def paint_row(canvas: Canvas, street: Street, houses: tuple[House, ...], plane: Plane) -> None:
    """Paint the visible houses of a row, far ones first."""
    x = canvas.view.x
    seen = [house for house in houses if canvas.visible(house.u0, house.u1, plane.z)]
    for house in sorted(seen, key=lambda house: -abs((house.u0 + house.u1) / 2 - x)):
        _sides(canvas, plane, house)
        _plain_roof(canvas, plane, house, street.snow)
        plane.box(house.u0, 0.0, house.u1, house.eaves, house.wall, "wall")
        plane.box(house.u0, 0.0, house.u1, 0.35, scale(house.wall, 0.78), "wall")
        form = ROOF_FORMS.get(house.roof)
        if form is not None:
            form(plane, house.u0, house.u1, house.eaves, house.wall, house.roof_colour)
        else:
            plane.box(
                house.u0 - 0.1, house.eaves - 0.22, house.u1 + 0.1, house.eaves, mix(house.wall, _PALE, 0.5), "wall"
            )
        _openings(plane, house)
        if house.sign is not None:
            _paint_sign(plane, house.sign)


def _sides(canvas: Canvas, plane: Plane, house: House) -> None:
    """Paint the side wall that the camera sees."""
    x, back = canvas.view.x, plane.z - plane.out * _DEPTH
    for u, seen in ((house.u0, x < house.u0), (house.u1, x > house.u1)):
        if seen:
            wall = [(u, 0.0, plane.z), (u, 0.0, back), (u, house.eaves, back), (u, house.eaves, plane.z)]
            canvas.polygon(wall, scale(house.wall, 0.74), "wall")
            if house.roof == "pitched":
                top = (u, house.eaves + _rise(house), (plane.z + back) / 2)
                canvas.polygon([wall[2], wall[3], top], scale(house.wall, 0.74), "wall")


def _rise(house: House) -> float:
    return 0.3 * (house.u1 - house.u0) + 0.3


def _plain_roof(canvas: Canvas, plane: Plane, house: House, snow: bool) -> None:
    """Paint a roof that every town has: pitched, hipped, flat, or a gable towards the street."""
    colour = mix(house.roof_colour, _SNOW, 0.8) if snow else house.roof_colour
    u0, u1, low, high = house.u0 - 0.15, house.u1 + 0.15, house.eaves, house.eaves + _rise(house)
    middle, ridge = (u0 + u1) / 2, plane.z - plane.out * _DEPTH / 2
    if house.chimney > 0:
        _chimney(plane, house, high)
    if house.roof in ("pitched", "hip"):
        inset = 0.0 if house.roof == "pitched" else 1.1
        front = [(u0, low, plane.z), (u1, low, plane.z), (u1 - inset, high, ridge), (u0 + inset, high, ridge)]
        canvas.polygon(front, colour, "plain roof")
        for share in (0.3, 0.6):
            band = [
                (u0 + inset * s, low + (high - low) * s, plane.z + (ridge - plane.z) * s) for s in (share, share + 0.07)
            ]
            other = [(u1 - inset * s, *point[1:]) for s, point in zip((share, share + 0.07), band, strict=True)]
            canvas.polygon([*band, *reversed(other)], scale(colour, 0.88), "plain roof")
    elif house.roof == "front gable":
        slope = [(u0, low), (u1, low), (middle, high + 0.5)]
        plane.shape(slope, scale(colour, 0.9), "plain roof")
        inner = [(u0 + 0.55, low), (u1 - 0.55, low), (middle, high + 0.05)]
        plane.shape(inner, house.wall, "wall")
    elif house.roof == "flat":
        plane.box(u0, low, u1, low + 0.4, colour, "plain roof")
        plane.box(u0, low + 0.4, u1, low + 0.55, mix(colour, _PALE, 0.4), "plain roof")


def _chimney(plane: Plane, house: House, high: float) -> None:
    u = house.u0 + house.chimney * (house.u1 - house.u0)
    plane.box(u - 0.32, house.eaves, u + 0.32, high + 0.7, scale(house.wall, 0.72), "wall", -1.6)
    plane.box(u - 0.4, high + 0.55, u + 0.4, high + 0.75, scale(house.wall, 0.55), "wall", -1.6)


def _openings(plane: Plane, house: House) -> None:
    """Paint windows, door and shop front."""
    pitch = (house.u1 - house.u0) / house.columns
    width = min(1.35, 0.46 * pitch) * (1.12 if house.windows in WINDOW_FORMS else 1.0)
    for row in range(house.floors):
        middle = 0.35 + house.floor_height * (row + 0.52)
        for column in range(house.columns):
            u = house.u0 + pitch * (column + 0.5)
            lit = house.lit[row * house.columns + column]
            if row == 0 and column == house.door:
                _door(plane, house, u)
            elif row > 0 or not house.shop:
                _window(plane, house, u, middle, width, lit)
    if house.shop:
        _shop(plane, house, pitch)


def _window(plane: Plane, house: House, u: float, v: float, width: float, lit: bool) -> None:
    glass = _LAMP if lit else _GLASS
    form = WINDOW_FORMS.get(house.windows)
    if form is not None:
        form(plane, u, v, width, glass, house.windows_colour, lit)
        return
    half, tall = 0.5 * width, 0.68 * width
    plane.box(u - half - 0.1, v - tall - 0.1, u + half + 0.1, v + tall + 0.1, _PALE, "plain window")
    pane = [(u - half, v - tall), (u + half, v - tall), (u + half, v + tall), (u - half, v + tall)]
    plane.shape(pane, glass, "plain window", glow=lit)
    if not lit:
        shine = [(u - half, v), (u - half, v + tall), (u + 0.2 * half, v + tall)]
        plane.shape(shine, mix(glass, (200, 220, 235), 0.45), "plain window")
    plane.box(u - 0.05, v - tall, u + 0.05, v + tall, _PALE, "plain window")
    plane.box(u - half - 0.18, v - tall - 0.22, u + half + 0.18, v - tall - 0.08, scale(house.wall, 0.85), "wall", 0.1)


def _door(plane: Plane, house: House, u: float) -> None:
    plane.box(u - 0.62, 0.0, u + 0.62, 2.32, _PALE, "door")
    plane.box(u - 0.5, 0.0, u + 0.5, 2.2, scale(house.trim, 0.85), "door")
    plane.box(u - 0.36, 1.5, u + 0.36, 2.0, mix(_GLASS, _LAMP, 0.4), "door")
    plane.box(u - 0.75, 0.0, u + 0.75, 0.16, (186, 180, 172), "door", 0.3)


def _shop(plane: Plane, house: House, pitch: float) -> None:
    """Paint a wide window with a lamp behind it; the door keeps its column."""
    for column in range(house.columns):
        if column == house.door:
            continue
        a, b = house.u0 + pitch * column + 0.3, house.u0 + pitch * (column + 1) - 0.3
        plane.box(a - 0.14, 0.3, b + 0.14, 2.5, scale(house.trim, 0.9), "shop front")
        lit = any(house.lit)
        pane = [(a, 0.75), (b, 0.75), (b, 2.15), (a, 2.15)]
        plane.shape(pane, _LAMP if lit else (150, 170, 178), "shop front", glow=lit)
        plane.shape([(a, 0.75), (a, 1.05), (b, 1.2), (b, 0.75)], mix(_LAMP, house.wall, 0.5), "shop front")


def _paint_sign(plane: Plane, sign: Sign) -> None:
    form = SIGN_FORMS.get(sign.name)
    if form is not None:
        form(plane, sign.u, sign.v, sign.size, sign.first, sign.second)
        return
    half = 0.95 * sign.size
    plane.box(sign.u - half, sign.v - 0.24, sign.u + half, sign.v + 0.24, sign.first, "wall", 0.08)
    plane.box(sign.u - 0.8 * half, sign.v - 0.05, sign.u + 0.8 * half, sign.v + 0.07, _PALE, "wall", 0.08)
