"""The depth factor of residual branches on a weight that does not write to the residual stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isclose, prod, sqrt

from fanin.auditing.fresh import is_plain
from fanin.auditing.records import Scene, Seen
from fanin.auditing.rules.scale import error_of_std
from fanin.checking import Finding

_READS = {
    "mlp up": ("mlp gate", "mlp down"),
    "attention query": ("attention output",),
    "attention key": ("attention output",),
    "attention value": ("attention output",),
    "packed": ("attention output",),
}
"""Roles that read the stream, and the roles beside which they would have to stand out."""
_GAINS = (1.0, sqrt(2.0), 1 / sqrt(3.0))
_CLOSE = 0.02
_UNSURE = 0.1  # so few values tell no factor from another


def residual_scale(scene: Scene) -> Iterator[Finding]:
    """A weight that reads the stream is smaller than its neighbour by just the factor that belongs on the output."""
    if scene.trained:
        return
    for block in _blocks(scene).values():
        for seen in block:
            for beside in _READS.get(seen.role, ()):
                other = next((each for each in block if each.role == beside), None)
                if other is not None and (factor := _depth_factor(seen, other)) is not None:
                    yield _misplaced(seen, other, factor, block)
                    break


def _blocks(scene: Scene) -> Mapping[tuple[str, int], list[Seen]]:
    found: dict[tuple[str, int], list[Seen]] = {}
    for seen in scene.tensors:
        if seen.matrix and seen.place.layer is not None and seen.std and seen.place.layers > 1:
            found.setdefault((seen.place.stack, seen.place.layer), []).append(seen)
    return found


def _depth_factor(seen: Seen, other: Seen) -> float | None:
    """1/√(2·layers) or the like, if the std of one weight is that of the other times it, in one of two senses."""
    if not (seen.std and other.std) or not all(
        each.numbers is None or is_plain(each.numbers) for each in (seen, other)
    ):
        return None
    margin = _CLOSE + 0.6 * (error_of_std(seen) + error_of_std(other))
    if margin > _UNSURE or _is_formula(seen, margin):
        return None
    ratio = seen.std / other.std
    if _is_formula(other, margin) and _fan_in(seen):
        ratio *= sqrt(_fan_in(seen) / _fan_in(other))
    return next((factor for factor in _factors(seen) if isclose(ratio, factor, rel_tol=margin)), None)


def _is_formula(seen: Seen, margin: float) -> bool:
    """Whether the std is a gain over the root of a fan, however the fan was read."""
    if not seen.axes or len(seen.shape) < 2 or not _fan_in(seen):
        return False
    read_in, read_out = prod(seen.shape[1:]), seen.shape[0] * prod(seen.shape[2:])
    fans = (*seen.axes.fans, sum(seen.axes.fans) / 2, read_in, read_out, (read_in + read_out) / 2)
    return any(isclose(seen.std or 0.0, gain / sqrt(fan), rel_tol=margin) for gain in _GAINS for fan in fans)


def _factors(seen: Seen) -> Sequence[float]:
    layer, layers = seen.place.layer or 0, seen.place.layers
    counts = (2 * layers, layers, 2 * (layer + 1), layer + 1)
    return [1 / sqrt(count) for count in counts if count > 1]


def _fan_in(seen: Seen) -> float:
    return seen.axes.fan_in if seen.axes is not None else 0.0


def _misplaced(seen: Seen, other: Seen, factor: float, block: Sequence[Seen]) -> Finding:
    output = next((each for each in block if each.role in ("mlp down", "attention output")), other)
    return Finding(
        "residual-scale",
        "warning",
        seen.name,
        f"std {seen.std:.4g}, {factor:.3g} times the {other.std:.4g} of {other.name}",
        f"the depth factor {factor:.3g} on {output.name}, whose output is added to the residual stream, and only there",
        f"the residual scaling stands on {_called(seen)}, which reads the stream and does not write to it",
        f'torch.nn.init.normal_(model.get_parameter("{seen.name}"), 0, {(seen.std or 0.0) / factor:.4g})',
    )


def _called(seen: Seen) -> str:
    return "packed queries, keys and values" if seen.role == "packed" else f"the {seen.role}"
