"""Every application has its script, its test, its page with a measurement of today's claims, and its figure."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES, IMAGES = ROOT / "docs" / "applications", ROOT / "docs" / "images" / "applications"
NAMES = sorted(path.stem for path in (ROOT / "examples" / "applications").glob("*.py") if path.stem != "reporting")


def test_the_index_names_every_application() -> None:
    index = (ROOT / "docs" / "applications.md").read_text(encoding="utf-8")
    assert len(NAMES) >= 9
    assert {path.stem for path in PAGES.glob("*.md")} == set(NAMES)
    assert set(re.findall(r"\(applications/(\w+)\.md\)", index)) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_tells_what_was_measured(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    measured = re.search(r"<!-- measured -->\n(.*?)<!-- end -->\n", page, re.DOTALL)
    assert measured is not None
    assert f"./dev applications {name} " in page
    found = json.loads((IMAGES / f"{name}.json").read_text(encoding="utf-8"))
    assert found["machine"] in measured[1]
    for claim in found["claims"]:
        assert f"| {claim['text']} | {claim['measured']} | {'yes' if claim['reached'] else '**no**'} |" in measured[1]
    assert f"(../images/applications/{name}.png)" in measured[1]
    assert (IMAGES / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (ROOT / "tests" / "applications" / f"test_{name}.py").exists()
