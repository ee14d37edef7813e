"""A body is taught once, also for several processes at a time; an interrupted lesson leaves no body."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citycam.config import Config
from citycam.data.inputs import Inputs, load_inputs
from citycam.data.lesson import city_lesson
from citycam.sweep.gate import read_request
from citycam.train import lesson as body
from citycam.train.pretrain import RECIPE
from tests.conftest import TINY, forget


@pytest.fixture(autouse=True)
def lessons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """No weights anywhere, an empty cache; the number of pictures of every lesson that was taught."""
    taught: list[int] = []
    real = body.teach

    def counting(network: Any, pictures: np.ndarray, labels: np.ndarray, **options: Any) -> Any:
        taught.append(options["seen"])
        return real(network, pictures[:16], labels[:16], **options | {"seen": 16})

    forget()
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    monkeypatch.setattr(body, "find_weights", lambda _config: None)
    monkeypatch.setattr(body, "teach", counting)
    return taught


def run_of(*data: str) -> tuple[Config, Inputs]:
    """Settings and inputs of a run with these data settings."""
    request = read_request([*data, "backbone=timm", f"backbone.name={TINY}"])
    assert request is not None
    config = request.jobs[0].config
    return config, load_inputs(config)


@pytest.fixture
def run(cities: Path) -> tuple[Config, Inputs]:
    """A run on photographs."""
    return run_of("data=folder", f"data.root={cities}")


def test_two_at_a_time_teach_one_body(run: tuple[Config, Inputs], lessons: list[int]) -> None:
    config, inputs = run
    with ThreadPoolExecutor(2) as both:
        bodies = list(both.map(lambda _: body.find_body(config, inputs, lambda _text: None), range(2)))
    assert lessons.count(config.backbone.lesson) == 1
    assert {weights.digest for weights, _ in bodies} == {bodies[0][0].digest}
    assert bodies[0][1].keys() == {"no_pretrained_weights"}


def test_an_interrupted_lesson_leaves_no_body(
    run: tuple[Config, Inputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, inputs = run

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(body, "teach", interrupted)
        with pytest.raises(KeyboardInterrupt):
            body.find_body(config, inputs, lambda _text: None)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert body.find_body(config, inputs, lambda _text: None)[0].origin == "pretrained here"


def test_the_lesson_of_photographs_holds_no_validation_picture(run: tuple[Config, Inputs]) -> None:
    config, inputs = run
    views, labels = city_lesson(config, inputs.catalog, inputs.train).load()
    assert len(views) == len(labels) == len(inputs.train)
    cities = [inputs.catalog.pictures[index].city for index in inputs.train.tolist()]
    assert [inputs.catalog.cities[label] for label in labels.tolist()] == cities


def name_of(**key: object) -> str:
    """The file that a body with this key has in the cache: another name would teach every body again."""
    digest = hashlib.sha256(json.dumps(dict(sorted(key.items()))).encode()).hexdigest()
    return f"{TINY}-{digest[:32]}.safetensors"


def test_a_body_of_photographs_is_named_by_its_training_part(run: tuple[Config, Inputs]) -> None:
    config, inputs = run
    weights, warnings = body.find_body(config, inputs, lambda _text: None)
    assert weights.path is not None
    train = "".join(sorted(inputs.catalog.pictures[row].digest for row in inputs.train.tolist()))
    assert weights.path.name == name_of(
        recipe=RECIPE,
        backbone=TINY,
        image_size=64,
        seen=10_000,
        data=inputs.catalog.digest,
        train=hashlib.sha256(train.encode()).hexdigest(),
    )
    assert "learnt the cities from the training part alone (at most 10,000 pictures seen)" in weights.note
    assert warnings == {"no_pretrained_weights": weights.note}


def test_a_body_of_toytown_serves_all_its_data_sets(lessons: list[int]) -> None:
    said: list[str] = []
    names: set[str] = set()
    for towns in (2, 3):
        config, inputs = run_of("data=toytown", "data.pictures=20", f"data.towns={towns}", "backbone.lesson=16")
        weights, _ = body.find_body(config, inputs, said.append)
        assert weights.path is not None
        names.add(weights.path.name)
    assert names == {name_of(recipe=RECIPE, backbone=TINY, image_size=64, seen=16)}
    assert lessons.count(16) == 1
    assert "trained once on rendered pictures of other towns" in said[0]
