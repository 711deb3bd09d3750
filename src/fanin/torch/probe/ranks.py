"""Ranks of a sharded model that each measure a batch of their own: their measurements become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from fanin.torch.agreement.meshes import meshes_of
from fanin.torch.pieces import is_part
from fanin.torch.probe.layer_probe import LayerProbe
from fanin.torch.probe.moments import Moments
from fanin.torch.sharded.dtensor import is_dtensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that ranks share, gathered: every rank must ask for it; any other tensor as it is."""
    return tensor.full_tensor().detach() if is_dtensor(tensor) else tensor


def is_shared(model: nn.Module) -> bool:
    """Whether ranks hold parts of the model."""
    return any(map(is_part, model.parameters()))


def gathered(model: nn.Module, mine: Any) -> list[Any]:
    """What each rank that shares the model says, the first one's first: every rank must call it."""
    import torch.distributed as dist

    said = [mine]
    for mesh in meshes_of(model)[:1]:
        for axis in range(mesh.ndim):
            group = mesh.get_group(axis)
            slots: list[Any] = [None] * dist.get_world_size(group)
            dist.all_gather_object(slots, said, group=group)
            said = [each for slot in slots for each in cast("list[Any]", slot)]
    return said


def joined(reports: Sequence[Sequence[LayerProbe]]) -> tuple[LayerProbe, ...]:
    """The layers as measured by all ranks: moments are averaged over all values, counts of units are the smallest.

    A unit that is dead on one rank's samples may live on another's, so the smallest count bounds what is dead on all.
    Quantiles, histograms, correlations and ranks are averaged or the first rank's. Ranks that saw other layers
    are left out.
    """
    first = reports[0]
    same = [report for report in reports if [row.name for row in report] == [row.name for row in first]]
    return tuple(_joined(rows) for rows in zip(*same, strict=True))


def _joined(rows: Sequence[LayerProbe]) -> LayerProbe:
    first = rows[0]
    gradients = [row.gradient for row in rows if row.gradient is not None]
    return replace(
        first,
        shape=(sum(row.shape[0] for row in rows), *first.shape[1:]) if first.shape else (),
        forward=_merged([row.forward for row in rows]),
        gradient=_merged(gradients) if gradients else None,
        dead=_smallest([row.dead for row in rows]),
        saturated=_smallest([row.saturated for row in rows]),
        varying=_mean([row.varying for row in rows]),
        expected_forward=_mean([row.expected_forward for row in rows]),
        expected_gradient=_mean([row.expected_gradient for row in rows]),
        correlation=_mean([row.correlation for row in rows]),
        effective_rank=_mean([row.effective_rank for row in rows]),
        entropy=_mean([row.entropy for row in rows]),
    )


def _merged(parts: Sequence[Moments]) -> Moments:
    count = sum(part.count for part in parts)
    finite = [part.count - part.non_finite for part in parts]
    share = [each / max(1, sum(finite)) for each in finite]
    return Moments(
        count,
        sum(part.mean * weight for part, weight in zip(parts, share, strict=True)),
        sum(part.second * weight for part, weight in zip(parts, share, strict=True)),
        max(part.max_abs for part in parts),
        sum(part.zeros * weight for part, weight in zip(parts, share, strict=True)),
        sum(part.non_finite for part in parts),
        parts[0].spread,
    )


def _smallest(counts: Sequence[int | None]) -> int | None:
    # Without any zero among its outputs a rank counts nothing: none is dead there.
    return None if all(count is None for count in counts) else min(count or 0 for count in counts)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
