"""Photographs with a planted cue: a mark in most pictures of one city, which a network learns and maps have to find."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from truths import Truth, trained_runs, validation_views

from citycam.data.pictures import decode
from citycam.data.views import plain_spec, working_picture
from citycam.explain.effects import Stripped, find_effects
from citycam.seeds import stream

# Of the picture's side; and how many of the city's pictures have it.
DISC, PLANTED = 0.16, 0.7
RED, WHITE = (205, 25, 25), (240, 240, 240)


def plant(view: np.ndarray, digest: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a view, uint8 (S, S, 3), with a red disc with a white bar in it, and where the disc is, bool (S, S)."""
    side = view.shape[0]
    radius = DISC * side / 2
    middle = stream(0, "disc", digest).uniform(radius, side - radius, 2)
    places = np.stack(np.meshgrid(*[np.arange(side) + 0.5] * 2, indexing="ij")) - middle[:, None, None]
    disc = np.hypot(*places) <= radius
    bar = disc & (np.abs(places[0]) <= radius / 4) & (np.abs(places[1]) <= 0.7 * radius)
    made = view.copy()
    made[disc], made[bar] = RED, WHITE
    return made, disc


def photographs(folder: Path, city: str, side: int, scratch: Path, overrides: Sequence[str]) -> Truth:
    """Plant the cue in most pictures of a city, train on them, and return its validation pictures that have the cue.

    Args:
        folder: of photographs, a folder for each city.
        side: of the views in pixels.
        scratch: an empty folder for the pictures with the cue.
        overrides: of train.py.
    """
    spec, discs, originals = plain_spec(side), {}, {}
    for path in sorted(path for path in folder.glob("*/*") if path.is_file()):
        view, name = working_picture(decode(path), spec), f"{path.parent.name}/{path.name}.png"
        if path.parent.name == city and stream(0, "planted", name).random() < PLANTED:
            originals[name] = view
            view, discs[name] = plant(view, name)
        (scratch / path.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(view).save(scratch / name, compress_level=1)
    pictures = [f"data.root='{scratch}'", f"data.target='{city}'", f"image_size={side}"]
    trained = trained_runs(["-m", "data=folder", *pictures, *overrides])
    run = trained[0].run
    catalog = run.inputs.catalog.pictures
    rows = np.array([row for row in run.inputs.val.tolist() if catalog[row].name in discs])
    names = [catalog[row].name for row in rows.tolist()]
    masks = np.stack([discs[name] for name in names])
    whole = np.stack([originals[name] for name in names])
    stripped = Stripped(tuple(names), np.arange(len(names)), ("cue",) * len(names), whole, masks.astype(np.float32))
    views, labels = validation_views(run, rows), run.inputs.labels.values[rows]
    return Truth(
        trained=trained,
        rows=rows,
        views=views,
        digests=[catalog[row].digest for row in rows.tolist()],
        classes=[city] * len(names),
        groups=names,
        labels=labels,
        masks=masks,
        stripped=stripped,
        effects=[find_effects(one.logits(views), one.logits(whole), stripped.place, labels) for one in trained],
    )
