"""Imports go one way, heavy ones wait until they are needed, and names are registered once."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from citycam import config

PACKAGE = Path(config.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Each may import those of lower rank, and itself. Those of rank 2 do not know each other.
RANKS = {"errors": 0, "config": 1, "files": 1, "seeds": 1, "statistics": 1, "progress": 1, "shards": 1}
RANKS |= {"names": 1, "compose": 1, "processes": 1}
RANKS |= {"data": 2, "model": 2, "sweep": 2, "report": 2, "bank": 3, "explain": 4, "cli": 6}
LAST_STEPS = 5  # run, prepare, pretrain, predict, export and whatever stands beside them
# Only these know these libraries.
ALONE = {"timm": "model/backbone.py", "pytorch_grad_cam": "explain/methods.py"}
HEAVY = {"torch", "torchvision", "timm", "matplotlib", "scipy", "sklearn", "pytorch_lightning", "torchmetrics", "cv2"}
LIGHT = ["errors", "config", "files", "seeds", "statistics", "progress", "names", "gate", "compose", "report", "sweep"]
LIGHT += ["shards", "cli", "processes", "continued", "launch", "sharing"]


def imported(tree: ast.AST) -> set[str]:
    """Modules that a syntax tree imports, wherever it does."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names if node.module == "citycam"}
    return {name for name in found if name}


def part(path: Path) -> str:
    """``data`` for citycam/data/splits.py, ``files`` for citycam/files.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    names, own = imported(ast.parse(path.read_text(encoding="utf-8"))), part(path)
    for other in {name.split(".")[1] for name in names if name.startswith("citycam.")} - {own}:
        below = RANKS.get(other, LAST_STEPS) < RANKS.get(own, LAST_STEPS)
        beside = RANKS.get(other, LAST_STEPS) == RANKS.get(own, LAST_STEPS) in (1, LAST_STEPS)
        assert below or beside, f"{own} may not import {other}"
    for library, home in ALONE.items():
        if path.relative_to(PACKAGE).as_posix() != home:
            assert library not in {name.split(".")[0] for name in names}, f"only {home} knows {library}"


@pytest.mark.parametrize("name", [name for name in LIGHT if any(part(path) == name for path in FILES)])
def test_light_modules_import_nothing_heavy(name: str) -> None:
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if part(path) == name
    ]
    code = f"import sys, {', '.join(modules)}; print(*{{name.split('.')[0] for name in sys.modules}} & {HEAVY!r})"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == []


@pytest.mark.parametrize(
    ("table", "module", "registry"),
    [
        (config.OPTIMIZERS, "citycam.model.optimizers", "OPTIMIZERS"),
        (config.HEADS, "citycam.model.head", "HEADS"),
        (config.METHODS, "citycam.explain.methods", "METHODS"),
        ([kind.name for kind in config.SplitKind if kind.name != "auto"], "citycam.data.splits", "SPLITS"),
    ],
)
def test_name_tables_equal_registries(table: list[str], module: str, registry: str) -> None:
    assert set(table) == set(getattr(import_module(module), registry))
