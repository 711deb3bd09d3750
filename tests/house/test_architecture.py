"""The shape of the source: arrows point down, no cycle, small files, torch only where it belongs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

SRC = Path(__file__).parents[2] / "src" / "fanin"

# From top to bottom: a module may import its own row and the rows below, never a row above.
RANKS = [
    {"__main__"},
    {"cli"},
    {"demo"},
    {"report"},
    {"integrations"},
    {"auditing", "checking", "coordinates", "data_driven", "race", "drawing"},
    {"counting", "checkpoints", "loading", "vocabulary", "heads", "adapters", "growth", "conversion", "resuming"}
    | {"parametrizations"},
    {"torch"},
    {"plans"},
    {"pages", "mean_field"},
    {"recipes"},
    {"graph"},
    {"names"},
    {"weights"},
    {"data"},
    {"models"},
    {"schemes"},
    {"gains"},
    {"initializers"},
    {"axes"},
    {"random"},
    {"text_table"},
    {"errors"},
]
# What the command needs beside the public names: files written whole or not at all, weights put into a model, digits.
ALSO_PUBLIC = {"fanin.weights.atomic", "fanin.torch.files", "fanin.torch.statistics", "fanin.data.mnist"}
MAY_IMPORT_TORCH = {"torch", "models", "data", "counting", "race", "checking", "demo", "cli", "checkpoints"} | {
    "loading",
    "vocabulary",
    "heads",
    "adapters",
    "growth",
    "conversion",
    "resuming",
    "parametrizations",
    "auditing",
    "coordinates",
    "data_driven",
    "drawing",
    "integrations",
}
LONGEST_FILE = 350
MEDIAN_FILE = 150


def rank(module: str) -> int:
    """The row of `fanin.part.…`; higher is further up."""
    part = module.split(".")[1]
    for row, parts in enumerate(RANKS):
        if part in parts:
            return len(RANKS) - row
    raise AssertionError(f"{module} has no place in the ranks of the architecture: add it to RANKS")


def name_of(path: Path) -> str:
    return ".".join(["fanin", *path.relative_to(SRC).with_suffix("").parts]).removesuffix(".__init__")


FILES = {name_of(path): path for path in sorted(SRC.rglob("*.py"))}
PARTS = sorted(name for name in FILES if name != "fanin")


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def imported(name: str) -> Iterator[str]:
    """Every module that `name` imports, at the top, in functions and under TYPE_CHECKING alike."""
    package = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            for alias in node.names:
                child = f"{source}.{alias.name}"
                yield child if child in FILES else source


def inside(name: str) -> set[str]:
    """The modules of fanin that `name` imports."""
    return {module for module in imported(name) if module in FILES and module not in {"fanin", name}}


@pytest.mark.parametrize("name", PARTS)
def test_imports_point_only_downwards(name: str) -> None:
    upwards = sorted(module for module in inside(name) if rank(module) > rank(name))
    assert not upwards, f"{name} imports {upwards}, which stand above it"


def test_no_import_cycle() -> None:
    # A package's __init__ re-exports its own files: that arrow is the package, not a dependency of the file on it.
    graph = {name: {module for module in inside(name) if not name.startswith(f"{module}.")} for name in PARTS}
    TopologicalSorter(graph).prepare()  # raises CycleError, naming the cycle


@pytest.mark.parametrize("name", PARTS)
def test_torch_is_imported_only_where_it_belongs(name: str) -> None:
    if name.split(".")[1] not in MAY_IMPORT_TORCH:
        assert not [module for module in imported(name) if module.split(".")[0] == "torch"]


@pytest.mark.parametrize("name", [name for name in PARTS if name.startswith("fanin.cli.")])
def test_the_command_uses_public_names_and_reports_only(name: str) -> None:
    foreign = {module for module in inside(name) if not module.startswith(("fanin.cli", "fanin.demo", "fanin.report"))}
    private = {module for module in foreign if module.count(".") > 1} - ALSO_PUBLIC
    assert not private, f"{name} reaches into {private}"


def test_no_file_is_long_and_most_are_short() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in FILES.items()}
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}
    assert median(lines.values()) <= MEDIAN_FILE


@pytest.mark.parametrize("name", PARTS)
def test_no_assert_meets_users(name: str) -> None:
    asserts = [node.lineno for node in ast.walk(tree_of(name)) if isinstance(node, ast.Assert)]
    assert not asserts, f"{name} asserts in lines {asserts}: raise an error from fanin.errors"
