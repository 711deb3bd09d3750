"""Which parameter a tensor is a look at, and which of its dimensions are which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from fanin.torch.tensors import storage_id
from fanin.torch.trace.recording import Call

Dims = tuple[frozenset[int], ...]

# With all inputs computed from parameters, these still give data: multiplying is a use, and so is looking up.
_PRODUCTS = frozenset(
    (
        "mm",
        "bmm",
        "mv",
        "dot",
        "addmm",
        "baddbmm",
        "addmv",
        "convolution",
        "_trilinear",
    )
)
# They read nothing of their input but its shape.
SHAPE_ONLY = frozenset(
    (
        "empty_like",
        "zeros_like",
        "ones_like",
        "full_like",
        "rand_like",
        "randn_like",
        "new_empty",
        "new_zeros",
        "new_ones",
    )
)
_TABLES = frozenset(("embedding", "_embedding_bag", "_embedding_bag_forward_only", "index_select"))
_PICKS = frozenset(("index", "gather"))
LOOKUPS = _TABLES | _PICKS
# They compute a tensor whose elements stand where they stood (`index` within the matrices that it picks).
_IN_ORDER = frozenset(("clone", "_to_copy", "copy", "_unsafe_view", "_weight_norm_interface", "index"))


@dataclass(frozen=True, slots=True)
class Look:
    """A tensor seen as (part of) a parameter.

    Attributes:
        name: the parameter.
        shape: the parameter's shape.
        dims: for each dimension of the tensor, the parameter's dimensions that it runs over.
        offset: constant that the code added to the parameter on the way (1 for norms that store scale − 1).
        in_place: each dimension of the tensor it was computed into has the parameter's elements in their own order.
    """

    name: str
    shape: tuple[int, ...]
    dims: Dims
    offset: float = 0.0
    in_place: bool = True


@dataclass(frozen=True, slots=True)
class _Base:
    """A memory with a parameter in it."""

    look: Look
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Joined:
    """A memory in which several looks stand side by side along one dimension: (first, last + 1, look) of each."""

    axis: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    segments: tuple[tuple[int, int, Look], ...]

    def at(self, tensor: torch.Tensor) -> tuple[int, int, Look] | None:
        """The segment in which a view of the memory begins."""
        step = self.strides[self.axis]
        first = int(tensor.storage_offset()) // step % self.sizes[self.axis] if step else 0
        return next((segment for segment in self.segments if segment[0] <= first < segment[1]), None)


class Origins:
    """The parameters behind tensors, found by memory through any chain of views, casts and reparametrizations.

    Strides tell which dimensions a view runs over: a dimension of size n and stride s covers the strides [s, n·s),
    and so do the dimensions of the parameter it is a look at, however it was transposed, split, merged or sliced.
    """

    def __init__(self, parameters: dict[str, torch.Tensor]) -> None:
        self._bases: dict[int, _Base] = {}
        self._joined: dict[int, _Joined] = {}
        self._data: set[int] = set()
        for name, tensor in parameters.items():
            shape = tuple(tensor.shape)
            dims = tuple(frozenset((axis,)) for axis in range(len(shape)))
            self._bases.setdefault(storage_id(tensor), _Base(Look(name, shape, dims), shape, tensor.stride()))

    def of(self, tensor: object) -> Look | None:
        """The look that a tensor is, or None for data and constants."""
        if not isinstance(tensor, torch.Tensor) or not tensor.is_meta:
            return None
        base = self._base(tensor)
        if base is None:
            return None
        spans = zip(tensor.shape, tensor.stride(), strict=True)
        dims = tuple(_covered(base, size, stride) for size, stride in spans)
        return Look(base.look.name, base.look.shape, dims, base.look.offset, base.look.in_place)

    def _base(self, tensor: torch.Tensor) -> _Base | None:
        storage = storage_id(tensor)
        joined = self._joined.get(storage)
        if joined is None:
            return self._bases.get(storage)
        segment = joined.at(tensor)
        return None if segment is None else _Base(segment[2], joined.sizes, joined.strides)

    def apart(self, tensor: torch.Tensor) -> list[tuple[torch.Tensor, int, int]]:
        """A tensor cut where one look ends and the next begins, with the dimension that is cut and where each begins.

        The dimension is −1 where nothing is cut.
        """
        joined = self._joined.get(storage_id(tensor))
        if joined is None:
            return [(tensor, -1, 0)]
        step = joined.strides[joined.axis]
        cut = next((dim for dim in range(tensor.dim()) if tensor.stride(dim) == step and tensor.shape[dim] > 1), None)
        begin = int(tensor.storage_offset()) // step % joined.sizes[joined.axis]
        if cut is None or begin + tensor.shape[cut] > joined.sizes[joined.axis]:
            return [(tensor, -1, 0)]
        ends = [(max(low - begin, 0), min(high - begin, int(tensor.shape[cut]))) for low, high, _ in joined.segments]
        return [(tensor.narrow(cut, low, high - low), cut, low) for low, high in ends if low < high]

    def along(self, tensor: torch.Tensor, dim: int) -> dict[int, NDArray[np.intp]]:
        """Where the elements along one dimension of a look lie in the parameter: their index in each stored dimension.

        A stored dimension of which the look shows a computed selection (picked experts) is left out.
        """
        base, joined = self._base(tensor), self._joined.get(storage_id(tensor))
        if base is None or not base.look.in_place:
            return {}
        segment = None if joined is None else joined.at(tensor)
        places = int(tensor.storage_offset()) + np.arange(tensor.shape[dim]) * int(tensor.stride(dim))
        found: dict[int, NDArray[np.intp]] = {}
        for dim_of, (extent, step, dims) in enumerate(zip(base.sizes, base.strides, base.look.dims, strict=True)):
            low, high = segment[:2] if joined and segment and joined.axis == dim_of else (0, extent)
            for axis in dims:
                if len(dims) == 1 and step and high - low == base.look.shape[axis]:
                    found[axis] = places // step % extent - low
        return found | {axis: np.zeros_like(places) for axis, size in enumerate(base.look.shape) if size == 1}

    def is_data(self, tensor: torch.Tensor) -> bool:
        """The tensor depends on the model's inputs."""
        return storage_id(tensor) in self._data

    def mark_data(self, tensors: Sequence[torch.Tensor]) -> None:
        """Note that tensors depend on the model's inputs (through parameters or not)."""
        for tensor in tensors:
            self._data.add(storage_id(tensor))
            self._bases.pop(storage_id(tensor), None)
            self._joined.pop(storage_id(tensor), None)

    def derives(self, call: Call) -> Look | None:
        """The look that `call` computes from parameters and constants alone, if it does; else its outputs are data."""
        if call.op in SHAPE_ONLY:
            return None
        looks = [(tensor, look) for tensor in call.inputs if (look := self.of(tensor)) is not None]
        if not looks:
            if any(self.is_data(tensor) for tensor in call.inputs):
                self.mark_data(call.outputs)
            return None
        if self._consumes(call, looks):
            self.mark_data([out for out in call.outputs if self.of(out) is None])
            return None
        if call.op in ("cat", "stack") and len({look.name for _, look in looks}) > 1:
            return self._join(call)
        return self._derive(call, max(looks, key=lambda pair: pair[0].numel())[1])

    def _consumes(self, call: Call, looks: list[tuple[torch.Tensor, Look]]) -> bool:
        if call.op in _PRODUCTS or any(is_lookup(call, look) for _, look in looks):
            return True
        return any(self.is_data(tensor) for tensor in call.inputs)

    def _join(self, call: Call) -> Look | None:
        """Parameters put side by side: each stays a look of its own."""
        out, tensors = call.outputs[0], call.args[0]
        axis = (int(call.args[1]) if len(call.args) > 1 else 0) % out.dim()
        segments: list[tuple[int, int, Look]] = []
        first = 0
        for tensor in tensors:
            extent = 1 if call.op == "stack" else int(tensor.shape[axis])
            look = self.of(tensor)
            if look is not None:
                new = [frozenset[int]()] if call.op == "stack" else []
                dims = (*look.dims[:axis], *new, *look.dims[axis:])
                segments.append((first, first + extent, replace(look, dims=dims)))
            first += extent
        self._joined[storage_id(out)] = _Joined(axis, tuple(out.shape), out.stride(), tuple(segments))
        return segments[0][2]

    def _derive(self, call: Call, look: Look) -> Look:
        offset = look.offset + _added(call)
        for out in call.outputs:
            ordered = look.in_place and (call.pointwise or call.op in _IN_ORDER)
            derived = Look(look.name, look.shape, _derived_dims(call, look.dims, out), offset, ordered)
            self._bases.setdefault(storage_id(out), _Base(derived, tuple(out.shape), out.stride()))
        return look


def is_lookup(call: Call, look: Look) -> bool:
    """The call takes rows of a table; picking matrices out of a stack (experts) is not meant."""
    return call.op in _TABLES or (call.op in _PICKS and len(look.shape) <= 2)


def _covered(base: _Base, size: int, stride: int) -> frozenset[int]:
    if size <= 1 or stride == 0:
        return frozenset()
    found: set[int] = set()
    for extent, step, dims in zip(base.sizes, base.strides, base.look.dims, strict=True):
        if extent > 1 and step and step < stride * size and stride < step * extent:
            found |= dims
    return frozenset(found)


def _derived_dims(call: Call, dims: Dims, out: torch.Tensor) -> Dims:
    if call.op == "index":
        at = [axis for axis, picked in enumerate(call.args[1]) if picked is not None]
        if len(at) == 1:
            axis = at[0]
            dims = dims[:axis] + (dims[axis],) * call.args[1][axis].dim() + dims[axis + 1 :]
    return dims if len(dims) == out.dim() else (frozenset[int](),) * out.dim()


def _added(call: Call) -> float:
    number = call.args[1] if call.op == "add" and len(call.args) > 1 else 0.0
    return float(number) if isinstance(number, (int, float)) else 0.0
