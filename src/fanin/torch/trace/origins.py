"""Which parameter a tensor is a look at, and which of its dimensions are which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

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
_LOOKUPS = frozenset(("embedding", "_embedding_bag", "_embedding_bag_forward_only", "index_select"))
_PICKS = frozenset(("index", "gather"))


@dataclass(frozen=True, slots=True)
class Look:
    """A tensor seen as (part of) a parameter.

    Attributes:
        name: the parameter.
        shape: the parameter's shape.
        dims: for each dimension of the tensor, the parameter's dimensions that it runs over.
        offset: constant that the code added to the parameter on the way (1 for norms that store scale − 1).
    """

    name: str
    shape: tuple[int, ...]
    dims: Dims
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class _Base:
    look: Look
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


class Origins:
    """The parameters behind tensors, found by memory through any chain of views, casts and reparametrizations.

    Strides tell which dimensions a view runs over: a dimension of size n and stride s covers the strides [s, n·s),
    and so do the dimensions of the parameter it is a look at, however it was transposed, split, merged or sliced.
    """

    def __init__(self, parameters: dict[str, torch.Tensor]) -> None:
        self._bases: dict[int, _Base] = {}
        self._data: set[int] = set()
        for name, tensor in parameters.items():
            shape = tuple(tensor.shape)
            dims = tuple(frozenset((axis,)) for axis in range(len(shape)))
            self._bases.setdefault(storage_id(tensor), _Base(Look(name, shape, dims), shape, tensor.stride()))

    def of(self, tensor: object) -> Look | None:
        """The look that a tensor is, or None for data and constants."""
        if not isinstance(tensor, torch.Tensor) or not tensor.is_meta:
            return None
        base = self._bases.get(storage_id(tensor))
        if base is None:
            return None
        spans = zip(tensor.shape, tensor.stride(), strict=True)
        dims = tuple(_covered(base, size, stride) for size, stride in spans)
        return Look(base.look.name, base.look.shape, dims, base.look.offset)

    def is_data(self, tensor: torch.Tensor) -> bool:
        """The tensor depends on the model's inputs."""
        return storage_id(tensor) in self._data

    def mark_data(self, tensors: Sequence[torch.Tensor]) -> None:
        """Note that tensors depend on the model's inputs (through parameters or not)."""
        for tensor in tensors:
            self._data.add(storage_id(tensor))
            self._bases.pop(storage_id(tensor), None)

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
        return self._derive(call, max(looks, key=lambda pair: pair[0].numel())[1])

    def _consumes(self, call: Call, looks: list[tuple[torch.Tensor, Look]]) -> bool:
        if call.op in _PRODUCTS or any(is_lookup(call, look) for _, look in looks):
            return True
        return any(self.is_data(tensor) for tensor in call.inputs)

    def _derive(self, call: Call, look: Look) -> Look:
        offset = look.offset + _added(call)
        for out in call.outputs:
            derived = Look(look.name, look.shape, _derived_dims(call, look.dims, out), offset)
            self._bases.setdefault(storage_id(out), _Base(derived, tuple(out.shape), out.stride()))
        return look


def is_lookup(call: Call, look: Look) -> bool:
    """The call takes rows of a table; picking matrices out of a stack (experts) is not meant."""
    return call.op in _LOOKUPS or (call.op in _PICKS and len(look.shape) <= 2)


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
