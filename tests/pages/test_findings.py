"""Findings on the page: the gravest first, many of one cause as one, new and mended ones told apart."""

from __future__ import annotations

import re
from typing import Any

from fanin.pages.findings import findings_html, grouped


def finding(severity: str, tensor: str, rule: str = "constant", cause: str = "a cause") -> dict[str, Any]:
    return {
        "rule": rule,
        "severity": severity,
        "tensor": tensor,
        "seen": f"seen in {tensor}",
        "expected": "something else",
        "cause": cause,
        "remedy": f"mend({tensor!r})",
    }


def names(html: str) -> list[str]:
    return re.findall(r"<h3>.*?<code data-tensor>(.*?)</code>", html, re.DOTALL)


def test_the_gravest_come_first() -> None:
    html = findings_html([finding("info", "a"), finding("error", "b", "dead"), finding("warning", "c", "twins")])
    assert names(html) == ["b", "c", "a"]
    assert html.index("error") < html.index("warning") < html.index("info")


def test_every_field_is_shown() -> None:
    html = findings_html([finding("error", "fc.weight")])
    for part in (
        "fc.weight",
        "seen in fc.weight",
        "something else",
        "a cause",
        "mend(&#x27;fc.weight&#x27;)",
        "constant",
    ):
        assert part in html


def test_four_of_one_cause_are_one_and_three_are_three() -> None:
    many = [finding("error", f"h.{place}.weight") for place in range(40)]
    assert names(findings_html(many)) == ["h.0.weight"]
    assert "and 39 more" in findings_html(many)
    assert "seen in h.39.weight" in findings_html(many)
    assert len(names(findings_html(many[:3]))) == 3
    apart = [finding("error", f"h.{place}.weight", cause=f"cause {place}") for place in range(4)]
    assert len(names(findings_html(apart))) == 4


def test_nothing_is_said() -> None:
    assert "Nothing to report." in findings_html([])
    assert "Nothing to report." not in findings_html([finding("info", "a")])


def test_new_and_mended() -> None:
    now, before = [finding("error", "a"), finding("error", "b")], [finding("error", "b"), finding("warning", "c")]
    html = findings_html(now, before)
    assert html.count('class="new"') == 1
    assert html.index(">a<") < html.index('class="new"') < html.index(">b<")
    assert "1 mended since before" in html
    assert "seen in c" in html.partition("mended since before")[2]
    assert "mended" not in findings_html(now, now)
    assert 'class="new"' not in findings_html(now)


def test_a_group_is_new_only_as_a_whole() -> None:
    many = [finding("error", f"h.{place}.weight") for place in range(5)]
    known = {("constant", "h.4.weight")}
    assert [told.new for told in grouped(many, known)] == [False]
    assert [told.new for told in grouped(many[:4], known)] == [True]
