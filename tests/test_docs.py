"""What the docs say is what there is."""

from __future__ import annotations

import doctest
import functools
import re
import runpy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from citycam.errors import CitycamError
from tests import structure
from tests.conftest import ROOT
from tests.test_imports import GROUND, KNOWS

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Read and not imported: pytest's own --doctest-modules imports every module, torch and all, before the first test.
EXAMPLES = [name for name, path in structure.modules().items() if ">>> " in path.read_text(encoding="utf-8")]


def test_the_settings_page_is_that_of_conf() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "settings.py"))["page"]()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page, "run python docs/settings.py"


def test_the_settings_page_shows_what_hydra_composes() -> None:
    from hydra import compose
    from omegaconf import OmegaConf

    from citycam.sweep.compose import hydra_on_conf, register

    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \|", page, flags=re.MULTILINE)
    assert len(rows) > 60
    register()
    with hydra_on_conf(None):

        @functools.cache
        def settings(*chosen: str) -> dict[str, Any]:
            return dict(yaml.safe_load(OmegaConf.to_yaml(compose("config", list(chosen)))))

        def value(name: str, *chosen: str) -> Any:
            return functools.reduce(lambda above, key: above[key], name.split("."), settings(*chosen))

        for name, cell in rows:
            for text, options in re.findall(r"`([^`]*)`(?: \(([\w, ]+)\))?", cell):
                for option in options.split(", "):
                    chosen = [f"{name.partition('.')[0]}={option}"] if option else []
                    assert value(name, *chosen) == yaml.safe_load(text), (name, text, option)


def test_contributing_has_a_line_for_every_package_and_ground_module() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = {f"| `{package}/` |" for package in KNOWS if package != "root"} | {f"| `{name}.py` |" for name in GROUND}
    assert {name for name in names if name not in text} == set()


def test_files_named_in_contributing_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = {name for name in re.findall(r"`((?:\w+/)*\w+\.(?:html|js|md|py))`", text) if "NAME" not in name}
    assert len(names) > 50
    places = (ROOT, ROOT / "citycam", ROOT / "tests")
    assert {name for name in names if not any((place / name).exists() for place in places)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_docs_pass_the_gate(page: Path) -> None:
    from citycam.sweep.gate import read_request

    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^ {4}(?:\S*/)?(?:python train\.py|citycam train)([^\n#]*)", text, flags=re.MULTILINE)
    if page.name == "README.md":
        assert len(commands) >= 2
    for arguments in commands:
        words = arguments.replace("…", "").split()
        if "--config-dir" in words:
            with pytest.raises(CitycamError, match=r"MINE cannot be read"):  # that folder is a reader's
                read_request(words)
            continue
        if any(word.startswith("sweep.resume=") for word in words):
            with pytest.raises(CitycamError, match=r"holds no sweep\.json"):  # that folder is a reader's
                read_request(words)
            continue
        assert read_request(words) is not None


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings_give_what_they_say(name: str) -> None:
    failed, tried = doctest.testmod(import_module(name))
    assert tried
    assert not failed
