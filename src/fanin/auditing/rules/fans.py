"""Standard deviations of a known formula with fans that are not those of the operation."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, prod, sqrt
from typing import NamedTuple

from fanin.auditing.fresh import follows
from fanin.auditing.records import Scene, Seen
from fanin.auditing.rules.remedies import drawn
from fanin.auditing.rules.scale import error_of_std
from fanin.checking import Finding

_GAINS = (sqrt(2.0), 1.0, 1 / sqrt(3.0))
_CLOSE = 0.005
_UNSURE = 0.06  # so few values tell no formula from another


def fans(scene: Scene) -> Iterator[Finding]:
    """Grouped convolutions, packed projections and stacked experts drawn with the fans of the stored shape.

    Swapped fans (transposed convolutions, layers stored [in, out]) look like the formula's other mode: only a plan
    tells them apart.
    """
    if scene.trained or scene.plan is not None:
        return
    for seen in scene.weights:
        margin = _CLOSE + 0.6 * error_of_std(seen)
        if follows(seen, seen.native) or margin > _UNSURE:
            continue
        slip = _slip(seen, margin)
        if slip is not None:
            yield Finding(
                "fans",
                "warning",
                seen.name,
                f"std {seen.std:.4g}, that of {slip.what}: {slip.wrong:.4g}",
                f"std {slip.right:.4g} by the same formula with the fans of the operation",
                "the fans were read off the stored shape, which does not tell groups, experts or packed blocks",
                drawn(seen, slip.right),
            )


class _Slip(NamedTuple):
    """A formula with the fan read off the shape, and with the right one."""

    what: str
    wrong: float
    right: float


def _slip(seen: Seen, margin: float) -> _Slip | None:
    """The formula with the wrong fans that gives this std, if none with the right ones does."""
    std = seen.std or 0.0
    slips = list(_slips(seen))
    if any(isclose(std, slip.right, rel_tol=margin) for slip in slips):
        return None
    apart = (slip for slip in slips if not isclose(slip.wrong, slip.right, rel_tol=3 * margin))
    return next((slip for slip in apart if isclose(std, slip.wrong, rel_tol=margin)), None)


def _slips(seen: Seen) -> Iterator[_Slip]:
    axes = seen.axes
    if axes is None or not axes.fan_in or not axes.fan_out or len(seen.shape) < 2:
        return
    read_in, read_out = prod(seen.shape[1:]), seen.shape[0] * prod(seen.shape[2:])  # as torch.nn.init reads a shape
    if axes.groups > 1 or axes.batch:
        what = "independent experts counted as channels" if axes.batch else "a fan that ignores the groups"
        for gain in _GAINS:
            yield _Slip(what, gain / sqrt(read_in), gain / sqrt(axes.fan_in))
            yield _Slip(what, gain / sqrt(read_out), gain / sqrt(axes.fan_out))
        yield _Slip(what, sqrt(2 / (read_in + read_out)), sqrt(2 / sum(axes.fans)))
    blocks = [use.axes for use in seen.uses if use.parts and use.axes is not None]
    if len(blocks) > 1 and len(seen.shape) == 2:
        inside, packed = blocks[0].fan_in, sum(block.fan_out for block in blocks)
        yield _Slip("the packed matrix drawn as one", sqrt(2 / (inside + packed)), sqrt(2 / sum(blocks[0].fans)))
