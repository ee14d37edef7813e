"""Imports go one way, heavy ones wait until they are needed, and names are registered once."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from citycam import config, explain_config
from tests import structure

# The packages in the order of the way of a picture, each with those that it may know. All know the root.
KNOWS: dict[str, set[str]] = {
    "root": set(),
    "data": set(),
    "model": set(),
    "sweep": set(),
    "report": {"sweep"},
    "bank": {"data", "model"},
    "explain": {"bank", "data", "model", "report"},
    "train": {"bank", "data", "explain", "model", "report", "sweep"},
    "inference": {"bank", "data", "explain", "model", "sweep"},
    "selfcheck": {"bank", "data", "explain", "inference", "model", "report", "sweep", "train"},
    "study": {"bank", "data", "explain", "inference", "model", "report", "sweep"},
    "jobs": {"bank", "data", "explain", "model", "report", "sweep", "train"},
    "frames": {"report", "sweep"},
    "cli": {"bank", "data", "explain", "inference", "jobs", "model", "report", "selfcheck", "study", "sweep", "train"},
}
GROUND = {
    "cells",
    "config",
    "devices",
    "doors",
    "errors",
    "explain_config",
    "files",
    "processes",
    "progress",
    "resolved",
    "seeds",
    "shards",
    "study_config",
}
GROUND |= {"statistics", "words"}
# Only these know these libraries.
ALONE = {"timm": "model/backbone.py", "pytorch_grad_cam": "explain/methods.py"}
# Libraries that take time to import, with those that they import in turn.
SLOW: dict[str, set[str]] = {
    "hydra": {"omegaconf", "yaml"},
    "joblib": set(),
    "lightning_fabric": {"torch", "numpy"},
    "matplotlib": {"numpy", "PIL"},
    "numpy": set(),
    "omegaconf": {"yaml"},
    "PIL": set(),
    "pytorch_grad_cam": {"torch", "torchvision", "cv2", "matplotlib", "scipy", "sklearn", "numpy", "PIL"},
    "pytorch_lightning": {"lightning_fabric", "torch", "torchmetrics", "numpy", "yaml"},
    "rich": set(),
    "safetensors": {"numpy"},
    "scipy": {"numpy"},
    "timm": {"torch", "torchvision", "safetensors", "huggingface_hub", "yaml", "numpy", "PIL"},
    "torch": {"numpy"},
    "torchmetrics": {"torch", "numpy"},
    "torchvision": {"torch", "numpy", "PIL"},
    "yaml": set(),
    "huggingface_hub": {"yaml"},
}
# Installed by an extra, or not on every system.
OPTIONAL = {"onnx", "onnxruntime", "pandas", "pillow_heif", "resource"}
# Tables that are the same for ever. All else that a process keeps goes through `citycam.processes.remember`.
TABLES = {"data.views._stream_name", "model.backbone.layout", "report.overlay._table", "report.overlay.font"}
TABLES |= {"train.resume._sources", "model.stage_grid.stage_grid"}
# What a process that only looks at a request must not wait for.
HEAVY = {"torch", "torchvision", "timm", "matplotlib", "scipy", "sklearn", "pytorch_lightning", "torchmetrics", "cv2"}
LIGHT = ["citycam.jobs.launch", "citycam.jobs.sharing", "citycam.inference.request"]

MODULES = structure.modules()


def light_modules() -> list[str]:
    """Modules that load nothing heavy, whole packages among them."""
    packages = ("root", "sweep", "report")
    whole = [name for name in MODULES if structure.package_of(name, set(MODULES)) in packages]
    return [*whole, *(name for name in MODULES if name.startswith("citycam.cli.")), *LIGHT]


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name: str) -> None:
    own = structure.package_of(name, set(MODULES))
    others = {structure.package_of(other, set(MODULES)) for other in structure.graph(with_late=True)[name]}
    assert others - {own, "root"} <= KNOWS[own]


def test_packages_know_only_those_before_them() -> None:
    order = list(KNOWS)
    assert set(order) == {structure.package_of(name, set(MODULES)) for name in MODULES}
    for number, (package, others) in enumerate(KNOWS.items()):
        assert others <= set(order[:number]), package


def test_no_file_is_part_of_a_circle() -> None:
    assert structure.circles(structure.graph(with_late=True)) == []


def test_only_ground_lies_at_the_root() -> None:
    package = structure.PACKAGE
    assert {path.stem for path in package.glob("*.py")} == GROUND | {"__init__"}


@pytest.mark.parametrize("library", ALONE)
def test_one_file_knows_a_library(library: str) -> None:
    users = {name for name, path in MODULES.items() if library in libraries(path)}
    assert {MODULES[name].relative_to(structure.PACKAGE).as_posix() for name in users} == {ALONE[library]}


def test_a_process_keeps_only_tables_beside_what_it_can_forget() -> None:
    kept = set()
    for name, path in MODULES.items():
        for node in structure.parse(path).body:
            if isinstance(node, ast.FunctionDef) and any("cache" in ast.unparse(one) for one in node.decorator_list):
                kept.add(f"{name.removeprefix('citycam.')}.{node.name}")
    assert kept == TABLES


def test_one_file_knows_what_hydra_does_not_promise() -> None:
    names = ("hydra._internal", "GlobalHydra", "OverridesParser", "._get_node")
    users = [name for name, path in MODULES.items() if any(one in path.read_text(encoding="utf-8") for one in names)]
    assert users == ["citycam.sweep.hydra_internals"]


def libraries(path: Path) -> set[str]:
    """Other people's libraries that a file names, wherever it does."""
    tree = structure.parse(path)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name for node in nodes for name in structure.imported(node, MODULES) if name not in MODULES}


@functools.cache
def waits_for(name: str) -> frozenset[str]:
    """Slow libraries that are loaded with a module of ours."""
    slow: set[str] = set()
    for node in structure.top_level(structure.parse(MODULES[name])):
        for other in structure.imported(node, MODULES):
            slow |= costs(other)
    return frozenset(slow)


def costs(other: str) -> frozenset[str]:
    """Slow libraries that are loaded with a module of ours or with a library."""
    if other in MODULES:
        return waits_for(other)
    return frozenset({other, *SLOW[other]}) if other in SLOW else frozenset()


@pytest.mark.parametrize("name", MODULES)
def test_an_import_is_late_only_to_save_time_or_for_an_extra(name: str) -> None:
    for node in structure.late(structure.parse(MODULES[name])):
        for other in structure.imported(node, MODULES) - OPTIONAL:
            assert costs(other) - waits_for(name), f"{ast.unparse(node)} in {name}, line {node.lineno}"


def test_light_modules_import_nothing_heavy() -> None:
    code = (
        f"import sys, {', '.join(light_modules())}; print(*{{name.split('.')[0] for name in sys.modules}} & {HEAVY!r})"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == []


@pytest.mark.parametrize(
    ("table", "module", "registry"),
    [
        (config.OPTIMIZERS, "citycam.model.optimizers", "OPTIMIZERS"),
        (config.HEADS, "citycam.model.head", "HEADS"),
        (explain_config.CELL_METHODS, "citycam.explain.methods", "METHODS"),
        (explain_config.PICTURE_METHODS, "citycam.explain.whole", "WHOLE_METHODS"),
        (explain_config.BASELINES, "citycam.explain.integrated", "BASELINES"),
        (explain_config.SCORES, "citycam.explain.scores.make", "SCORES"),
        (list(config.SCHEMAS["data"]), "citycam.data.sources", "SOURCES"),
        ([kind.name for kind in config.SplitKind if kind.name != "auto"], "citycam.data.splits", "SPLITS"),
    ],
)
def test_name_tables_equal_registries(table: list[str], module: str, registry: str) -> None:
    assert set(table) == set(getattr(import_module(module), registry))
