"""The corpus as a whole: as large as promised, each defect met somewhere, and the page that lists it up to date.

That each defect is found, and nothing in healthy models, is tested where the lists are: tests/auditing, tests/checking.
"""

from __future__ import annotations

import runpy
from pathlib import Path

LISTED = runpy.run_path(str(Path(__file__).with_name("defects.py")))
DEFECTS = LISTED["defects"]()


def test_at_least_forty_defects_of_forty_issues() -> None:
    assert len({(each.verb, each.name) for each in DEFECTS}) == len(DEFECTS) >= 40
    issues = {each.issue for each in DEFECTS} - {"signal"}
    assert len(issues) >= 40
    assert set(LISTED["MET"]) == issues | {"signal"}


def test_page_of_check_names_every_rule_that_it_seeds() -> None:
    text = LISTED["PAGE"].with_name("check.md").read_text(encoding="utf-8")
    rules = {each.rule for each in DEFECTS if each.verb == "check"}
    assert [rule for rule in sorted(rules) if f"`{rule}`" not in text] == []


def test_at_least_thirty_healthy_models() -> None:
    assert len(LISTED["healthy"]()) >= 30


def test_page_lists_what_the_tests_seed() -> None:
    assert LISTED["PAGE"].read_text(encoding="utf-8") == LISTED["page"]()
