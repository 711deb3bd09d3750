"""The public surface is a tested list, documented, and cheap to import."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from types import ModuleType

import pytest

import fanin

STUB = Path(fanin.__file__).with_suffix(".pyi")
VERBS = [
    *("audit", "capture", "check", "compare", "count", "initialize", "keep", "load", "materialize", "module_init"),
    "open_weights",
    *("plan", "save", "write", "convert"),
    *("extend_vocabulary", "new_head", "reinitialize_last"),
    "initialize_adapters",
    "lsuv",
    *("coord_check", "parametrize"),
    "draw",
]
PUBLIC_MODULES = [
    "adapters",
    "data",
    "data_driven",
    "gains",
    "growth",
    "initializers",
    "models",
    "models.architecture",
    "parametrizations",
    "race",
    "recipes",
    "resuming",
    "schemes",
    "torch.init",
]
NEEDS_NO_EXAMPLE = {"__version__"}


def stub_names() -> list[str]:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    imported = [
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    declared = [
        node.target.id for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return sorted([*imported, *declared])


def test_all_is_the_stub() -> None:
    literal = next(
        ast.literal_eval(node.value)
        for node in ast.parse(STUB.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    )
    assert sorted(literal) == stub_names()
    assert {*fanin.__all__, "__version__"} == set(literal)


@pytest.mark.parametrize("name", fanin.__all__)
def test_public_name_can_be_had(name: str) -> None:
    assert getattr(fanin, name) is not None
    assert name in dir(fanin)


@pytest.mark.parametrize("name", [name for name in fanin.__all__ if name not in NEEDS_NO_EXAMPLE])
def test_public_name_is_documented(name: str) -> None:
    thing = getattr(fanin, name)
    text = thing.__doc__ or ""
    assert text.strip(), f"fanin.{name} has no docstring"
    if not isinstance(thing, ModuleType) and not is_error(thing):
        assert ">>>" in text, f"the docstring of fanin.{name} has no example"


def is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Exception)


def names_of(module: ModuleType) -> list[str]:
    """What a public module offers: its `__all__`, else all that is defined in it or its files."""
    own = (name for name, thing in vars(module).items() if getattr(thing, "__module__", "").startswith(module.__name__))
    return list(getattr(module, "__all__", [name for name in own if not name.startswith("_")]))


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_public_module_documents_its_names(module: str) -> None:
    loaded = importlib.import_module(f"fanin.{module}")
    assert loaded.__doc__
    assert names_of(loaded)
    missing = [name for name in names_of(loaded) if not (getattr(loaded, name).__doc__ or "").strip()]
    assert not missing, f"fanin.{module} has names without a docstring: {missing}"


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_public_functions_show_an_example(module: str) -> None:
    loaded = importlib.import_module(f"fanin.{module}")
    things = {name: getattr(loaded, name) for name in names_of(loaded)}
    renamed = {name for name in things if f"{name}_" in things}  # torch's old names, each told by the new one
    told = {name: thing.__doc__ or "" for name, thing in things.items() if callable(thing) and name not in renamed}
    bare = [name for name, text in told.items() if ">>>" not in text]
    assert not bare, f"fanin.{module} has names without an example: {bare}"


def test_a_verb_stays_a_verb_after_every_module_is_imported() -> None:
    script = f"""
import fanin, importlib, pkgutil, sys
for module in pkgutil.walk_packages(fanin.__path__, "fanin."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
wrong = [name for name in {VERBS} if not callable(getattr(fanin, name))]
sys.exit(f"not callable any more: {{wrong}}" if wrong else 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        fanin.nonsense  # noqa: B018


def test_import_is_cheap() -> None:
    script = "import fanin, sys; print(sorted({'torch', 'numba', 'numpy', 'rich', 'click'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_help_answers_within_half_a_second() -> None:
    def once() -> float:
        start = perf_counter()
        subprocess.run([sys.executable, "-m", "fanin", "--help"], check=True, capture_output=True, timeout=60)
        return perf_counter() - start

    assert min(once() for _ in range(3)) < 0.5


def test_help_loads_nothing_heavy() -> None:
    script = """
import sys
from fanin.cli import run
run(["--help"])
heavy = {"torch", "numba", "numpy", "rich"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)


def modules() -> list[str]:
    return ["fanin", *(module.name for module in pkgutil.walk_packages(fanin.__path__, "fanin."))]


def test_every_module_says_what_it_is_for() -> None:
    silent = [name for name in modules() if not name.endswith("__main__") and not importlib.import_module(name).__doc__]
    assert not silent
