"""A report in one line, for logs of continuous integration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from fanin.pages.health import SEVERITIES
from fanin.text_table import number, printable


def summary(data: Mapping[str, Any]) -> str:
    """The verdict, where it starts, the loss, and how many findings of which kind.

    Args:
        data: `Report.to_dict()`.

    >>> summary({"kind": "check", "model": "GPT", "verdict": "dead", "starts": "h.3", "loss": 2.25, "layers": [{}],
    ...          "findings": [{"severity": "error", "rule": "dead"}, {"severity": "error", "rule": "dead"}]})
    'fanin check GPT: dead from h.3; 1 layer; loss 2.25; 2 errors (dead)'
    """
    where = f" from {data['starts']}" if data.get("starts") else ""
    layers = data.get("layers") or []
    parts = [f"{data['verdict']}{where}"]
    if layers:
        parts.append(plural(len(layers), "layer"))
    if data.get("loss") is not None:
        parts.append(f"loss {number(data['loss'])}")
    parts.append(_findings(data))
    head = " ".join(filter(None, ["fanin", data.get("kind") or "check", data.get("model") or ""]))
    return printable(f"{head}: {'; '.join(parts)}")


def counted(data: Mapping[str, Any]) -> str:
    """How many findings of each severity.

    >>> counted({"findings": [{"severity": "info"}, {"severity": "error"}]}), counted({"findings": []})
    ('1 error, 1 info', 'no findings')
    """
    counts = Counter(finding["severity"] for finding in data.get("findings") or [])
    told = [
        f"{counts[each]} info" if each == "info" else plural(counts[each], each) for each in SEVERITIES if counts[each]
    ]
    return ", ".join(told) or "no findings"


def plural(count: int, noun: str) -> str:
    """The number with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _findings(data: Mapping[str, Any]) -> str:
    grave = [finding for finding in data.get("findings") or [] if finding["severity"] != "info"]
    rules = sorted({finding["rule"] for finding in grave if finding.get("rule")})
    return counted(data) + (f" ({', '.join(rules)})" if rules else "")
