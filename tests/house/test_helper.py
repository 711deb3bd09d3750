"""`./dev` and what calls it: plain sh, clear words, the same commands for people, hooks and CI."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEV = ROOT / "dev"
VERBS = ["demo", "test", "check", "fix", "bench", "stress", "fuzz", "coverage", "truth", "applications", "docs", "help"]
TOOLS = ["sh", "dirname", "cat", "cksum"]


def dev(*arguments: str, helper: Path = DEV, **settings: str) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("dash") or shutil.which("sh") or "sh"
    return subprocess.run([shell, str(helper), *arguments], capture_output=True, text=True, env=settings, timeout=60)


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the helper in an empty tree, and a PATH folder without any Python."""
    (tmp_path / "tests").mkdir()
    for name in ("dev", "pyproject.toml", "constraints.txt", "tests/real_files.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    return tmp_path / "dev", tools


def test_help_lists_every_verb_and_makes_nothing(bare: tuple[Path, Path]) -> None:
    helper, tools = bare
    done = dev("help", helper=helper, PATH=str(tools))
    assert done.returncode == 0
    assert [verb for verb in VERBS if f"\n  {verb} " not in done.stdout] == []
    assert not (helper.parent / ".venv").exists()


def test_an_unknown_verb_is_refused(bare: tuple[Path, Path]) -> None:
    helper, tools = bare
    done = dev("destroy", helper=helper, PATH=str(tools))
    assert (done.returncode, done.stderr) == (2, "./dev: unknown verb 'destroy'; ./dev help lists them\n")


def test_without_python_it_says_what_to_install(bare: tuple[Path, Path]) -> None:
    helper, tools = bare
    done = dev("test", helper=helper, PATH=str(tools))
    assert done.returncode == 2
    assert done.stderr == (
        "./dev: no Python 3.11 or newer with venv found; "
        "install one (Debian, Ubuntu: apt install python3 python3-venv) or set PYTHON\n"
    )


def test_an_old_python_is_refused_by_name(bare: tuple[Path, Path]) -> None:
    helper, tools = bare
    old = tools / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = dev("test", helper=helper, PATH=str(tools), PYTHON=str(old))
    assert (done.returncode, done.stderr) == (2, f"./dev: PYTHON={old} is not a Python 3.11 or newer with venv\n")


def test_a_linked_environment_of_another_checkout_is_left_alone(bare: tuple[Path, Path], tmp_path: Path) -> None:
    helper, tools = bare
    other, linked = tmp_path / "other checkout", tmp_path / "environment"
    other.mkdir()
    info = linked / "site" / "fanin-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fanin\nVersion: 0.1.0\n")
    (info / "direct_url.json").write_text(json.dumps({"url": other.as_uri()}))
    (linked / "bin").mkdir()
    python = linked / "bin" / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{linked / "site"}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (helper.parent / ".venv").symlink_to(linked)

    done = dev("test", helper=helper, PATH=str(tools))
    assert (done.returncode, done.stderr) == (
        2,
        f"./dev: .venv is a link to the environment of {other}; remove the link (rm .venv) and ./dev makes one here\n",
    )
    assert sorted(path.name for path in linked.iterdir()) == ["bin", "site"]


def test_everything_named_in_pyproject_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(each for extra in project["project"]["optional-dependencies"].values() for each in extra),
        *project["dependency-groups"]["dev"],
    ]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line}
    assert {re.split(r"[\[<>=!~ ]", each)[0] for each in named} - pinned == set()
    assert "torch==2.13.0" in lines


def test_hooks_and_ci_call_the_helper_only() -> None:
    hooks = re.findall(r"entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert hooks == ["./dev check format", "./dev check lint", "./dev check types", "./dev test"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert [line for line in ci.splitlines() if line.startswith("./")] == ["./dev check", "./dev test"]


def test_contributing_shows_three_commands() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.findall(r"^\./dev (\w+)", text, re.MULTILINE) == ["demo", "test", "check"]


def test_changelog_has_the_version_or_unreleased() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
