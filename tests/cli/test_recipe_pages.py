"""The pages of the recipes say what the recipes are today."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import fanin

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "recipe_pages.py"))
RENEW = "renew with: ./dev docs pages"


def written(name: str) -> str:
    return (ROOT / "docs" / "recipes" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", fanin.recipes.names())
def test_rules_options_and_expected_numbers_are_those_of_the_code(name: str) -> None:
    made = TOOL["page"](name, lambda entry: "PLANNED")
    pattern = re.escape(made).replace("PLANNED", r"[^|\n]+")
    assert re.fullmatch(pattern, written(name)), RENEW


@pytest.mark.parametrize("name", ["he", "xavier"])
def test_planned_numbers_are_those_of_the_code(name: str) -> None:
    assert TOOL["page"](name) == written(name), RENEW


def test_the_index_lists_every_recipe() -> None:
    assert TOOL["index"]() == written("index"), RENEW
    pages = {path.stem for path in (ROOT / "docs" / "recipes").glob("*.md")}
    assert pages == {"index", *fanin.recipes.names()}


def test_a_page_shows_expected_beside_planned() -> None:
    row = next(line for line in written("he").splitlines() if "√(2/784)" in line)
    assert "std 0.0505076272" in row
    assert "normal, std 0.0505076272" in row
