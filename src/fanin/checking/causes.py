"""Findings from a judged probe: what was seen, why it comes about, and the line that mends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

from fanin.checking.findings import Finding
from fanin.checking.verdicts import Judged, is_dead, is_symmetric, stuck
from fanin.torch.probe import LayerProbe, ParameterProbe, Probe

REDRAW = 'fanin.initialize(model, recipe="he", inputs=inputs)'
_MANY_DEAD = 0.75
_INPUTS = (1e-4, 1e3)


def findings(probe: Probe, rows: Sequence[Judged]) -> tuple[Finding, ...]:
    """All findings, errors first."""
    found = [
        *_non_finite(probe, rows),
        *_symmetric(probe.parameters),
        *_dead(rows),
        *_growth(rows),
        *_inputs(probe),
        *_unused(probe.parameters),
        *(() if any(row.verdict != "healthy" for row in rows) else _still(probe.parameters)),
    ]
    order = ("error", "warning", "info")
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def _tensor(layer: LayerProbe) -> str:
    return layer.weight or layer.name


def _non_finite(probe: Probe, rows: Sequence[Judged]) -> Iterator[Finding]:
    broken = [p for p in probe.parameters.values() if p.values.non_finite]
    for parameter in broken:
        seen = f"{parameter.values.non_finite:,} of {parameter.values.count:,} values NaN or infinite"
        yield Finding("error", parameter.name, seen, "finite values", "the parameter itself is damaged", REDRAW)
    guilty = [row for row in rows if row.verdict == "non-finite"]
    if broken or not guilty:
        return
    forward = [row for row in guilty if row.direction == "forward"]
    layer = (forward or guilty[::-1])[0].layer
    moments = layer.forward if forward or layer.gradient is None else layer.gradient
    what = "outputs" if forward else "gradients"
    yield Finding(
        "error",
        _tensor(layer),
        f"{moments.non_finite:,} of {moments.count:,} {what} of layer {layer.name} NaN or infinite",
        f"finite {what}",
        "numbers overflow here, or the layer divides by zero or takes the root or logarithm of one",
        REDRAW,
    )


def _symmetric(parameters: Mapping[str, ParameterProbe]) -> Iterator[Finding]:
    frozen = stuck(parameters)
    for parameter in parameters.values():
        twins = parameter.twins
        if twins is None or not twins.locked:
            continue
        grave = is_symmetric(parameter, frozen)
        if grave or twins.locked > twins.silent:
            yield Finding(
                "error" if grave else "warning",
                parameter.name,
                f"{twins.locked} of {twins.units} units have the weights and the gradient of another unit",
                "every unit different",
                "units that start equal and are pulled equally stay equal: they count as one",
                REDRAW,
            )


def _dead(rows: Sequence[Judged]) -> Iterator[Finding]:
    for before, row in zip((None, *rows), rows, strict=False):
        layer = row.layer
        if layer.dead is None or not layer.units or layer.dead <= _MANY_DEAD * layer.units:
            continue
        if is_dead(layer) and row.verdict != "dead":
            continue
        bias = before.layer.bias if before is not None else None
        yield Finding(
            "error" if row.verdict == "dead" else "warning",
            layer.name,
            f"{layer.dead} of {layer.units} units are zero for every sample",
            f"at most about half of them on one batch of {layer.shape[0]}",
            "their inputs are negative on the whole batch, so neither signal nor gradient passes",
            f'torch.nn.init.zeros_(model.get_parameter("{bias}"))' if bias else REDRAW,
        )


def _growth(rows: Sequence[Judged]) -> Iterator[Finding]:
    for verdict in ("exploding", "vanishing"):
        for direction in ("forward", "backward"):
            guilty = [row for row in rows if row.verdict == verdict and row.direction == direction]
            if guilty:
                row = guilty[0] if direction == "forward" else guilty[-1]
                yield _grown(row, _culprit(rows, row, direction), verdict, direction)


def _culprit(rows: Sequence[Judged], row: Judged, direction: str) -> str:
    """The weight that scales the signal of a layer: its own or the one before it; backward, the one after it."""
    place = rows.index(row)
    nearby = rows[place::-1] if direction == "forward" else rows[place + 1 :]
    return next((near.layer.weight for near in nearby if near.layer.weight), _tensor(row.layer))


def _grown(row: Judged, tensor: str, verdict: str, direction: str) -> Finding:
    forward = row.forward_ratio if verdict == "exploding" else row.signal_ratio
    ratio = (forward if direction == "forward" else row.backward_ratio) or 0.0
    quantity = "the gradient's energy" if direction == "backward" else "E[h²]"
    if (verdict, direction) == ("vanishing", "forward"):
        quantity = "what differs between samples"
    end = "end" if direction == "backward" else "start"
    what = f"{quantity} at layer {row.layer.name} is {ratio:.1e} times that at the {end} of the stretch"
    word = "large" if verdict == "exploding" else "small"
    return Finding(
        "error",
        tensor,
        f"{verdict} {direction}: {what}",
        "between 1e-04 and 1e+04",
        f"weights so {word} multiply the signal by nearly the same factor in each layer, exponentially in the depth",
        REDRAW,
    )


def _inputs(probe: Probe) -> Iterator[Finding]:
    if probe.inputs is None or _INPUTS[0] <= probe.inputs[0].second <= _INPUTS[1]:
        return
    yield Finding(
        "warning",
        "inputs",
        f"root mean square {sqrt(probe.inputs[0].second):.3g}",
        "about 1",
        "initializers assume inputs of unit size: the first layer starts outside the range where it learns",
        "inputs = (inputs - inputs.mean()) / inputs.std()",
    )


def _unused(parameters: Mapping[str, ParameterProbe]) -> Iterator[Finding]:
    for parameter in parameters.values():
        if parameter.trainable and parameter.gradient is None:
            yield Finding(
                "warning",
                parameter.name,
                "no gradient: this forward pass does not use it",
                "every trainable parameter reaches the loss",
                "the model holds it but forward skips it, or the loss ignores the output that depends on it",
                f'model.get_parameter("{parameter.name}").requires_grad_(False)',
            )


def _still(parameters: Mapping[str, ParameterProbe]) -> Iterator[Finding]:
    gradients = {p.name: p.gradient for p in parameters.values() if p.gradient is not None}
    still = [name for name, gradient in gradients.items() if gradient.count and gradient.second == 0]
    if still:
        more = f" (and {len(still) - 1} more)" if len(still) > 1 else ""
        yield Finding(
            "info",
            still[0],
            f"the gradient is exactly zero in the first step{more}",
            "zero only where a later layer starts at zero by intention",
            "a layer after it is all zero, so it starts to learn one step later",
            REDRAW,
        )
