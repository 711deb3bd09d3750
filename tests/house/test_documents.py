"""Every example that a person can read runs: docstrings, README, docs, CONTRIBUTING, examples."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import runpy
from pathlib import Path

import pytest

import fanin
from fanin.cli import run

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
# Examples for torchrun are run by it, in tests/distributed.
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if not path.stem.endswith("_torchrun"))
MODULES = [name for _, name, _ in pkgutil.walk_packages(fanin.__path__, "fanin.") if not name.endswith("__main__")]
SESSIONS = runpy.run_path(str(ROOT / "tools" / "sessions.py"))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(path: Path, language: str) -> list[str]:
    """The fenced code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def having(language: str) -> list[Path]:
    return [path for path in DOCUMENTS if blocks(path, language)]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=FLAGS).failed == 0


@pytest.mark.parametrize("path", having("python"), ids=lambda path: path.name)
def test_python_in_documents_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parser, runner, names = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=FLAGS), {"__name__": "document"}
    for number, code in enumerate(blocks(path, "python")):
        if ">>>" in code:
            runner.run(parser.get_doctest(code, names, f"{path.name}[{number}]", str(path), 0), clear_globs=False)
        else:
            exec(compile(code, f"{path.name}[{number}]", "exec"), names)
    assert runner.failures == 0


@pytest.mark.parametrize("path", having("console"), ids=lambda path: path.name)
def test_sessions_in_documents_print_what_they_show(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def printed(arguments: list[str]) -> str:
        capsys.readouterr()
        run(arguments)
        return "".join(capsys.readouterr())

    text = path.read_text(encoding="utf-8")
    now = SESSIONS["sessions"](SESSIONS["renewed"](text, printed))
    for (command, shown), (_, output) in zip(SESSIONS["sessions"](text), now, strict=True):
        assert SESSIONS["same"](shown, output), (
            f"$ {command}\n{output}\nrenew with: python tools/sessions.py {path.name}"
        )


def test_outputs_agree_in_words_and_nearly_in_numbers() -> None:
    same = SESSIONS["same"]
    assert same("fc1  0.1001  1,000\n", "fc1   0.1003  1,000\n")
    assert not same("fc1  0.10", "fc2  0.10")
    assert not same("fc  0.10", "fc  0.11")
    assert not same("fc  0.10", "fc")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}, which does not exist"


def test_every_public_name_has_its_place_in_the_api_pages() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
    shown = re.findall(r"^::: fanin\.([\w.]+)", pages, re.MULTILINE)
    names = {name for place in shown for name in (place, place.rpartition(".")[2])}
    missing = [name for name in fanin.__all__ if name not in names and not name.startswith("_") and not is_error(name)]
    assert not missing, f"docs/api does not show {missing}"
    assert "errors" in names


def is_error(name: str) -> bool:
    return isinstance(getattr(fanin, name), type) and issubclass(getattr(fanin, name), Exception)
