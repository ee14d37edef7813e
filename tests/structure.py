"""The shape of the source tree in numbers: python tests/structure.py [FOLDER OF THE PACKAGE]"""

from __future__ import annotations

import ast
import functools
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "citycam"


@functools.cache
def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Dotted name to file, of every module."""
    parts = {path: path.relative_to(package.parent).with_suffix("").parts for path in sorted(package.rglob("*.py"))}
    return {".".join(name).removesuffix(".__init__"): path for path, name in parts.items()}


@functools.cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run at import, but for those that only a type checker reads."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function, methods and inner ones included."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, docstring included, the line of ``def`` not."""
    return (function.end_lineno or function.lineno) - function.lineno


def late(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports inside functions."""
    for function in functions(tree):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node


def imported(node: ast.stmt, known: set[str] | dict[str, Path]) -> set[str]:
    """What a statement imports: our modules by their full names, other libraries by their first."""
    if isinstance(node, ast.Import):
        names = {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        longer = {f"{node.module}.{alias.name}" for alias in node.names}
        names = {name if name in known else str(node.module) for name in longer}
    else:
        return set()
    return {name if name in known else name.partition(".")[0] for name in names}


@functools.cache
def graph(package: Path = PACKAGE, *, with_late: bool = False) -> dict[str, set[str]]:
    """Which modules of ours each module imports at its top level, and ``with_late`` also in functions."""
    known = modules(package)
    edges = {}
    for name, path in known.items():
        nodes = [*top_level(parse(path)), *(late(parse(path)) if with_late else ())]
        edges[name] = {other for node in nodes for other in imported(node, known) if other in known} - {name}
    return edges


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that import each other in a round."""
    reach = {name: _reach(name, edges) for name in edges}
    rounds = {frozenset({name} | {other for other in reach[name] if name in reach[other]}) for name in edges}
    return [set(names) for names in rounds if len(names) > 1 or next(iter(names)) in reach[next(iter(names))]]


def longest_chain(edges: dict[str, set[str]]) -> int:
    """Modules in the longest chain of imports; a circle counts once."""

    @functools.cache
    def length(name: str, seen: frozenset[str]) -> int:
        return 1 + max((length(other, seen | {name}) for other in edges[name] if other not in seen), default=0)

    sys.setrecursionlimit(10_000)
    return max(length(name, frozenset()) for name in edges) if not circles(edges) else 0


def _reach(start: str, edges: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += edges[name]
    return reached


def main(package: Path) -> None:
    """Print the numbers."""
    known = modules(package)
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in known.items()}
    root = [name for name, path in known.items() if path.parent == package and path.stem != "__init__"]
    packages = {name.split(".")[1] for name, path in known.items() if path.parent != package}
    total = sum(lines.values())
    share = sum(lines[name] for name in root) / total
    print(f"{len(root)} modules at the root beside {len(packages)} packages, with {share:.0%} of {total} lines")
    every = graph(package, with_late=True)
    rounds = circles(every)
    print(f"{len(rounds)} circles of files")
    floors = graph_of_packages(every)
    print(f"{len(circles(floors))} circles of packages, {longest_chain(floors)} floors of packages")
    print(f"longest chain of imports: {longest_chain(graph(package))} files")
    print(f"{sum(len(list(late(parse(path)))) for path in known.values())} imports inside functions")
    lengths = sorted(length(function) for path in known.values() for function in functions(parse(path)))
    nines = lengths[int(0.9 * len(lengths))]
    print(f"{len(lengths)} functions: median {statistics.median(lengths):g} lines, p90 {nines}, longest {lengths[-1]}")
    print(f"longest file: {max(lines.values())} lines")


def graph_of_packages(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same between packages; what lies at the root is ``root``."""
    floors: dict[str, set[str]] = {}
    for name, others in edges.items():
        floors.setdefault(package_of(name, edges), set()).update(package_of(other, edges) for other in others)
    return {name: others - {name} for name, others in floors.items()}


def package_of(name: str, known: set[str] | dict[str, set[str]]) -> str:
    """``data`` for citycam.data.splits; ``root`` for citycam.files."""
    second = name.split(".")[1] if "." in name else ""
    is_package = any(other.startswith(f"citycam.{second}.") for other in known)
    return second if second and is_package else "root"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
