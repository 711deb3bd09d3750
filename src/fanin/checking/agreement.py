"""Findings where measured moments are not what theory expects of fresh random weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log, sqrt

from fanin.checking.findings import Finding
from fanin.checking.verdicts import Judged
from fanin.torch.probe import LayerProbe

# The relative variance of E[h²] that one layer of n units adds, at most: (κ − 1)/n of its units and of its inputs.
_SCATTER = 5.0
_SIGMAS = 6.0
_LEAST = log(2.0)
# A normalisation of inputs below its ε passes their scale on, and its output stays below unit size.
_NORMALISED = 0.5


def of_agreement(rows: Sequence[Judged], drawn: bool) -> Iterator[Finding]:
    """The first layer forward, and the last one backward, that is off by a factor of two and by six standard errors.

    Args:
        rows: judged layers; nothing is said where one has a verdict, which explains it.
        drawn: the weights are fresh random numbers; else theory does not hold, and that they differ is no defect.
    """
    layers = [row.layer for row in rows if all(row.verdict == "healthy" for row in rows)]
    for direction, order in (("forward", layers), ("backward", layers[::-1])):
        found = next(_off(order, direction), None)
        if found is not None:
            place = layers.index(found[0])
            weight = next((near.weight for near in layers[place::-1] if near.weight), found[0].name)
            yield _told(*found, weight, direction, drawn)


def _off(layers: Sequence[LayerProbe], direction: str) -> Iterator[tuple[LayerProbe, float, float]]:
    variance = 0.0
    for layer in layers:
        seen, expected = _pair(layer, direction)
        if expected is None or (direction == "forward" and _sets_scale(layer)):
            variance = 0.0
        if layer.weight is not None:
            variance += _SCATTER / max(1, layer.units or 1)
        if not seen or not expected:
            continue
        allowed = max(_LEAST, _SIGMAS * sqrt(variance))
        if abs(log(seen / expected)) > allowed:
            yield layer, seen, expected


def _sets_scale(layer: LayerProbe) -> bool:
    return layer.kind == "embedding" or (layer.kind == "norm" and layer.forward.second >= _NORMALISED)


def _pair(layer: LayerProbe, direction: str) -> tuple[float | None, float | None]:
    if direction == "forward":
        return layer.forward.second, layer.expected_forward
    return (None if layer.gradient is None else layer.gradient.second), layer.expected_gradient


def _told(layer: LayerProbe, seen: float, expected: float, weight: str, direction: str, drawn: bool) -> Finding:
    what = "E[h²]" if direction == "forward" else "E[g²]"
    return Finding(
        "unexpected-moments",
        "warning" if drawn else "info",
        weight,
        f"{what} of layer {layer.name} is {seen:.3g}, {seen / expected:.2g} times what theory expects",
        f"{what} about {expected:.3g}, for independent random weights of this size",
        "the weights are not independent of each other or of the inputs (low rank, copied or structured columns)"
        if drawn
        else "trained weights are not independent of what they see",
        'fanin.initialize(model, recipe="he", inputs=inputs)' if drawn else "print(report)",
    )
