"""A verdict per layer, from how the signal grows along the depth.

Signals are compared along a *stretch* of layers: from the input, an embedding or a normalisation (which set the
scale anew) up to the next of these. Three ratios tell:

    forward   E[h²] of a layer to that at the start of the stretch
    signal    the same for E[(h − batch mean)²], what differs between samples: a bias feeds E[h²], but not this
    backward  the gradient's energy Σg² of a layer to that at the end of the stretch, before its last weight layer

The last weight layer of a stretch (a head, the end of a residual branch) may start small or zero by intention: it
never vanishes, and gradients are compared in front of it. Normalisation layers are also compared with one another,
because a stretch between two of them is short in any depth.

    exploding   forward or backward 10⁴ or more (100 times in size)
    vanishing   signal or backward 10⁻⁴ or less over at least two weight layers: an exponential, not one small layer
    collapsing  the same of the signal where E[h²] stays above 10⁻²; or all outputs parallel from here to the end
    dead        an activation of which 95 % of the units or more are zero on the whole batch
    symmetric   half of a weight's units or more share weights and gradients with another: no step separates them
    non-finite  NaN or infinity in outputs or gradients

Layers that are zero because their own weights are all zero are left out of the comparison, and so are layers that the
signal or the gradient is carried past (`fanin.checking.carried`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from fanin.checking.carried import arrives_at_end, reaches_here, varies_later
from fanin.checking.collapse import collapsed
from fanin.torch.probe import LayerProbe, ParameterProbe, Probe

Verdict = Literal["healthy", "collapsing", "vanishing", "exploding", "dead", "symmetric", "non-finite"]
GRAVITY: tuple[Verdict, ...] = ("non-finite", "symmetric", "dead", "exploding", "vanishing", "collapsing", "healthy")

RATIO = 1e4
DEPTH = 2
DEAD = 0.95
TWINS = 0.5


@dataclass(frozen=True, slots=True)
class Judged:
    """A layer with its verdict, where it shows ("forward", "backward" or ""), and its ratios (None: no reference)."""

    layer: LayerProbe
    verdict: Verdict = "healthy"
    direction: str = ""
    forward_ratio: float | None = None
    signal_ratio: float | None = None
    backward_ratio: float | None = None


def judge(probe: Probe) -> tuple[Judged, ...]:
    """Every layer with its verdict, in the order of the forward pass."""
    asleep = _asleep(probe)
    first = None if probe.inputs is None else (probe.inputs[0].second, probe.inputs[1])
    rows = [Judged(layer) for layer in probe.layers]
    for stretch in _stretches(probe.layers):
        _forward(rows, stretch, asleep, first)
        _backward(rows, stretch)
        first = None
    _norms(rows)
    start = collapsed(probe.layers, probe.alike)
    for place in range(len(rows) if start is None else start, len(rows)):
        rows[place] = _marked(rows[place], "collapsing", "forward")
    frozen = stuck(probe.parameters)
    faded = [False, *(row.verdict in {"vanishing", "collapsing"} for row in rows)]
    return tuple(
        _local(row, probe.parameters, excused=sleeping or before, frozen=frozen)
        for row, sleeping, before in zip(rows, asleep, faded, strict=False)
    )


def _stretches(layers: Sequence[LayerProbe]) -> Iterator[range]:
    """Index ranges between the layers that set the scale; each such layer starts one."""
    starts = [place for place, layer in enumerate(layers) if layer.kind in {"norm", "embedding"}]
    bounds = [0, *starts, len(layers)]
    return (range(low, high) for low, high in pairwise(bounds))


def _asleep(probe: Probe) -> list[bool]:
    """Which layers are zero since a weight of theirs, or of the layer they follow, is all zero."""
    found: list[bool] = []
    for layer in probe.layers:
        zero_weight = layer.weight is not None and probe.parameters[layer.weight].values.second == 0
        follows = layer.weight is None and bool(found) and found[-1]
        found.append(layer.forward.second == 0 and (zero_weight or follows))
    return found


def _forward(
    rows: list[Judged], stretch: range, asleep: Sequence[bool], first: tuple[float, float | None] | None
) -> None:
    last, depth, start = _last_weight(rows, stretch), 0, first
    layers = [row.layer for row in rows]
    small: list[int] = []
    for place in stretch:
        layer = rows[place].layer
        start = start or (layer.forward.second, layer.varying)
        depth += layer.weight is not None
        if asleep[place]:
            continue
        size = _ratio(layer.forward.second, start[0])
        signal = size if layer.varying is None or not start[1] else _ratio(layer.varying, start[1])
        rows[place] = replace(rows[place], forward_ratio=size, signal_ratio=signal)
        if size is not None and size >= RATIO:
            rows[place] = _marked(rows[place], "exploding", "forward")
        elif signal is not None and signal <= 1 / RATIO and depth >= DEPTH and place < last:
            brought = None if layer.varying is None else start[1]
            if not brought or not varies_later(layers, place, brought / RATIO):
                small.append(place)
    # What biases feed stays up while the signal goes; where it goes too, the signal vanishes from the first layer on.
    stays = all((rows[place].forward_ratio or 0.0) > RATIO**-0.5 for place in small)
    for place in small:
        rows[place] = _marked(rows[place], "collapsing" if stays else "vanishing", "forward")


def _backward(rows: list[Judged], stretch: range) -> None:
    last, reference = _last_weight(rows, stretch), None
    behind: set[int] = set()
    for place in reversed(range(stretch.start, last)):
        layer = rows[place].layer
        reference = reference or (layer if _energy(layer) else None)
        # Layers that read the same tensor stand side by side, as queries, keys and values do: one step of depth.
        side = -place if layer.reads is None else layer.reads
        rows[place] = _compared(rows, place, reference, len(behind - {side}) >= DEPTH)
        behind |= {side} if layer.weight is not None else set()


def _norms(rows: list[Judged]) -> None:
    """The gradients of normalisation layers, compared with the last one's."""
    places = [place for place, row in enumerate(rows) if row.layer.kind == "norm" and _energy(row.layer)]
    for depth, place in enumerate(reversed(places)):
        rows[place] = _compared(rows, place, rows[places[-1]].layer, depth >= DEPTH)


def _compared(rows: Sequence[Judged], place: int, end: LayerProbe | None, deep: bool) -> Judged:
    energy = _energy(rows[place].layer)
    ratio = None if end is None or not energy else _ratio(energy, _energy(end))
    row = replace(rows[place], backward_ratio=ratio)
    if ratio is None or end is None:
        return row
    layers = [each.layer for each in rows]
    if ratio >= RATIO and not arrives_at_end(layers, place, 1 / RATIO):
        return _marked(row, "exploding", "backward")
    if ratio <= 1 / RATIO and deep and not reaches_here(layers, place, end, 1 / RATIO):
        return _marked(row, "vanishing", "backward")
    return row


def _marked(row: Judged, verdict: Verdict, direction: str) -> Judged:
    return replace(row, verdict=verdict, direction=direction) if row.verdict == "healthy" else row


def _last_weight(rows: Sequence[Judged], stretch: range) -> int:
    """Index of the stretch's last layer with a weight."""
    return max((place for place in stretch if rows[place].layer.weight), default=stretch.start)


def _ratio(value: float, reference: float) -> float | None:
    return value / reference if reference else None


def _energy(layer: LayerProbe) -> float:
    return 0.0 if layer.gradient is None else layer.gradient.second * layer.gradient.count


def _local(row: Judged, parameters: Mapping[str, ParameterProbe], *, excused: bool, frozen: bool) -> Judged:
    """What a layer shows by itself goes before what it inherits; zeros from before it are not its own (`excused`)."""
    layer = row.layer
    if layer.forward.non_finite:
        return replace(row, verdict="non-finite", direction="forward")
    if layer.gradient is not None and layer.gradient.non_finite:
        return replace(row, verdict="non-finite", direction="backward")
    if layer.weight is not None and is_symmetric(parameters[layer.weight], frozen):
        return replace(row, verdict="symmetric", direction="")
    if not excused and is_dead(layer):
        return replace(row, verdict="dead", direction="forward")
    return row


def is_dead(layer: LayerProbe) -> bool:
    """At least 95 % of an activation's units are zero on the whole batch."""
    return layer.dead is not None and layer.units is not None and layer.dead >= DEAD * layer.units


def is_symmetric(parameter: ParameterProbe, frozen: bool) -> bool:
    """At least half of the weight's units are locked to another.

    Twins without any gradient count only where no matrix of the model can move (`frozen`): else the next step may
    tell them apart, as where a zero gate or a zero last layer opens.
    """
    twins = parameter.twins
    if twins is None:
        return False
    locked = twins.locked if frozen else twins.locked - twins.silent
    return locked >= max(2.0, TWINS * twins.units)


def stuck(parameters: Mapping[str, ParameterProbe]) -> bool:
    """No matrix of the model gets any gradient, so zeros stay zeros."""
    return all(p.gradient is None or p.gradient.second == 0 for p in parameters.values() if p.twins is not None)


def worst(rows: Sequence[Judged]) -> tuple[Verdict, Judged | None]:
    """The gravest verdict, and the layer where it starts: the first one forward, the last one backward."""
    for verdict in GRAVITY[:-1]:
        guilty = [row for row in rows if row.verdict == verdict]
        forward = [row for row in guilty if row.direction != "backward"]
        if guilty:
            return verdict, (forward or guilty[::-1])[0]
    return "healthy", None
