"""From recorded calls to the framework-free record of their dataflow."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from math import prod, sqrt
from typing import Any

import torch

from fanin.graph.flow import Flow, Node, Value
from fanin.graph.operations import AVERAGES, LARGEST
from fanin.torch.tensors import storage_id
from fanin.torch.trace.dependence import Dependence
from fanin.torch.trace.origins import LOOKUPS, SHAPE_ONLY, Origins
from fanin.torch.trace.recording import Call

# Operation → where its dimension stands among the arguments, and what it is where left out.
_AXIS = {
    "cat": (1, 0),
    "stack": (1, 0),
    "_softmax": (1, -1),
    "_log_softmax": (1, -1),
    "topk": (2, -1),
    "sort": (1, -1),
    "argmax": (1, None),
    "max": (1, None),
    "glu": (1, -1),
    "cumsum": (1, -1),
}
# Poolings that are told the size of their window → of how many dimensions it is.
_WINDOWED = {"max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3, "avg_pool2d": 2, "avg_pool3d": 3}
_ATTENTION = ("query", "key", "value")


class FlowBuilder:
    """Takes finished calls one by one, each once `Origins` knows it."""

    def __init__(self, origins: Origins, dependence: Dependence) -> None:
        self._origins = origins
        self._dependence = dependence
        self._nodes: list[Node] = []
        self._makers: list[int] = []
        self._readers: list[list[int]] = []
        self._data: set[int] = set()
        self._chosen: set[int] = set()
        self._contents: dict[int, int] = {}

    def add(self, call: Call, uses: Sequence[int]) -> None:
        """Append one call that made the uses with these indices."""
        is_view = call.is_view
        reads = tuple(self._value(tensor) for tensor in _arguments(call))
        picked = _picked(call)
        if picked is not None:
            reads = (replace(reads[0], shape=tuple(call.outputs[0].shape), strides=picked[0], offset=picked[1]),)
        index = len(self._nodes)
        if call.op in LOOKUPS and self._is_chosen(call):
            self._chosen.add(index)
        if not is_view:
            for memory in {value.memory for value in reads}:
                self._readers[memory].append(index)
            for storage in dict.fromkeys(storage_id(tensor) for tensor in call.outputs):
                self._contents[storage] = self._memory(index)
        writes = tuple(self._value(tensor) for tensor in call.outputs)
        node = Node(
            op=call.op,
            module=call.module,
            reads=reads,
            writes=writes,
            is_view=is_view,
            in_place=not is_view and bool(reads) and _is_same(call.inputs[0], call.outputs[0]),
            pointwise=call.pointwise or picked is not None,
            axis=_axis(call),
            uses=tuple(uses),
            factor=_factor(call),
            window=_window(call),
        )
        self._nodes.append(node)

    def flow(self) -> Flow:
        """The finished record."""
        readers = tuple(tuple(each) for each in self._readers)
        data, chosen = frozenset(self._data), frozenset(self._chosen)
        return Flow(tuple(self._nodes), tuple(self._makers), readers, data, chosen)

    def _is_chosen(self, call: Call) -> bool:
        """Which rows are looked up depends on what stands in the inputs, not only on where it stands."""
        indices = [tensor for tensor in call.inputs[1:] if not tensor.is_floating_point()]
        return self._dependence.has((call.args, call.kwargs)) or any(map(self._origins.is_data, indices))

    def _value(self, tensor: torch.Tensor) -> Value:
        storage = storage_id(tensor)
        if storage not in self._contents:
            self._contents[storage] = self._memory(-1)
        memory = self._contents[storage]
        if self._origins.is_data(tensor) and (tensor.is_floating_point() or tensor.is_complex()):
            self._data.add(memory)
        return Value(memory, tuple(tensor.shape), tuple(tensor.stride()), int(tensor.storage_offset()))

    def _memory(self, maker: int) -> int:
        self._makers.append(maker)
        self._readers.append([])
        return len(self._makers) - 1


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return storage_id(one) == storage_id(other)


def _arguments(call: Call) -> tuple[torch.Tensor, ...]:
    if call.op in SHAPE_ONLY:
        return ()
    if call.op != "scaled_dot_product_attention":
        return call.inputs
    named = [call.kwargs[name] for name in _ATTENTION if name in call.kwargs]
    first = [tensor for tensor in (*call.args[:3], *named) if isinstance(tensor, torch.Tensor)]
    return (*first, *(tensor for tensor in call.inputs if all(tensor is not other for other in first)))


def _picked(call: Call) -> tuple[tuple[int, ...], int] | None:
    """Strides and offset of a copy by constant, evenly spaced indices along one dimension: a slice in other words."""
    if call.op != "index" or call.inputs[0] is not call.args[0]:
        return None
    source, chosen = call.args[:2]
    axes = [axis for axis, places in enumerate(chosen) if places is not None]
    if len(axes) != 1 or chosen[axes[0]].is_meta or chosen[axes[0]].dim() != 1 or chosen[axes[0]].dtype == torch.bool:
        return None
    axis, places = axes[0], chosen[axes[0]].tolist()
    steps = {after - before for before, after in itertools.pairwise(places)}
    if not places or len(steps) > 1:
        return None
    step, strides = next(iter(steps), 1), list(source.stride())
    first = places[0] % source.shape[axis]
    offset = int(source.storage_offset()) + first * strides[axis]
    strides[axis] *= step
    return tuple(strides), offset


def _factor(call: Call) -> float | None:
    """By what number an operation multiplies; None where that is no number known now."""
    if call.op == "scaled_dot_product_attention":
        given = call.kwargs.get("scale")
        return _number(given) if given is not None else 1 / sqrt(_arguments(call)[0].shape[-1])
    if call.op not in ("mul", "div") or len(call.args) < 2 or "rounding_mode" in call.kwargs:
        return None
    numbers = [_number(argument) for argument in call.args[:2]]
    match call.op, numbers:
        case "mul", (None, number) | (number, None):
            return number
        case "div", (None, float() as number) if number:
            return 1 / number
        case _:
            return None


def _window(call: Call) -> int:
    """Of how many elements a pooling, a mean or a maximum makes one; 1 for other operations."""
    if call.op not in LARGEST | AVERAGES:
        return 1
    if call.op in _WINDOWED:
        sizes = call.args[1]
        return prod(sizes) if len(sizes) > 1 else sizes[0] ** _WINDOWED[call.op]
    return max(call.inputs[0].numel() // max(call.outputs[0].numel(), 1), 1)


def _number(argument: object) -> float | None:
    """A number, or that of a tensor which holds one and is not on `meta`."""
    if isinstance(argument, torch.Tensor):
        known = argument.numel() == 1 and not argument.is_meta and argument.is_floating_point()
        return float(argument.item()) if known else None
    return float(argument) if isinstance(argument, int | float) else None


def _axis(call: Call) -> int | None:
    position, default = _AXIS.get(call.op, (len(call.args), None))
    axis: Any = call.args[position] if position < len(call.args) else call.kwargs.get("dim", default)
    return axis if isinstance(axis, int) else None
