"""Operations that only rearrange, pick or join values: maps, numbers of positions and labels are rearranged too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from fanin.torch.probe.ancestry import bits, merged
from fanin.torch.probe.pairs import Lazy, Pairs, common, mapped
from fanin.torch.probe.rules import Gradients
from fanin.torch.probe.signal import Node, Rule, Signal
from fanin.torch.tensors import storage_id

Move = Callable[[Tensor], Tensor | Sequence[Tensor]]


def moved(node: Node, shape: torch.Size, function: Move) -> Rule | str:
    """An operation that only rearranges or picks values: the maps are rearranged with them."""
    signal = node.signal
    if signal is None:
        return node.why
    count = len(_many(function(torch.empty(shape, device="meta"))))
    outs = tuple(_moved_signal(signal, shape, function, place) for place in range(count))

    def pull(gradients: Gradients) -> Gradients:
        return [_moved_back(function, shape, gradients, signal.second)]

    return Rule((node,), outs, pull, _moved_channel(function, shape, node.channel), "")


def _moved_signal(signal: Signal, shape: torch.Size, function: Move, place: int) -> Signal:
    def turn(map_: Tensor) -> Tensor:
        return _compact(_many(function(map_.expand(shape)))[place])

    def numbers(here: Pairs) -> Pairs:
        return replace(here, ids=turn(here.ids))

    source, outer = signal.behind or (None, None)
    out = replace(
        signal,
        mean=turn(signal.mean),
        second=turn(signal.second),
        pairs=None if signal.pairs is None else signal.pairs.then(numbers),
        behind=None if source is None or outer is None else (_moved_signal(source, shape, function, place), outer),
        labels=None if signal.labels is None else turn(signal.labels),
    )
    return _picked(signal, out)


def _picked(signal: Signal, out: Signal) -> Signal:
    """Some of the units of a fresh weight are independent of the others, and may have a share of their own."""
    if signal.fresh is None or signal.labels is None or out.labels is None:
        return out
    draw, before = signal.fresh
    here = bits(out.labels)
    if here == before or out.labels.unique().numel() == signal.labels.unique().numel():
        return out
    share = 1.0 if signal.profile is None else signal.profile(out.labels)
    return replace(
        out,
        second=out.second * share,
        fresh=(draw, here),
        ancestors={**signal.ancestors, draw: here},
        pairs=mapped(out.pairs, lambda values: values * share),
        profile=None if signal.profile is None else partial(_relative, signal.profile, share),
    )


def _relative(profile: Callable[[Tensor], float], share: float, labels: Tensor) -> float:
    return profile(labels) / share if share else 1.0


def _moved_channel(function: Move, shape: torch.Size, channel: int | None) -> int | None:
    """Where the dimension of the units goes: followed by its stride; None where it is merged with others."""
    if channel is None or shape[channel] == 1:
        return None
    strides = [0] * len(shape)
    strides[channel] = 1
    units = torch.empty(shape[channel], device="meta").as_strided(shape, strides)
    out = _many(function(units))[0]
    places = [d for d, stride in enumerate(out.stride()) if stride and out.shape[d] > 1]
    shares = storage_id(out) == storage_id(units)
    return places[0] if shares and len(places) == 1 else None


def _many(value: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return (value,) if isinstance(value, Tensor) else value


def _moved_back(function: Move, shape: torch.Size, gradients: Gradients, like: Tensor) -> Tensor | None:
    probe = torch.zeros(shape, dtype=like.dtype, device=like.device, requires_grad=True)
    with torch.enable_grad():
        outs = _many(function(probe))
    # Of a piece that nobody uses no gradient comes.
    used = [(out, gradient) for out, gradient in zip(outs, gradients, strict=True) if gradient is not None]
    full = [gradient.expand(out.shape) for out, gradient in used]
    (share,) = torch.autograd.grad([out for out, _ in used], probe, full)
    return share


def _compact(map_: Tensor) -> Tensor:
    """Drop repeats along dimensions of stride 0."""
    for d, (size, stride) in enumerate(zip(map_.shape, map_.stride(), strict=True)):
        if stride == 0 and size > 1:
            map_ = map_.narrow(d, 0, 1)
    return map_


def joined(
    nodes: Sequence[Node | None], signals: Sequence[Signal], sizes: Sequence[int], dim: int, channel: int
) -> Rule:
    """Tensors joined along a dimension: of positions, or of units (then moments vary over these)."""
    units = dim == channel
    draws = {signal.fresh[0] for signal in signals if signal.fresh is not None}
    fresh = None
    if len(draws) == 1 and all(signal.fresh is not None for signal in signals):
        held = 0
        for signal in signals:
            held |= signal.fresh[1] if signal.fresh else 0
        fresh = (next(iter(draws)), held)
    second = _joined_map([signal.second for signal in signals], sizes, dim)
    labels = [signal.labels for signal in signals if signal.labels is not None]
    out = Signal(
        _joined_map([signal.mean for signal in signals], sizes, dim),
        second,
        gaussian=all(signal.gaussian for signal in signals) and not (units and second.shape[dim] > 1),
        fresh=fresh,
        ancestors=merged(signal.ancestors for signal in signals),
        pairs=_joined_pairs(signals, sizes, dim, units=units),
        labels=_joined_map(labels, sizes, dim) if len(labels) == len(signals) else None,
    )
    starts = [sum(sizes[:k]) for k in range(len(sizes))]

    def pull(gradients: Gradients) -> Gradients:
        whole = gradients[0]
        if whole is None:
            return [None] * len(nodes)
        same = whole.shape[dim] == 1
        return [whole if same else whole.narrow(dim, start, size) for start, size in zip(starts, sizes, strict=True)]

    return Rule(tuple(nodes), (out,), pull, channel, "")


def _joined_map(maps: Sequence[Tensor], sizes: Sequence[int], dim: int) -> Tensor:
    rank = max(map_.ndim for map_ in maps)
    shape = torch.broadcast_shapes(*(map_.movedim(dim, 0)[0].shape for map_ in maps if map_.ndim == rank))
    wide: list[Tensor] = []
    for map_, size in zip(maps, sizes, strict=True):
        target = list(shape)
        target.insert(dim % rank, size)
        wide.append(map_.expand(target))
    whole = torch.cat(wide, dim=dim)
    first = whole.narrow(dim, 0, 1)
    return first if bool((whole == first).all()) else whole


def _joined_pairs(signals: Sequence[Signal], sizes: Sequence[int], dim: int, *, units: bool) -> Lazy | None:
    lazies = [signal.pairs for signal in signals]
    if any(lazy is None for lazy in lazies):
        return None

    def thunk() -> Pairs | None:
        every = [found for lazy in lazies if lazy is not None and (found := lazy()) is not None]
        if len(every) != len(lazies):
            return None
        return _mixed(every, sizes) if units else _listed(every, signals, sizes, dim)

    return Lazy(thunk)


def _mixed(every: Sequence[Pairs], sizes: Sequence[int]) -> Pairs | None:
    """Units of several tensors: averages."""
    shared = common(*every)
    if shared is None:
        return None
    tables, ids = shared
    total = sum(size * table for size, table in zip(sizes, tables, strict=True))
    return Pairs(total / sum(sizes), ids) if isinstance(total, Tensor) else None


def _listed(every: Sequence[Pairs], signals: Sequence[Signal], sizes: Sequence[int], dim: int) -> Pairs | None:
    """Positions of several tensors, taken as independent of those of another; a table is kept for each sample."""
    shape = torch.broadcast_shapes(*(each.ids.movedim(dim, 0)[0].shape for each in every))
    if not shape:
        return None
    samples, tables, numbers, means = shape[0], list[Tensor](), list[Tensor](), list[Tensor]()
    offset = 0
    for each, signal, size in zip(every, signals, sizes, strict=True):
        target = list(shape)
        target.insert(dim % each.ids.ndim, size)
        ids = each.ids.expand(target)
        flat = ids.reshape(samples, -1)
        positions = each.values.shape[1]
        block = flat // positions
        if bool((block != block[:, :1]).any()):
            return None
        place = flat % positions
        tables.append(each.values[block[:, :1, None], place[:, :, None], place[:, None, :]])
        means.append(each.at(signal.mean.expand(signal.second.shape))[block[:, :1], place])
        local = torch.arange(offset, offset + flat.shape[1], device=flat.device)
        numbers.append(local.expand(samples, -1).reshape(target))
        offset += flat.shape[1]
    level = torch.cat(means, dim=1)
    values = level[:, :, None] * level[:, None, :]
    start = 0
    for table in tables:
        values[:, start : start + table.shape[1], start : start + table.shape[1]] = table
        start += table.shape[1]
    ids = torch.cat(numbers, dim=dim)
    sample = torch.arange(samples, device=ids.device).reshape(-1, *[1] * (ids.ndim - 1))
    return Pairs(values, ids + sample * offset)
