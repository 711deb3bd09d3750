"""What the script of a page gets to draw: the report's data, joined with those of an earlier one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fanin.pages.health import SIGNS
from fanin.pages.plan_rows import changed

Data = Mapping[str, Any]
_DIGITS = 5
_EARLIER_LAYER = frozenset(
    {"verdict", "forward", "gradient", "units", "dead", "saturated", "correlation", "effective_rank", "jacobian"}
    | {"entropy", "precision", "expected_forward", "expected_gradient"}
)
_EARLIER_BLOCK = frozenset({"largest", "smallest"})
_EARLIER_PARAMETER = frozenset({"std", "histogram"})


def payload(data: Data, before: Data | None = None) -> dict[str, Any]:
    """The layers, parameters and plan of a report, each with what it was `before`, numbers to five digits."""
    earlier: Data = before or {}
    plan = data.get("plan")
    return {
        "signs": SIGNS,
        "two": before is not None,
        "layers": _rounded(_joined(calls(_rows(data, "layers")), calls(_rows(earlier, "layers")), _EARLIER_LAYER)),
        "blocks": _rounded(_joined(_rows(data, "blocks"), _rows(earlier, "blocks"), _EARLIER_BLOCK)),
        "parameters": _rounded(_joined(_rows(data, "parameters"), _rows(earlier, "parameters"), _EARLIER_PARAMETER)),
        "plan": None if plan is None else _rounded(_planned(plan, earlier.get("plan"))),
    }


def calls(layers: Iterable[Data]) -> list[dict[str, Any]]:
    """The layers with the field `call`: 1 for the first call of a name, 2 for the second, …

    >>> [layer["call"] for layer in calls([{"name": "a"}, {"name": "b"}, {"name": "a"}])]
    [1, 1, 2]
    """
    seen: Counter[str] = Counter()
    counted: list[dict[str, Any]] = []
    for layer in layers:
        seen[layer["name"]] += 1
        counted.append({**layer, "call": seen[layer["name"]]})
    return counted


def _rows(data: Data, name: str) -> list[Data]:
    return list(data.get(name) or [])


def _joined(rows: Iterable[Data], before: Iterable[Data], kept: frozenset[str]) -> list[dict[str, Any]]:
    known = {_key(row): {name: value for name, value in row.items() if name in kept} for row in before}
    return [{**row, "before": known.get(_key(row))} for row in rows]


def _key(row: Data) -> tuple[str, int]:
    return row["name"], row.get("call", 1)


def _planned(plan: Any, before: Any) -> list[dict[str, Any]]:
    return [{**row, "change": "", "changed": ""} for row in plan] if before is None else changed(plan, before)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
