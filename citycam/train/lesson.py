"""Where a body's weights come from: a file, a hub or, where none can be had, a lesson taught once for a sweep."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from citycam import progress, words
from citycam.config import BackboneConfig, Config
from citycam.data.inputs import Inputs
from citycam.data.pictures import decode
from citycam.data.views import ViewSpec, render
from citycam.errors import CitycamError
from citycam.files import cache_root, lock
from citycam.model.backbone import make_backbone
from citycam.model.weights import digest, find_weights, save_weights
from citycam.processes import remember
from citycam.resolved import WeightsSource
from citycam.train.pretrain import RECIPE, lesson_for_toytown, teach

Say = Callable[[str], None]


@dataclass(frozen=True)
class Lesson:
    """What a body learns where no pretrained weights can be had. ``key`` names it; ``warning`` is for the runs."""

    key: dict[str, Any]
    path: Path
    warning: str


def find_body(config: Config, inputs: Inputs, say: Say) -> tuple[WeightsSource, dict[str, str]]:
    """The weights of a run's body, resolved once for a sweep; taught here if need be, and said so.

    Returns:
        The source (``origin`` random where the run trains from scratch), and warnings {code: sentence}.

    Raises:
        CitycamError: a weights file is not there or does not fit.
    """
    source = _found(str(config.backbone.name), config.backbone.weights)
    if source is not None:
        return source, {}
    lesson = _lesson(config, inputs)
    say(lesson.warning)
    waiting = "Another process is training this body; waiting for it."
    with lock(lesson.path.with_suffix(".lock"), waiting=lambda: say(waiting)):
        if not lesson.path.exists():
            _teach(config, inputs, lesson, say)
    source = WeightsSource("pretrained here", lesson.path, digest(lesson.path), lesson.warning)
    return source, {"no_pretrained_weights": lesson.warning}


@remember(8)
def _found(name: str, weights: str) -> WeightsSource | None:
    """Asked once per process: each look for pretrained weights may take seconds."""
    return find_weights(BackboneConfig(name=name, weights=weights))


def _lesson(config: Config, inputs: Inputs) -> Lesson:
    toytown = inputs.catalog.kind == "toytown"
    key: dict[str, Any] = {"recipe": RECIPE, "backbone": config.backbone.name, "image_size": config.image_size}
    key["seen"] = config.backbone.lesson
    if toytown:
        warning = (
            f"No pretrained weights of {config.backbone.name} can be had here, so one body was trained once on "
            "rendered pictures of other towns and frozen for all models; give backbone.weights=FILE for better ones."
        )
    else:
        # The lesson must not see validation pictures, so what decides the training part is in its name.
        train = [inputs.catalog.pictures[index].digest for index in inputs.train.tolist()]
        key |= {"data": inputs.catalog.digest, "train": hashlib.sha256("".join(sorted(train)).encode()).hexdigest()}
        warning = (
            f"No pretrained weights of {config.backbone.name} can be had here, so one body learnt the cities from the "
            f"training part alone (at most {config.backbone.lesson:,} pictures seen), once for the sweep; accuracies "
            "are far below those with pretrained weights: give backbone.weights=FILE."
        )
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return Lesson(key, cache_root() / "bodies" / f"{config.backbone.name}-{name}.safetensors", warning)


def _teach(config: Config, inputs: Inputs, lesson: Lesson, say: Say) -> None:
    backbone = make_backbone(config.backbone, config.image_size, 0)
    if inputs.catalog.kind == "toytown":
        with progress.bar("lesson", config.backbone.lesson) as advance:
            pictures, labels = lesson_for_toytown(config.backbone.lesson, config.image_size)
            advance(config.backbone.lesson)
    else:
        pictures, labels = _training_pictures(config, inputs)
    seen = config.backbone.lesson
    say(
        f"Training the body: {seen:,} pictures pass {config.backbone.name} forwards and backwards, once for all, "
        f"{_about(config, pictures, labels, seen)}."
    )
    with progress.counted("body") as tell:
        teach(backbone, pictures, labels, seen=seen, seed=0, progress=tell)
    save_weights(backbone, lesson.path)


def _about(config: Config, pictures: np.ndarray, labels: np.ndarray, seen: int) -> str:
    """How long the lesson takes, from a few steps of a network that is thrown away."""
    trial = make_backbone(config.backbone, config.image_size, 0)
    few = min(len(pictures), 64)
    teach(trial, pictures[:few], labels[:few], seen=32, seed=0)
    begun = time.perf_counter()
    teach(trial, pictures[:few], labels[:few], seen=64, seed=0)
    return f"about {words.duration((time.perf_counter() - begun) / 64 * seen)}"


def _training_pictures(config: Config, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Plain views and city labels of the training part, at most as many pictures as the lesson sees."""
    rows = inputs.train
    most = config.backbone.lesson
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    spec = ViewSpec(image_size=config.image_size)
    cities = {city: number for number, city in enumerate(inputs.catalog.cities)}
    views = np.empty((len(rows), config.image_size, config.image_size, 3), dtype=np.uint8)
    with progress.bar("pictures", len(rows)) as advance:
        for place, index in enumerate(rows.tolist()):
            picture = inputs.catalog.pictures[index]
            views[place] = render(decode(inputs.catalog.path(picture)), spec, 0, picture.digest)
            advance(1)
    labels = np.array([cities[inputs.catalog.pictures[index].city] for index in rows.tolist()], dtype=np.int64)
    if len(np.unique(labels)) < 2:
        raise CitycamError("The training part holds one city only, so no body can learn from it; check the split.")
    return views, labels
