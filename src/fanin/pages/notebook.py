"""A report in a notebook: the verdict, the findings and the layers, small, without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fanin.pages.escaping import text
from fanin.pages.health import sign
from fanin.text_table import number

Data = Mapping[str, Any]
_FINDINGS, _LAYERS = 20, 50
_HEAD = ("layer", "health", "E[h²]", "predicted", "E[g²]", "predicted")


def notebook_html(data: Data) -> str:
    """At most 20 findings and 50 layers, those that are not healthy first, as escaped HTML.

    Args:
        data: `Report.to_dict()`.
    """
    findings, layers = data.get("findings") or [], data.get("layers") or []
    ill = [layer for layer in layers if layer["verdict"] != "healthy"]
    shown = (ill + [layer for layer in layers if layer["verdict"] == "healthy"])[:_LAYERS]
    starts = f", starting at <code>{text(data['starts'])}</code>" if data.get("starts") else ""
    return "".join(
        [
            f"<div><p><b>{sign(data['verdict'])} {text(data['verdict'])}</b>{starts}</p>",
            f"<ul>{''.join(map(_finding, findings[:_FINDINGS]))}</ul>" if findings else "",
            _more(len(findings), _FINDINGS, "findings"),
            _table(shown) if shown else "",
            _more(len(layers), _LAYERS, "layers"),
            "</div>",
        ]
    )


def _finding(finding: Data) -> str:
    return (
        f"<li><b>{sign(finding['severity'])} {text(finding['severity'])}</b> <code>{text(finding['tensor'])}</code>: "
        f"{text(finding['seen'])}, expected {text(finding['expected'])}; {text(finding['cause'])}. "
        f"Try: <code>{text(finding['remedy'])}</code></li>"
    )


def _table(layers: Iterable[Data]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEAD)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_row, layers))}</tbody></table>"


def _row(layer: Data) -> str:
    forward, gradient = layer.get("forward") or {}, layer.get("gradient") or {}
    numbers = (
        forward.get("second"),
        layer.get("expected_forward"),
        gradient.get("second"),
        layer.get("expected_gradient"),
    )
    cells = [text(layer["name"]), f"{sign(layer['verdict'])} {text(layer['verdict'])}", *map(number, numbers)]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _more(count: int, shown: int, what: str) -> str:
    return f"<p>and {count - shown:,} more {what}: <code>report.to_html(path)</code></p>" if count > shown else ""
