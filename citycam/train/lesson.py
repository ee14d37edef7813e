"""Where a body's weights come from: a file, a hub or, if there are none, a lesson taught once for a sweep."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from citycam import progress, words
from citycam.config import BackboneConfig, Config
from citycam.data.inputs import Inputs
from citycam.data.lesson import Lesson
from citycam.data.sources import source_of
from citycam.files import cache_root, lock
from citycam.model.backbone import make_backbone
from citycam.model.weights import digest, find_weights, save_weights
from citycam.processes import remember
from citycam.resolved import WeightsSource
from citycam.train.pretrain import RECIPE, teach

Say = Callable[[str], None]


def find_body(config: Config, inputs: Inputs, say: Say) -> tuple[WeightsSource, dict[str, str]]:
    """Return the weights of a run's body, resolved once for a sweep; train the body here if there are none.

    Returns:
        The origin of the weights (``random`` if the run trains from scratch), and warnings {code: sentence}.

    Raises:
        CitycamError: a weights file does not exist or does not fit.
    """
    known = _known_weights(str(config.backbone.name), config.backbone.weights)
    if known is not None:
        return known, {}
    lesson = source_of(config.data).lesson(config, inputs.catalog, inputs.train)
    path = _body_path(config, lesson)
    say(lesson.warning)
    waiting = "Another process is training this body; waiting for it."
    with lock(path.with_suffix(".lock"), waiting=lambda: say(waiting)):
        if not path.exists():
            _teach(config, lesson, path, say)
    taught = WeightsSource("pretrained here", path, digest(path), lesson.warning)
    return taught, {"no_pretrained_weights": lesson.warning}


@remember(8)
def _known_weights(name: str, weights: str) -> WeightsSource | None:
    """Look for weights once per process: each search for pretrained weights may take seconds."""
    return find_weights(BackboneConfig(name=name, weights=weights))


def _body_path(config: Config, lesson: Lesson) -> Path:
    """Return where the taught body is kept, named by everything that decides its weights."""
    key = {
        "recipe": RECIPE,
        "backbone": config.backbone.name,
        "image_size": config.image_size,
        "seen": config.backbone.lesson,
        **lesson.key,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return cache_root() / "bodies" / f"{config.backbone.name}-{name}.safetensors"


def _teach(config: Config, lesson: Lesson, path: Path, say: Say) -> None:
    backbone = make_backbone(config.backbone, config.image_size, 0)
    pictures, labels = lesson.load()
    seen = config.backbone.lesson
    say(
        f"Training the body: {seen:,} pictures pass {config.backbone.name} forwards and backwards, once for all, "
        f"{_about(config, pictures, labels, seen)}."
    )
    with progress.counted("body") as tell:
        teach(backbone, pictures, labels, seen=seen, seed=0, progress=tell)
    save_weights(backbone, path)


def _about(config: Config, pictures: np.ndarray, labels: np.ndarray, seen: int) -> str:
    """Return how long the lesson takes, measured on a few steps of a network that is thrown away."""
    trial = make_backbone(config.backbone, config.image_size, 0)
    few = min(len(pictures), 64)
    teach(trial, pictures[:few], labels[:few], seen=32, seed=0)
    start = time.perf_counter()
    teach(trial, pictures[:few], labels[:few], seen=64, seed=0)
    return f"about {words.duration((time.perf_counter() - start) / 64 * seen)}"
