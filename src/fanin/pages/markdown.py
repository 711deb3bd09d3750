"""A report as Markdown, for pull requests and logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fanin.pages.escaping import visible
from fanin.pages.health import sign
from fanin.pages.summary import counted
from fanin.text_table import number

Data = Mapping[str, Any]
_COLUMNS = ("layer", "kind", "E[h²]", "predicted", "std", "dead", "E[g²]", "predicted", "verdict")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


def report_markdown(data: Data) -> str:
    """The verdict, the findings with their remedies, the layers as a table.

    Args:
        data: `Report.to_dict()`.
    """
    verdict = data["verdict"]
    starts = f", starting at {code(data['starts'])}" if data.get("starts") else ""
    loss = f"; loss {number(data['loss'])}" if data.get("loss") is not None else ""
    parts = [
        f"## {plain(data.get('model') or 'model')}: fanin {plain(data.get('kind') or 'check')}",
        f"**{sign(verdict)} {plain(verdict)}**{starts}{loss}; {counted(data)}.",
        *(f"Note: {plain(note)}" for note in data.get("notes") or []),
        *_findings(data.get("findings") or []),
        *_layers(data.get("layers") or []),
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    r"""Text in which no character means anything to Markdown.

    >>> print(plain("a_b <script>\nc|d"))
    a\_b \<script\> c\|d
    """
    return _SPECIAL.sub(r"\\\1", visible(" ".join(str(text).split())))


def code(text: str) -> str:
    """Text as code, fenced by more backquotes than it has in a row.

    >>> print(code("h.0.`x`"), code("a|b"))
    `` h.0.`x` `` `a|b`
    """
    told = visible(" ".join(str(text).split()))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", told)), default=0))
    return f"{fence} {told} {fence}" if "`" in told else f"{fence}{told}{fence}"


def _findings(findings: Iterable[Data]) -> list[str]:
    return [
        f"- {sign(each['severity'])} **{plain(each['severity'])}** {code(each['tensor'])}: {plain(each['seen'])}, "
        f"expected {plain(each['expected'])}; {plain(each['cause'])}.\n  Try: {code(each['remedy'])}"
        for each in findings
    ]


def _layers(layers: Sequence[Data]) -> list[str]:
    if not layers:
        return []
    head = [f"| {' | '.join(_COLUMNS)} |", "|---|---|--:|--:|--:|--:|--:|--:|---|"]
    return ["\n".join([*head, *map(_row, layers)])]


def _row(layer: Data) -> str:
    forward, gradient = layer.get("forward") or {}, layer.get("gradient") or {}
    dead = "" if layer.get("dead") is None else f"{layer['dead']}/{layer['units']}"
    cells = (
        code(layer["name"]).replace("|", "\\|"),  # a bar ends a cell even in code
        plain(layer["kind"]),
        number(forward.get("second")),
        number(layer.get("expected_forward")),
        number(forward.get("std")),
        dead,
        number(gradient.get("second")),
        number(layer.get("expected_gradient")),
        f"{sign(layer['verdict'])} {plain(layer['verdict'])}",
    )
    return f"| {' | '.join(cells)} |"
