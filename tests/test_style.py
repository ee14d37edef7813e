"""What CONTRIBUTING.md asks of the sources and ruff and mypy do not hold: sizes, docstrings, names and words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests import structure
from tests.conftest import ROOT

PACKAGE = list(structure.modules().values())
SCRIPTS = [ROOT / "train.py", ROOT / "explain.py", *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "docs").glob("*.py")]
SOURCES = [*PACKAGE, *sorted(SCRIPTS)]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LINES_OF_A_FUNCTION = 50
LINES_OF_A_FILE = 400
# In no docstring, comment or sentence of the package.
PHRASES = ("gone on with", "asked for again", "whoever", "from here on this process")


def assert_none(faults: Iterable[str]) -> None:
    """Fail with all faults, a line each."""
    lines = list(faults)
    assert not lines, "\n".join(["", *lines])


def place(path: Path, node: ast.expr | ast.stmt | ast.arg) -> str:
    """``citycam/files.py:82``, for editors to follow."""
    return f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"


def test_functions_are_short() -> None:
    functions = [
        (path, function) for path in [*SOURCES, *TESTS] for function in structure.functions(structure.parse(path))
    ]
    assert_none(
        f"{place(path, function)} {function.name}: {structure.length(function)} lines"
        for path, function in functions
        if structure.length(function) > LINES_OF_A_FUNCTION
    )


def test_files_are_short() -> None:
    counts = {path: path.read_text(encoding="utf-8").count("\n") for path in [*SOURCES, *TESTS]}
    assert_none(f"{path.relative_to(ROOT)}: {count} lines" for path, count in counts.items() if count > LINES_OF_A_FILE)


def public(node: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Public functions, classes and their methods; not the stubs of a protocol, which its own docstring describes."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name[0] != "_":
            if ast.unparse(child.body[-1]) != "...":
                yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


def test_public_names_have_docstrings() -> None:
    assert_none(
        f"{place(path, node)} {node.name}"
        for path in PACKAGE
        for node in public(structure.parse(path))
        if not ast.get_docstring(node)
    )


def test_names_say_what_they_hold() -> None:
    """``found`` says only where a value came from."""
    nodes = [(path, node) for path in SOURCES for node in ast.walk(structure.parse(path))]
    assert_none(
        place(path, node)
        for path, node in nodes
        if (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "found")
        or (isinstance(node, ast.arg) and node.arg == "found")
    )


def test_english_is_plain() -> None:
    assert_none(
        f"{path.relative_to(ROOT)}: {phrase}" for path in PACKAGE for phrase in PHRASES if phrase in words_of(path)
    )


def words_of(path: Path) -> str:
    """A file in one line and small letters, without the marks between the parts of a comment or string."""
    text = re.sub(r'"\s+f?"|#', " ", path.read_text(encoding="utf-8"))
    return " ".join(text.lower().split())
