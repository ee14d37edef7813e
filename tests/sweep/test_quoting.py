"""Cities and folders have names that need no quotes, and keep them in all that is written and read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from hypothesis import example, given
from omegaconf import OmegaConf

from citycam.errors import CitycamError
from citycam.sweep.command import Command, run_command
from citycam.sweep.gate import read_request
from citycam.sweep.hydra_internals import parse_override
from citycam.sweep.quoting import quoted, readable
from tests.conftest import Outcome

# What people type, and the value that it is.
TAKEN = {
    "data.target=Zürich": "Zürich",
    "data.target=東京": "東京",
    "data.target=St. John's": "St. John's",
    "data.target='s-Hertogenbosch": "'s-Hertogenbosch",
    "data.target='New York'": "New York",
    "data.target=Biel/Bienne (BE)": "Biel/Bienne (BE)",
    "data.target=true": "true",
    "data.target=1e3": "1e3",
    "data.target=[x]": "[x]",
    "data.target=a=b": "a=b",
    "sweep.name=größe": "größe",
    "sweep.name=2026_11_25": "2026_11_25",
    "data.root=~/photos": "~/photos",
    "data.root=/Photos (2020)": "/Photos (2020)",
    "data.root=C:\\photos #2\\": "C:\\photos #2\\",
    r"data.group=^(walk\d+)_[a-z]{2,4}/": r"^(walk\d+)_[a-z]{2,4}/",
    "data.group=[^/]+": "[^/]+",
    "data.group=walk(1|2)": "walk(1|2)",
}


@pytest.mark.parametrize("word", TAKEN)
@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_names_of_cities_and_folders_need_no_quotes(word: str, flags: list[str]) -> None:
    given = {"sweep.name": "s", "data.root": "x", "data.target": "a"}
    key = word.partition("=")[0]
    others = [f"{name}={value}" for name, value in given.items() if name != key]
    request = read_request([*flags, "data=folder", *others, word])
    assert request is not None
    (job,) = request.jobs
    group, _, name = key.partition(".")
    assert getattr(getattr(job.config, group), name) == TAKEN[word]
    again = read_request(Command.read(request.commands[0].line).words)  # as sweep.json keeps it
    assert again is not None
    assert again.jobs == request.jobs
    alone = read_request(Command.read(run_command(job.overrides, job.folder, None)).words)  # as run.json keeps it
    assert alone is not None
    assert [(one.config, one.folder) for one in alone.jobs] == [(job.config, job.folder)]


def test_each_value_of_a_sweep_is_quoted_where_it_must_be() -> None:
    request = read_request(["-m", "data=folder", "data.root=x", "data.target=St. John's,paris,東京", "sweep.name=s"])
    assert request is not None
    assert [job.config.data.target for job in request.jobs] == ["St. John's", "paris", "東京"]


@example("\\${")
@example("\\\\${x}\\")
@given(hypothesis.strategies.text(hypothesis.strategies.characters(exclude_categories=["Cs"])))
def test_quoted_is_exactly_the_text(text: str) -> None:
    override = parse_override(f"x={quoted(text)}")
    assert override is not None
    assert OmegaConf.create({"x": override.value()}).x == text


@given(hypothesis.strategies.text(hypothesis.strategies.characters(exclude_categories=["Cs", "Cc"], codec="utf-8")))
def test_any_text_is_read_as_itself_or_refused(text: str) -> None:
    try:
        override = parse_override(readable(f"data.target={text}"))
    except CitycamError:
        return
    assert override is not None
    if not override.is_sweep_override():
        kept = {text, text.strip(), text.strip()[1:-1]}
        assert override.value() is None or str(override.value()) in kept or "\\" in text


def test_relative_paths_start_where_the_command_was_given(
    train: Callable[..., Outcome], cities: Path, tmp_path: Path
) -> None:
    (tmp_path / "St. John's (2020)").symlink_to(cities)
    words = ["data.root=St. John's (2020)", "hydra.job.chdir=True", "explain=none"]
    outcome = train(*words, "seed=0,1", multirun=True)
    assert outcome.code == 0, outcome.err
    assert len(outcome.runs) == 2
    for again in (train(*words, "seed=0,1", multirun=True), train(f"sweep.resume={outcome.results}", small=False)):
        assert again.code == 0, again.err
        assert "2 runs, 2 of them done before" in again.err
