"""Command lines with hostile words: each becomes a request, or one sentence and exit code 2."""

from __future__ import annotations

import dataclasses
import random
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import pytest

from citycam.config import SCHEMAS, Config
from citycam.sweep.command import Command, run_command
from citycam.sweep.compose import CONF
from citycam.sweep.gate import Request, read_request
from tests.conftest import reset_hydra
from tests.mutations.mutate import HOSTILE, batches, each, hold

GRAMMAR = [*"=,:;'\"()[]{}$~+@#!?*\\/|&<>%^-_. \t`", "${", "}", "\\'", "''", "[]", "{}", "???", "${}"]
WORDS = [
    "Zürich", "東京", "St. John's", "/Photos (2020)", "~/photos", r"^(walk\d+)_[a-z]{2,4}/", "a,b", "größe", "א", "😀",
    "e\u0301", "true", "null", "None", "NaN", "-inf", "1e400", "007", "2026_11_25", "1_000", "0x10", "'", '"', "=",
    "'a' b'", "[a", "a]", "(", "{a:b}", "[1,2]", "[[1]]", "a:b", "a=b", "C:\\x\\", "\u200b", "\u00a0", "x" * 300,
    "é" * 200, "9" * 4400, "range(0,3)", "range(5,0)", "range(0,1000000000)", "range(0,1,0)", "range(nan,1)", "glob(*)",
    "glob(", "interval(0,1)", "choice(a,b)", "choice()", "shuffle(range(3))", "sort(3,1,2)", "int(3.5)", "str([1])",
    "json_str(x)", "tag(a,b)", "foo(1)", "${seed}", "${oc.env:HOME}", "${oc.env:NOT_SET_ANYWHERE}", "${nothing}",
    "${nothing:}", "${..seed}", "${", "\\${x}", "${citycam.run_folder:}", "${oc.decode:x}", "${hydra:runtime.cwd}",
    "${now:%Y}", "${oc.create:{a:b}}",
]  # fmt: skip
FLAGS = [
    "-m",
    "--multirun",
    "-m -m",
    "--cfg job",
    "--cfg",
    "--help",
    "--info",
    "-x",
    "--",
    "--resolve",
    "--config-dir x",
]
HYDRA = [
    "hydra", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra/launcher", "hydra.launcher.n_jobs",
    "hydra.launcher._target_", "hydra.sweeper.params", "hydra/sweeper", "hydra.mode", "hydra.job.chdir",
    "hydra.searchpath", "hydra.output_subdir", "hydra.callbacks.x._target_", "hydra.overrides.task",
    "hydra/job_logging", "hydra.runtime.cwd", "hydra.job.env_set.X", "hydra.", "hydra/", "hydra.run", "hydra.launcher",
]  # fmt: skip
PREFIXES = ("+", "++", "~", "+++", "~+", "-")
AROUND = ("{}.x", "{}x", "x.{}", "{}@x", "x@{}", "x/{}", "{}/x", "{}.", ".{}", " {}", "{} ", "ü{}")


def settings() -> list[str]:
    """Every setting that there is, by its name on the command line."""
    names = []
    for name, kind in typing.get_type_hints(Config).items():
        names.append(name)
        for schema in (kind, *SCHEMAS.get(name, {}).values()):
            if dataclasses.is_dataclass(schema):
                names += [f"{name}.{field.name}" for field in dataclasses.fields(schema)]
    return names


SETTINGS = settings()
EXPLAIN = [name for name in SETTINGS if name.startswith("explain.")]
OPTIONS = [f"{path.parent.name}={path.stem}" for path in sorted(CONF.glob("*/*.yaml"))]


def value(rng: random.Random) -> str:
    """A value: a plausible one, a hostile one, or several of them joined as a sweep, a list, or nonsense."""
    kind = rng.randrange(9)  # the last kinds are words
    if kind == 0:
        return "".join(rng.choices(GRAMMAR, k=rng.randint(1, 6)))
    if kind == 1:
        return "".join(rng.choices([*GRAMMAR, "a", "1", "ü"], k=rng.randint(2, 12)))
    if kind == 2:
        return str(rng.choice(HOSTILE))
    if kind == 3:
        return ",".join(value(rng) for _ in range(rng.randint(2, 3)))
    if kind == 4:
        return rng.choice(("[{}]", "{{{}}}", "'{}'", '"{}"', "({})", "${{{}}}", "x({})", "\\{}")).format(value(rng))
    if kind == 5:
        return rng.choice(("0", "1", "2", "0.5", "auto", "none", "1,2", "cam", "city", "x"))
    return rng.choice(WORDS)


def word(rng: random.Random) -> str:
    """An override, mostly of a setting that there is."""
    kind = rng.randrange(10)
    if kind == 0:
        return rng.choice(OPTIONS)
    if kind == 1:
        return value(rng)
    key = rng.choice(HYDRA) if kind == 2 else rng.choice(SETTINGS)
    if kind == 3:
        key = rng.choice(AROUND).format(key)
    if kind == 4:
        key = key.rpartition(".")[2]
    if kind == 5:
        key = f"{rng.choice(PREFIXES)}{key}"
    return f"{key}{rng.choice(('=', '=', '=', '=', '=', '', '==', ' = '))}{value(rng)}"


def line(rng: random.Random) -> list[str]:
    """The words of a command line."""
    words = [word(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    if rng.random() < 0.4:
        words.insert(rng.randrange(len(words) + 1), "-m")
    if rng.random() < 0.1:
        place = rng.randrange(len(words) + 1)
        words[place:place] = rng.choice(FLAGS).split()
    return words


@pytest.fixture
def ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[random.Random], None]:
    """Give a command line to a door that stops before any work; what it says is one sentence."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("citycam.jobs.launch.answer", lambda _arguments: None)
    monkeypatch.setattr("citycam.jobs.prepare.prepare", _stop)
    import explain
    import train

    def call(rng: random.Random) -> None:
        words = line(rng)
        door = train
        if rng.random() < 0.15:
            door = explain
            words = ["run=nowhere", *(f"{rng.choice(EXPLAIN)}={value(rng)}" for _ in range(rng.choice((1, 1, 2))))]
        reset_hydra()
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["train.py" if door is train else "explain.py", *words])
        try:
            code = door.main()
        except _Stopped as stopped:
            code = 0
            check_again(stopped.request)
        said = capsys.readouterr().err
        hold(code, said, allowed=(0, 2))
        if code == 2:
            assert said.startswith("citycam: "), (words, said)
            assert said.count("\n") == 1, (words, said)
            assert not any(name in said for name in ("OmegaConf", "Exception", "Error", "DictConfig")), (words, said)
        assert not any(tmp_path.iterdir()), words

    return call


class _Stopped(BaseException):
    """The gate let a request through."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


def _stop(request: Request) -> None:
    raise _Stopped(request)


def check_again(request: Request) -> None:
    """The commands that sweep.json would keep, and those that run.json would, give the same jobs."""
    jobs = {job.folder: job for job in request.jobs}
    for command in request.commands:
        again = read_request(Command.read(command.line).words)
        assert again is not None
        assert {job.folder: job for job in again.jobs} == jobs, command.line
    job = request.jobs[-1]
    alone = read_request(Command.read(run_command(job.overrides, job.folder, job.config_dir)).words)
    assert alone is not None
    assert [(one.folder, one.config) for one in alone.jobs] == [(job.folder, job.config)], job.overrides


@pytest.mark.parametrize("seeds", batches(default=200, slow=1000))
def test_a_hostile_command_line_is_a_request_or_one_sentence(
    seeds: range, ask: Callable[[random.Random], None]
) -> None:
    each(seeds, ask)
