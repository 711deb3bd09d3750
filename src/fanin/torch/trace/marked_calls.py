"""What one operation does with tensors whose elements are marked with the output that they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._pytree import tree_leaves, tree_map

from fanin.graph.operations import NORMS, REDUCTIONS, RESAMPLING
from fanin.torch.trace.origins import SHAPE_ONLY
from fanin.torch.trace.recording import Call

Mask = NDArray[np.bool_]

_COPIES = frozenset(("_to_copy", "clone", "alias", "detach", "lift_fresh", "native_dropout"))
_RESHAPES = frozenset(("view", "_unsafe_view", "reshape"))
_MOVES = frozenset(("cat", "stack", "index", "repeat", "roll", "flip"))
# Each channel is worked on by itself, over positions.
_CHANNELWISE = RESAMPLING | {"cumsum"}
_MULTIPLIES = frozenset(("mul", "div"))
_LARGEST = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """A tensor's markers: which output each element comes from (−1: none of them).

    Sums of different outputs have one layer for each. `rotated`: sums of the same outputs stand side by side, as
    after a rotary embedding, so that the outputs belong together.
    """

    layers: tuple[torch.Tensor, ...]
    rotated: bool = False

    def union(self, size: int) -> Mask:
        """All outputs in it."""
        return np.logical_or.reduce([features(layer, size) for layer in self.layers])

    def apart(self, size: int) -> list[Mask]:
        """Groups of outputs as an operation that mixes all its elements sees them."""
        return [self.union(size)] if self.rotated else [features(layer, size) for layer in self.layers]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Markers of a call's outputs, and the groups of outputs that it mixes; `halves` for a gated linear unit."""

    values: tuple[Marked | None, ...] = ()
    ends: tuple[Mask, ...] = ()
    halves: tuple[Mask, ...] = ()


def features(marker: torch.Tensor, size: int) -> Mask:
    """Which of `size` outputs the marker names."""
    mask = np.zeros(size + 1, bool)
    if marker.numel():
        # Markers are expanded over positions: one position tells all.
        mask[marker[tuple(0 if step == 0 else slice(None) for step in marker.stride())].numpy()] = True
    return mask[:size]


def marked(call: Call, known: Mapping[int, Marked], size: int) -> Outcome:
    """Take one call into a walk.

    Args:
        call: the operation.
        known: markers of its inputs, by place among `call.inputs`.
        size: how many outputs are followed.
    """
    if call.op in SHAPE_ONLY:
        return Outcome()
    if call.op in REDUCTIONS:
        return Outcome(tuple(_each(value, lambda layer: _reduced(call, layer)) for value in known.values()))
    if call.op == "glu":
        dim = int(call.args[1]) if len(call.args) > 1 else -1
        layer = next(iter(known.values())).layers[0]
        return Outcome(halves=tuple(features(half, size) for half in layer.chunk(2, dim)))
    values = _carried(call, known, size)
    if values is not None:
        return Outcome(values)
    return Outcome(ends=tuple(mask for value in known.values() for mask in value.apart(size)))


def _carried(call: Call, known: Mapping[int, Marked], size: int) -> tuple[Marked | None, ...] | None:
    first = next(iter(known.values()))
    out = call.outputs[0]
    if call.op in _COPIES or call.op in NORMS:
        return (first if 0 in known and first.layers[0].shape == out.shape else None,)
    if call.op in _RESHAPES:
        return _kept(_each(first, lambda layer: _reshaped(layer, out)))
    if call.op in _CHANNELWISE or _is_depthwise(call, known):
        return _kept(_each(first, lambda layer: _resized(layer, out)))
    if call.is_view or call.op in _MOVES:
        return _replayed(call, known, size)
    return _pointwise(known, out, size, call.op) if call.pointwise else None


def _kept(value: Marked | None) -> tuple[Marked] | None:
    return None if value is None else (value,)


def _each(value: Marked, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Marked | None:
    layers = [changed for layer in value.layers if (changed := change(layer)) is not None]
    return Marked(tuple(layers), value.rotated) if len(layers) == len(value.layers) else None


def _reshaped(layer: torch.Tensor, out: torch.Tensor) -> torch.Tensor | None:
    if layer.numel() != out.numel():  # another dtype's view of the memory
        return None
    try:
        return layer.view(out.shape)
    except RuntimeError:
        positions, leading = _positions(layer.shape, out.shape, layer.stride())
        one = layer[(0,) * positions]
        return one.reshape(out.shape[leading:]).expand(out.shape) if one.numel() <= _LARGEST else None


def _positions(shape: torch.Size, new: torch.Size, strides: tuple[int, ...]) -> tuple[int, int]:
    """How many leading dimensions of two shapes of equal size run over the same positions, with the same markers."""
    first = second = 0
    best = (0, 0)
    while first < len(shape) and strides[first] == 0:
        first += 1
        while second < len(new) and prod(new[:second]) < prod(shape[:first]):
            second += 1
        if prod(new[:second]) == prod(shape[:first]):
            best = (first, second)
    return best


def _resized(layer: torch.Tensor, out: torch.Tensor) -> torch.Tensor | None:
    """Other sizes along dimensions that run over positions."""
    if layer.dim() != out.dim():
        return None
    for dim, (old, new) in enumerate(zip(layer.shape, out.shape, strict=True)):
        if old != new:
            if layer.stride(dim) and old > 1:
                return None
            layer = layer.narrow(dim, 0, 1)
    return layer.expand(out.shape)


def _is_depthwise(call: Call, known: Mapping[int, Marked]) -> bool:
    if call.op != "convolution" or list(known) != [0]:
        return False
    return int(call.args[8]) == call.args[0].shape[1] == call.outputs[0].shape[1]


def _reduced(call: Call, layer: torch.Tensor) -> torch.Tensor | None:
    named = next((arg for arg in call.args[1:] if isinstance(arg, (list, tuple)) and arg), None)
    out = call.outputs[0]
    if named is None or layer.dim() not in (out.dim(), out.dim() + len(named)):
        return None
    dims = {dim % layer.dim() for dim in named}
    if any(layer.stride(dim) and layer.shape[dim] > 1 for dim in dims):
        return None
    gone = 0 if layer.dim() > out.dim() else slice(0, 1)
    return layer[tuple(gone if dim in dims else slice(None) for dim in range(layer.dim()))]


def _replayed(call: Call, known: Mapping[int, Marked], size: int) -> tuple[Marked | None, ...] | None:
    """The operation done to markers instead of values; markers of other tensors are −1."""
    count = max(len(value.layers) for value in known.values())
    runs = [_run(call, known, number) for number in range(count)]
    done = [run for run in runs if run is not None]
    if len(done) < count:
        return None
    rotated = any(value.rotated for value in known.values()) or _rotates(call, list(known.values()), size)
    return tuple(Marked(tuple(run[place] for run in done), rotated) for place in range(len(call.outputs)))


def _run(call: Call, known: Mapping[int, Marked], number: int) -> list[torch.Tensor] | None:
    by_id = {id(call.inputs[place]): value.layers[min(number, len(value.layers) - 1)] for place, value in known.items()}

    def instead(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not leaf.is_meta:
            return leaf
        found = by_id.get(id(leaf))
        return torch.tensor(-1, dtype=torch.int32).expand(leaf.shape) if found is None else found

    if call.op == "index" and any(picked is not None and picked.is_meta for picked in call.args[1]):
        return None
    if call.op == "cat":
        return _side_by_side(call, [instead(tensor) for tensor in call.args[0]])
    args, kwargs = tree_map(instead, (call.args, call.kwargs))
    if call.op in _MOVES and sum(out.numel() for out in call.outputs) > _LARGEST:
        return None
    try:
        results = [leaf for leaf in tree_leaves(call.function(*args, **kwargs)) if isinstance(leaf, torch.Tensor)]
    except (RuntimeError, IndexError, TypeError, NotImplementedError):
        return None
    shapes = [result.shape == out.shape for result, out in zip(results, call.outputs, strict=False)]
    return results if len(results) == len(call.outputs) and all(shapes) else None


def _side_by_side(call: Call, layers: Sequence[torch.Tensor]) -> list[torch.Tensor] | None:
    """Concatenated markers, which stay expanded over positions."""
    out = call.outputs[0]
    layers = [layer for layer in layers if layer.dim() == out.dim()]
    axis = (int(call.args[1]) if len(call.args) > 1 else 0) % out.dim()
    for dim in range(out.dim()):
        if dim != axis and all(layer.stride(dim) == 0 for layer in layers):
            layers = [layer.narrow(dim, 0, 1) for layer in layers]
    return [torch.cat(layers, axis).expand(out.shape)] if sum(layer.numel() for layer in layers) <= _LARGEST else None


def _rotates(call: Call, values: Sequence[Marked], size: int) -> bool:
    """Sums of the same outputs are put side by side."""
    if call.op not in ("cat", "stack") or len(values) < 2 or all(len(value.layers) < 2 for value in values):
        return False
    unions = [value.union(size) for value in values]
    return any((one & other).any() for place, one in enumerate(unions) for other in unions[:place])


def _pointwise(known: Mapping[int, Marked], out: torch.Tensor, size: int, op: str) -> tuple[Marked | None, ...] | None:
    """Markers of a pointwise result; None where it multiplies different outputs, which mixes them."""
    layers: list[torch.Tensor] = []
    masks: list[Mask] = []
    for value in known.values():
        for layer in value.layers:
            mask = features(layer, size)
            if any((mask == seen).all() for seen in masks):
                continue
            layers.append(layer)
            masks.append(mask)
    if op in _MULTIPLIES and len(known) > 1 and len(masks) > 1 and not _overlap(known, size):
        return None
    rotated = any(value.rotated for value in known.values())
    try:
        return (Marked(tuple(layer.expand(out.shape) for layer in layers), rotated),)
    except RuntimeError:
        return None


def _overlap(known: Mapping[int, Marked], size: int) -> bool:
    unions = [value.union(size) for value in known.values()]
    return any((one & other).any() for place, one in enumerate(unions) for other in unions[:place])
