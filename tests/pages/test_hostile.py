"""Names are hostile until proven otherwise: none of them runs, breaks the page or writes across it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fanin
from fanin.checking import Finding
from fanin.pages import notebook_html, report_markdown, report_page
from fanin.pages.escaping import embedded, text

NAMES = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\"'><svg onload=alert(3)>",
    "]]><!-- --!>",
    "${alert(4)} `x` $version",
    "naïve–層\u202egpj\u2028\u2029\u200b",
    "__proto__",
    "constructor",
    "\x00\x1b[31m",
    "`|*_[](javascript:alert(5))",
    "x" * 3000,
)


@pytest.fixture(scope="module")
def report() -> fanin.Report:
    model = nn.Sequential()
    for name in NAMES:
        model.add_module(name, nn.Linear(8, 8))
    inputs = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    plan = fanin.initialize(model, "he", inputs)
    found = fanin.check(model, inputs, plan=plan)
    findings = tuple(Finding(name, "error", f"{name}.weight", name, name, name, name) for name in NAMES)
    return fanin.Report(
        found.verdict,
        findings,
        found.layers,
        starts=NAMES[0],
        loss=found.loss,
        parameters=found.parameters,
        notes=NAMES,
        plan=plan,
        model=NAMES[1],
    )


def test_no_name_runs_or_asks_for_anything(report: fanin.Report, tmp_path: Path, opened: Callable[..., Any]) -> None:
    path = report.to_html(tmp_path / "hostile.html", before=report)
    there = opened(path)
    assert there.said == []
    assert there.asked == [path.as_uri()]
    page = there.page
    # Even with the policy off nothing of it is an element or a handler.
    assert page.locator("img, svg, body [onload], body [onerror]").count() == 0
    assert page.locator("script").count() == 3
    for section in ("layers", "parameters", "plan"):
        shown = page.evaluate(
            f"[...document.querySelectorAll('#{section} .body .text')].map((each) => each.textContent)"
        )
        for name in NAMES:
            assert any(text_of(name) in each for each in shown), f"{name!r} is not in {section}"
    page.locator("#layers .body .row").nth(1).hover()
    page.click("#findings .linked >> nth=0")
    assert page.evaluate("({}).polluted === undefined && document.title.includes('<img src=x')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1360
    assert there.said == []


def text_of(name: str) -> str:
    """As a page shows it: what hides or moves other text is an escape."""
    return name.replace("\u202e", "\\u202e").replace("\x00", "\\x00").replace("\x1b", "\\x1b")


def test_without_the_policy_nothing_runs_either(
    report: fanin.Report, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    there = opened(report.to_html(tmp_path / "hostile.html"), bypass_csp=True)
    assert there.said == []


def test_lone_surrogates_are_escapes() -> None:
    assert text("a\ud800b") == "a\\ud800b"
    assert json.loads(embedded({"name": "a\ud800b"})) == {"name": "a\\ud800b"}


@pytest.mark.parametrize("name", NAMES)
def test_data_cannot_end_its_element(name: str) -> None:
    told = embedded({name: [name]})
    assert not set("<>&") & set(told)
    assert "\u2028" not in told
    assert json.loads(told) == {text_of(name): [text_of(name)]}


def test_the_notebook_and_markdown_escape_too(report: fanin.Report) -> None:
    for told in (notebook_html(report.to_dict()), report._repr_html_()):
        assert "<script" not in told
        assert "<img" not in told
        assert "<svg" not in told
        assert "&lt;script&gt;alert(1)" in told
    markdown = report_markdown(report.to_dict())
    outside = "".join(part for line in markdown.splitlines() for part in line.split("`")[::2] if "`" * 2 not in line)
    assert "<script" not in outside.replace("\\<", "")
    assert "\u202e" not in markdown


def test_numbers_in_place_of_names_do_not_break_the_page(report: fanin.Report) -> None:
    data = report.to_dict() | {"plan": None, "model": 5, "notes": [7]}
    assert "<h1>5</h1>" in report_page(data)
