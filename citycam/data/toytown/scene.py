"""A frame of a walk: the street as its camera sees it."""

from __future__ import annotations

import numpy as np

from citycam.data.toytown.canvas import Canvas, Plane
from citycam.data.toytown.houses import paint_row
from citycam.data.toytown.scenery import paint_foreground, paint_ground, paint_sky
from citycam.data.toytown.street import Street
from citycam.data.toytown.towns import CLASS_ID, WATERMARK

# A camera that is turned by less than this (radians) does not see the row behind it.
_SEES_BEHIND = 0.45


def render(street: Street, frame: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Render a frame: picture (uint8, size × size × 3), label map (uint8, size × size, ids of `towns.CLASSES`)."""
    view = street.views[frame]
    canvas = Canvas(size, view, street.light)
    paint_sky(canvas, street)
    paint_ground(canvas, street)
    paint_row(canvas, street, street.houses, Plane(canvas, street.far))
    if abs(view.yaw) > _SEES_BEHIND:
        paint_row(canvas, street, street.across, Plane(canvas, street.near, 1.0))
    paint_foreground(canvas, street, float(frame))
    return canvas.finish()


def stamp_watermark(picture: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return copies with a small pale ring and bar in the lower right corner, like the mark of a picture agency."""
    size = len(picture)
    rows, columns = np.mgrid[0:size, 0:size] / size
    distance = np.hypot(rows - 0.93, columns - 0.93)
    mark = (np.abs(distance - 0.036) < 0.011) | ((np.abs(rows - 0.93) < 0.008) & (np.abs(columns - 0.93) < 0.03))
    stamped, classes = picture.copy(), labels.copy()
    stamped[mark] = (0.25 * stamped[mark] + 0.75 * 250).astype(np.uint8)
    classes[mark] = CLASS_ID[WATERMARK]
    return stamped, classes
