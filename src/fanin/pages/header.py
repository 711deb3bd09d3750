"""The head of a page: what was looked at, the verdict, the numbers that matter most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from fanin.pages.escaping import text
from fanin.pages.health import sign
from fanin.pages.summary import counted
from fanin.text_table import number

Data = Mapping[str, Any]


def report_header(data: Data, before: Data | None) -> str:
    """The head of the page of a report, beside an earlier one where there is one."""
    model = data.get("model") or "model"
    facts = [("findings", counted(data), None if before is None else counted(before))]
    if data.get("loss") is not None:
        facts.append(("loss", number(data["loss"]), None if before is None else number(before.get("loss"))))
    if data.get("layers"):
        facts.append(("layers", f"{len(data['layers']):,}", None))
    if data.get("parameters"):
        facts.append(("parameters", f"{_values(data['parameters']):,}", None))
    return "\n".join(
        [
            f'<p class="what">fanin {text(data.get("kind") or "check")}</p>',
            f"<h1>{text(model)}</h1>",
            _verdict(data, before),
            _facts(facts),
            _notes(data.get("notes") or []),
        ]
    )


def plan_header(title: str, rows: Iterable[Data], notes: Iterable[str]) -> str:
    """The head of the page of a plan."""
    steps = list(rows)
    values = _values(step for step in steps if step["kind"] == "parameter")
    unknown = sum(step["action"] == "unknown" for step in steps)
    facts = [("tensors", f"{len(steps):,}", None), ("parameters", f"{values:,}", None)]
    facts += [("of unknown origin", f"{unknown:,}", None)] if unknown else []
    return "\n".join(
        ['<p class="what">fanin plan</p>', f"<h1>{text(title or 'plan')}</h1>", _facts(facts), _notes(notes)]
    )


def _verdict(data: Data, before: Data | None) -> str:
    earlier = "" if before is None else f'{_badge(before["verdict"])} <span aria-label="became">→</span> '
    starts = data.get("starts")
    where = f"<span>starting at <code data-tensor>{text(starts)}</code></span>" if starts else ""
    return f'<p class="verdict">{earlier}{_badge(data["verdict"])} {where}</p>'


def _badge(verdict: str) -> str:
    word = text(verdict)
    return (
        f'<span class="health badge {word}"><span class="sign" aria-hidden="true">{sign(verdict)}</span>{word}</span>'
    )


def _facts(facts: Iterable[tuple[str, str, str | None]]) -> str:
    told = [
        f"<div><dt>{name}</dt><dd>{text(now)}"
        + (f' <span class="quiet">(before {text(was)})</span>' if was else "")
        + "</dd></div>"
        for name, now, was in facts
    ]
    return f'<dl class="facts">{"".join(told)}</dl>'


def _notes(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{text(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _values(tensors: Iterable[Data]) -> int:
    return sum(prod(tensor["shape"]) for tensor in tensors)
