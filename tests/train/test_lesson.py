"""A body is taught once, whoever asks and however many at a time; nobody takes half of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from citycam.config import Config
from citycam.data.inputs import Inputs, load_inputs
from citycam.sweep.gate import read_request
from citycam.train import lesson as body
from tests.conftest import TINY, forget


@pytest.fixture
def asked(cities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Config, Inputs, list[int]]:
    """A run without weights, an empty cache, and the lessons that were given."""
    taught: list[int] = []
    real = body.teach

    def counting(*arguments: Any, **options: Any) -> Any:
        taught.append(options["seen"])
        return real(*arguments, **options | {"seen": 16})

    forget()
    monkeypatch.setenv("CITYCAM_CACHE", str(tmp_path))
    monkeypatch.setattr(body, "find_weights", lambda _config: None)
    monkeypatch.setattr(body, "teach", counting)
    request = read_request(["data=folder", f"data.root={cities}", "backbone=timm", f"backbone.name={TINY}"])
    assert request is not None
    config = request.jobs[0].config
    return config, load_inputs(config), taught


def test_two_at_a_time_teach_one_body(asked: tuple[Config, Inputs, list[int]]) -> None:
    config, inputs, taught = asked
    with ThreadPoolExecutor(2) as both:
        found = list(both.map(lambda _: body.find_body(config, inputs, lambda _text: None), range(2)))
    assert taught.count(config.backbone.lesson) == 1
    assert {source.digest for source, _ in found} == {found[0][0].digest}
    assert found[0][1].keys() == {"no_pretrained_weights"}


def test_a_lesson_that_breaks_off_leaves_no_body(
    asked: tuple[Config, Inputs, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, inputs, _ = asked

    def broken(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(body, "teach", broken)
        with pytest.raises(KeyboardInterrupt):
            body.find_body(config, inputs, lambda _text: None)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert body.find_body(config, inputs, lambda _text: None)[0].origin == "pretrained here"


def test_the_lesson_of_photographs_holds_no_validation_picture(asked: tuple[Config, Inputs, list[int]]) -> None:
    config, inputs, _ = asked
    views, labels = body._training_pictures(config, inputs)
    assert len(views) == len(labels) == len(inputs.train)
    cities = [inputs.catalog.pictures[index].city for index in inputs.train.tolist()]
    assert [inputs.catalog.cities[label] for label in labels.tolist()] == cities
