"""Findings from a judged probe: what was seen, why it comes about, and the line that mends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fanin.checking.findings import Finding
from fanin.checking.start import of_the_start
from fanin.checking.units import of_units
from fanin.checking.verdicts import RATIO, Judged, is_dead, is_symmetric, stuck
from fanin.torch.probe import LayerProbe, ParameterProbe, Probe

REDRAW = 'fanin.initialize(model, recipe="he", inputs=inputs)'
_MANY_DEAD = 0.75


def findings(probe: Probe, rows: Sequence[Judged], more: Iterable[Finding] = (), *, drawn: bool) -> tuple[Finding, ...]:
    """All findings, errors first.

    Args:
        probe: what was measured.
        rows: how it was judged.
        more: what others found.
        drawn: the weights are fresh random numbers, not trained ones.
    """
    found = [
        *more,
        *_non_finite(probe, rows),
        *_symmetric(probe.parameters),
        *_dead(rows),
        *_growth(rows),
        *_collapsed(rows),
        *of_units(rows),
        *of_the_start(probe, drawn),
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
        yield Finding(
            "non-finite-weight",
            "error",
            parameter.name,
            seen,
            "finite values",
            "the parameter itself is damaged",
            REDRAW,
        )
    guilty = [row for row in rows if row.verdict == "non-finite"]
    if broken or not guilty:
        return
    forward = [row for row in guilty if row.direction == "forward"]
    layer = (forward or guilty[::-1])[0].layer
    moments = layer.forward if forward or layer.gradient is None else layer.gradient
    what = "outputs" if forward else "gradients"
    yield Finding(
        "non-finite",
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
                "symmetric" if grave else "twins",
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
            "dead",
            "error" if row.verdict == "dead" else "warning",
            layer.name,
            f"{layer.dead} of {layer.units} units are zero for every sample",
            f"at most about half of them on one batch of {layer.shape[0]}",
            "their inputs are negative on the whole batch, so neither signal nor gradient passes",
            f'torch.nn.init.zeros_(model.get_parameter("{bias}"))' if bias else REDRAW,
        )


def _collapsed(rows: Sequence[Judged]) -> Iterator[Finding]:
    """Distinct inputs become parallel."""
    row = next((row for row in rows if row.verdict == "collapsing"), None)
    if row is None:
        return
    layer = row.layer
    ratio = row.signal_ratio
    if ratio is not None and ratio <= 1 / RATIO:
        seen = f"what differs between samples is {ratio:.1e} of what it was, though E[h²] is not"
        cause = "biases feed every sample alike while the weights shrink what differs: all inputs look the same"
    else:
        about = "" if layer.correlation is None else f", mean cosine {layer.correlation:.4f}"
        seen = f"outputs of distinct inputs are parallel: effective rank {layer.effective_rank or 1.0:.3f}{about}"
        cause = "each layer turns its inputs towards one direction, and nothing carries the inputs past it"
    yield Finding(
        "collapsing",
        "error",
        _culprit(rows, row, "forward"),
        f"collapsing from layer {layer.name} on: {seen}",
        "distinct inputs stay distinct",
        cause,
        f"{REDRAW}  # and shortcuts around layers, or fewer of them",
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
        verdict,
        "error",
        tensor,
        f"{verdict} {direction}: {what}",
        "between 1e-04 and 1e+04",
        f"weights so {word} multiply the signal by nearly the same factor in each layer, exponentially in the depth",
        REDRAW,
    )


def _unused(parameters: Mapping[str, ParameterProbe]) -> Iterator[Finding]:
    for parameter in parameters.values():
        if parameter.trainable and parameter.gradient is None:
            yield Finding(
                "unused",
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
            "zero-gradient",
            "info",
            still[0],
            f"the gradient is exactly zero in the first step{more}",
            "zero only where a later layer starts at zero by intention",
            "a layer after it is all zero, so it starts to learn one step later",
            REDRAW,
        )
