"""Findings on single layers: saturated units, attention on one key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fanin.checking.findings import Finding
from fanin.checking.verdicts import Judged

_MANY_SATURATED = 0.5
_ONE_KEY = 0.1


def of_units(rows: Sequence[Judged]) -> Iterator[Finding]:
    """One finding of each kind, at the first layer that shows it."""
    yield from _saturated(rows)
    yield from _attention(rows)


def _saturated(rows: Sequence[Judged]) -> Iterator[Finding]:
    guilty = [
        at
        for at, row in enumerate(rows)
        if row.layer.saturated and row.layer.units and row.layer.saturated > _MANY_SATURATED * row.layer.units
    ]
    if not guilty:
        return
    layer = rows[guilty[0]].layer
    before = next((near.layer.weight for near in rows[guilty[0] :: -1] if near.layer.weight), None)
    yield Finding(
        "saturated",
        "warning",
        layer.name,
        f"{layer.saturated} of {layer.units} units are flat on three quarters of the batch{_more(guilty)}",
        "few: slopes near the largest for most inputs",
        "their inputs are so large that the derivative is nearly zero, and gradients stop here",
        'fanin.initialize(model, recipe="xavier", inputs=inputs)'
        + (f"  # {before} feeds it" if before is not None else ""),
    )


def _attention(rows: Sequence[Judged]) -> Iterator[Finding]:
    guilty = [at for at, row in enumerate(rows) if row.layer.entropy is not None and row.layer.entropy < _ONE_KEY]
    if not guilty:
        return
    layer = rows[guilty[0]].layer
    yield Finding(
        "attention-entropy",
        "warning",
        layer.name,
        f"the entropy of attention is {layer.entropy or 0.0:.2g} of ln(keys){_more(guilty)}",
        "near 1 before the first step",
        "queries and keys are so large that each query looks at one key: the softmax is flat there and passes no "
        "gradient (entropy collapse)",
        'fanin.initialize(model, recipe="native", inputs=inputs)  # or divide the scores by √(head width)',
    )


def _more(guilty: Sequence[int]) -> str:
    return f" (and {len(guilty) - 1} more layers)" if len(guilty) > 1 else ""
