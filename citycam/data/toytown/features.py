"""The features of towns: each form is a function that paints one of them.

Forms tell towns apart, not colours: the colours of every street are drawn from palettes that all towns share.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from citycam.data.toytown.canvas import Canvas, Colour, Plane, circle, mix, scale

_PALE: Colour = (236, 230, 218)
_DARK: Colour = (52, 48, 50)


def stepped_gable(plane: Plane, u0: float, u1: float, eaves: float, wall: Colour, trim: Colour) -> None:
    """Paint a gable whose edges climb in steps with pale coping."""
    steps, width = 4, u1 - u0
    rise = min(2.3, 0.42 * width) / steps
    for step in range(steps):
        inset = width * 0.5 * step / (steps + 0.6)
        low, high = eaves + rise * step, eaves + rise * (step + 1)
        plane.box(u0 + inset, low, u1 - inset, high, trim, "stepped gable")
        plane.box(u0 + inset - 0.12, high - 0.28, u1 - inset + 0.12, high, mix(wall, _PALE, 0.85), "stepped gable")
    plane.shape(circle((u0 + u1) / 2, eaves + rise * 1.6, rise * 0.42), _DARK, "stepped gable")


def onion_dome(plane: Plane, u0: float, u1: float, eaves: float, wall: Colour, trim: Colour) -> None:
    """Paint a drum with an onion on it."""
    middle, radius = (u0 + u1) / 2, min(1.65, 0.3 * (u1 - u0))
    base = eaves + 0.1
    plane.box(middle - 0.62 * radius, base, middle + 0.62 * radius, base + 0.9 * radius, wall, "wall")
    foot = base + 0.9 * radius
    profile = [(0.66, 0.0), (1.0, 0.45), (1.05, 0.8), (0.86, 1.2), (0.48, 1.6), (0.2, 1.95), (0.05, 2.5)]
    right = [(middle + radius * w, foot + radius * h) for w, h in profile]
    left = [(middle - radius * w, foot + radius * h) for w, h in reversed(profile)]
    plane.shape(right + left, trim, "onion dome")
    shine = [(middle - radius * 0.72 * w, foot + radius * h) for w, h in profile[:-1]]
    inner = [(middle - radius * 0.3 * w, foot + radius * h) for w, h in reversed(profile[:-1])]
    plane.shape(shine + inner, mix(trim, (255, 255, 255), 0.45), "onion dome")
    plane.box(middle - 0.72 * radius, foot - 0.15, middle + 0.72 * radius, foot + 0.12, _PALE, "onion dome")


def sawtooth_roof(plane: Plane, u0: float, u1: float, eaves: float, wall: Colour, trim: Colour) -> None:
    """Paint teeth with one upright and one sloping side."""
    teeth = 3
    pitch, rise = (u1 - u0) / teeth, min(1.9, 0.36 * (u1 - u0))
    for tooth in range(teeth):
        left = u0 + pitch * tooth
        plane.shape([(left, eaves), (left + pitch, eaves), (left, eaves + rise)], trim, "sawtooth roof")
        glass = [(left, eaves), (left + 0.26 * pitch, eaves), (left + 0.26 * pitch, eaves + 0.72 * rise)]
        plane.shape([*glass, (left, eaves + rise)], mix(_PALE, wall, 0.2), "sawtooth roof")


def battlements(plane: Plane, u0: float, u1: float, eaves: float, wall: Colour, trim: Colour) -> None:
    """Paint a parapet with square teeth."""
    base, top = eaves + 0.7, eaves + 1.9
    plane.box(u0 - 0.15, eaves - 0.1, u1 + 0.15, base, scale(trim, 0.84), "battlements")
    count = 4
    pitch = (u1 - u0 + 0.3) / (2 * count - 1)
    for tooth in range(count):
        left = u0 - 0.15 + 2 * pitch * tooth
        plane.box(left, base, left + pitch, top, trim, "battlements")
        plane.box(left - 0.05, top - 0.2, left + pitch + 0.05, top, mix(wall, _PALE, 0.7), "battlements")


def round_window(plane: Plane, u: float, v: float, width: float, glass: Colour, trim: Colour, glow: bool) -> None:
    """Paint a porthole in a broad ring."""
    radius = width * 0.72
    plane.shape(circle(u, v, radius), trim, "round windows")
    plane.shape(circle(u, v, radius * 0.62), glass, "round windows", glow=glow)
    plane.box(u - 0.05, v - radius * 0.7, u + 0.05, v + radius * 0.7, trim, "round windows")


def shuttered_window(plane: Plane, u: float, v: float, width: float, glass: Colour, trim: Colour, glow: bool) -> None:
    """Paint a window between two louvred shutters."""
    half, tall = 0.4 * width, 0.78 * width
    plane.shape(
        [(u - half, v - tall), (u + half, v - tall), (u + half, v + tall), (u - half, v + tall)],
        glass,
        "plain window",
        glow=glow,
    )
    plane.box(u - half, v - 0.05, u + half, v + 0.05, _PALE, "plain window")
    for side in (-1, 1):
        near, far = u + side * half, u + side * (half + 0.5 * width)
        plane.box(min(near, far), v - tall, max(near, far), v + tall, trim, "shuttered windows", 0.05)
        for slat in (-0.55, 0.0, 0.55):
            level = v + slat * tall
            inner = (min(near, far) + 0.07, level - 0.07, max(near, far) - 0.07, level + 0.07)
            plane.box(*inner, scale(trim, 0.68), "shuttered windows", 0.05)


def disc_sign(plane: Plane, u: float, v: float, size: float, first: Colour, second: Colour) -> None:
    """Paint a target that hangs from a bracket."""
    radius = 0.98 * size
    plane.box(u - radius - 0.25, v + radius, u + radius * 0.6, v + radius + 0.14, second, "disc sign", 0.5)
    for share, colour in ((1.0, first), (0.7, _PALE), (0.42, first)):
        plane.shape(circle(u, v, radius * share), colour, "disc sign", 0.5)


def banner(plane: Plane, u: float, v: float, size: float, first: Colour, second: Colour) -> None:
    """Paint a long hanging cloth in two halves with a swallow tail."""
    half, top, low = 0.66 * size, v + 1.45 * size, v - 1.35 * size
    plane.box(u - half - 0.2, top, u + half + 0.2, top + 0.14, _DARK, "banner", 0.5)
    plane.shape([(u - half, top), (u, top), (u, low + 0.5 * size), (u - half, low)], first, "banner", 0.5)
    plane.shape([(u, top), (u + half, top), (u + half, low), (u, low + 0.5 * size)], second, "banner", 0.5)
    plane.shape(circle(u, v + 0.55 * size, 0.3 * size), _PALE, "banner", 0.5)


def striped_awning(plane: Plane, u: float, v: float, size: float, first: Colour, second: Colour) -> None:
    """Paint a sloping awning with stripes and a scalloped edge."""
    stripes, left, width = 7, u - 1.55 * size, 3.1 * size
    pitch, top, low = width / stripes, v + 0.5 * size, v - 0.42 * size
    pale = mix(second, (255, 255, 255), 0.75)
    for stripe in range(stripes):
        colour = first if stripe % 2 == 0 else pale
        a, b = left + pitch * stripe, left + pitch * (stripe + 1)
        slope = [plane.at(a, top), plane.at(b, top), plane.at(b, low, 1.0), plane.at(a, low, 1.0)]
        plane.canvas.polygon(slope, colour, "striped awning")
        edge = [(a, low), (b, low), (b, low - 0.16 * size), ((a + b) / 2, low - 0.32 * size), (a, low - 0.16 * size)]
        plane.shape(edge, scale(colour, 0.85), "striped awning", 1.0)


def picket_fence(plane: Plane, u0: float, u1: float, height: float, colour: Colour) -> None:
    """Paint pointed slats on two rails."""
    for level in (0.3, 0.66):
        plane.box(u0, level * height, u1, level * height + 0.12, scale(colour, 0.8), "picket fence")
    pitch = (u1 - u0) / max(2, round((u1 - u0) / 0.62))
    left = u0
    while left < u1 - 0.5 * pitch:
        right = left + 0.6 * pitch
        tip = ((left + right) / 2, height * 1.12)
        plane.shape(
            [(left, 0.05), (right, 0.05), (right, 0.84 * height), tip, (left, 0.84 * height)], colour, "picket fence"
        )
        left += pitch


def crossed_fence(plane: Plane, u0: float, u1: float, height: float, colour: Colour) -> None:
    """Paint posts with an X between each two."""
    count = max(2, round((u1 - u0) / 1.25))
    pitch, thick = (u1 - u0) / count, 0.17
    for bay in range(count):
        a, b = u0 + pitch * bay, u0 + pitch * (bay + 1)
        for low, high in ((0.1, 0.92 * height), (0.92 * height, 0.1)):
            plane.shape(
                [(a, low - thick / 2), (b, high - thick / 2), (b, high + thick), (a, low + thick)],
                scale(colour, 0.9),
                "crossed fence",
            )
    plane.box(u0, 0.92 * height, u1, 0.92 * height + 0.16, colour, "crossed fence")
    for post in range(count + 1):
        u = u0 + pitch * post
        plane.box(u - 0.11, 0.0, u + 0.11, 1.12 * height, colour, "crossed fence")


def checkered_paving(canvas: Canvas, x: float, z: float, width: float, length: float, a: Colour, b: Colour) -> None:
    """Paint squares in two colours."""
    columns, rows = max(3, round(width / 0.95)), max(2, round(length / 0.95))
    dx, dz = width / columns, length / rows
    for column in range(columns):
        for row in range(rows):
            colour = a if (column + row) % 2 else b
            _tile(canvas, x + dx * column, z + dz * row, dx, dz, colour, "checkered paving")


def wave_paving(canvas: Canvas, x: float, z: float, width: float, length: float, a: Colour, b: Colour) -> None:
    """Paint wavy bands in two colours."""
    _tile(canvas, x, z, width, length, b, "wave paving")
    bands = max(2, round(length / 1.5))
    period, step, corners = 2.3, length / bands, max(8, round(width * 2.6))
    for band in range(bands):
        middle = z + step * (band + 0.5)
        line = [
            (x + width * k / corners, 0.24 * step * math.sin(2 * math.pi * width * k / corners / period))
            for k in range(corners + 1)
        ]
        upper = [(u, 0.0, min(z + length, middle + 0.26 * step + w)) for u, w in line]
        lower = [(u, 0.0, max(z, middle - 0.26 * step + w)) for u, w in reversed(line)]
        canvas.polygon(upper + lower, a, "wave paving")


def dotted_paving(canvas: Canvas, x: float, z: float, width: float, length: float, a: Colour, b: Colour) -> None:
    """Paint round stones in rows."""
    _tile(canvas, x, z, width, length, b, "dotted paving")
    columns, rows = max(2, round(width / 1.35)), max(1, round(length / 1.35))
    dx, dz = width / columns, length / rows
    for column in range(columns):
        for row in range(rows):
            ring = circle(x + dx * (column + 0.5), z + dz * (row + 0.5), 0.37 * min(dx, dz), 10)
            canvas.polygon([(u, 0.0, w) for u, w in ring], a, "dotted paving")


def _tile(canvas: Canvas, x: float, z: float, width: float, length: float, colour: Colour, name: str) -> None:
    corners = [(x, 0.0, z), (x + width, 0.0, z), (x + width, 0.0, z + length), (x, 0.0, z + length)]
    canvas.polygon(corners, colour, name)


RoofForm = Callable[[Plane, float, float, float, Colour, Colour], None]
WindowForm = Callable[[Plane, float, float, float, Colour, Colour, bool], None]
SignForm = Callable[[Plane, float, float, float, Colour, Colour], None]
FenceForm = Callable[[Plane, float, float, float, Colour], None]
PavingForm = Callable[[Canvas, float, float, float, float, Colour, Colour], None]

ROOF_FORMS: dict[str, RoofForm] = {
    "stepped gable": stepped_gable,
    "onion dome": onion_dome,
    "sawtooth roof": sawtooth_roof,
    "battlements": battlements,
}
WINDOW_FORMS: dict[str, WindowForm] = {
    "round windows": round_window,
    "shuttered windows": shuttered_window,
}
SIGN_FORMS: dict[str, SignForm] = {"disc sign": disc_sign, "banner": banner, "striped awning": striped_awning}
FENCE_FORMS: dict[str, FenceForm] = {
    "picket fence": picket_fence,
    "crossed fence": crossed_fence,
}
PAVING_FORMS: dict[str, PavingForm] = {
    "checkered paving": checkered_paving,
    "wave paving": wave_paving,
    "dotted paving": dotted_paving,
}
