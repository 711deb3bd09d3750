"""What one operation does with the parameters it reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod

import torch

from fanin.axes import Axes
from fanin.errors import ArgumentError
from fanin.graph.records import Use
from fanin.torch.tensors import storage_id
from fanin.torch.trace.origins import Look, Origins, is_lookup
from fanin.torch.trace.recording import RECURRENT, Call

# Operation → positions of its scale and shift among the arguments.
NORMS = {
    "native_layer_norm": (2, 3),
    "native_group_norm": (1, 2),
    "native_batch_norm": (1, 2),
    "_native_batch_norm_legit": (1, 2),
    "_native_batch_norm_legit_no_training": (1, 2),
    "_batch_norm_with_update": (1, 2),
    "_batch_norm_no_update": (1, 2),
    "cudnn_batch_norm": (1, 2),
    "_fused_rms_norm": (2, 3),
}
# Operation → position of (bias, left factor), where the right factor comes after the left one.
_PRODUCTS = {
    "mm": (None, 0),
    "bmm": (None, 0),
    "mv": (None, 0),
    "dot": (None, 0),
    "_grouped_mm": (None, 0),
    "addmm": (0, 1),
    "baddbmm": (0, 1),
    "addmv": (0, 1),
}
# Lookup → position of its padding row, which torch writes as −1 where there is none.
_PADDING = {"embedding": 2, "_embedding_bag": 8, "_embedding_bag_forward_only": 8}
_SUMS = frozenset(("add", "sub"))
_MULTIPLIES = frozenset(("mul", "div"))
CONTRACTIONS = frozenset((*_PRODUCTS, "convolution", "_trilinear"))


class Uses:
    """Reads uses of parameters off calls; remembers what computed each tensor."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._producers: dict[int, Call] = {}

    def of(self, call: Call) -> list[Use]:
        """The uses that `call` makes of parameters, in argument order."""
        found = list(self._uses(call))
        if not call.is_view:
            self._producers |= {storage_id(out): call for out in call.outputs}
        return found

    def _uses(self, call: Call) -> Iterator[Use]:
        if call.op in _PRODUCTS:
            yield from self._product(call)
        elif call.op == "convolution":
            yield from self._convolution(call)
        elif call.op in NORMS:
            scale, shift = NORMS[call.op]
            yield from self._plain(call, _at(call, scale), "norm_scale")
            yield from self._plain(call, _at(call, shift), "norm_shift")
        elif call.op == "_trilinear":
            yield from self._bilinear(call)
        elif call.op in RECURRENT:
            yield from self._recurrent(call)
        else:
            yield from self._other(call)

    def _product(self, call: Call) -> Iterator[Use]:
        bias, left = _PRODUCTS[call.op]
        if bias is not None:
            yield from self._plain(call, _at(call, bias), "bias")
        for position in (left, left + 1):
            tensor = call.args[position]
            look = self._origins.of(tensor)
            if look is not None:
                axes = product_axes(look, tensor.dim(), on_left=position == left)
                yield _use(look, "linear", call, axes)

    def _convolution(self, call: Call) -> Iterator[Use]:
        weight, bias, stride = call.args[1], call.args[2], call.args[3]
        transposed, groups = bool(call.args[6]), int(call.args[8])
        look = self._origins.of(weight)
        if look is not None:
            first, second = look.dims[0], look.dims[1]
            inputs, outputs = (first, second) if transposed else (second, first)
            # torch repeats a single stride over all the dimensions of the kernel
            strides = prod(stride) if len(stride) == weight.dim() - 2 else prod(stride) ** (weight.dim() - 2)
            kernel = frozenset[int]().union(*look.dims[2:])
            axes = _axes(look, inputs, outputs, kernel=kernel, groups=groups, transposed=transposed, stride=strides)
            yield _use(look, "conv_transpose" if transposed else "conv", call, axes)
        yield from self._plain(call, bias, "bias")

    def _bilinear(self, call: Call) -> Iterator[Use]:
        for tensor in call.args[:3]:
            look = self._origins.of(tensor)
            if look is not None:
                named = [dims for dims in look.dims if dims]
                axes = _axes(look, frozenset[int]().union(*named[1:]), named[0]) if len(look.shape) == 3 else None
                yield _use(look, "bilinear", call, axes)

    def _recurrent(self, call: Call) -> Iterator[Use]:
        for look in self._looks(call.inputs):
            matrix = len(look.shape) == 2
            yield _use(look, call.op if matrix else "bias", call, Axes.linear(look.shape) if matrix else None)

    def _plain(self, call: Call, tensor: object, op: str) -> Iterator[Use]:
        look = self._origins.of(tensor)
        if look is not None:
            yield _use(look, op, call, None)

    def _other(self, call: Call) -> Iterator[Use]:
        looks = self._looks(call.inputs)
        if not looks or call.is_view:
            return
        data = [tensor for tensor in call.inputs if self._origins.is_data(tensor)]
        if is_lookup(call, looks[0]):
            yield replace(_use(looks[0], "embedding", call, None), padding=_padding(call, looks[0]))
        elif data:
            for look in looks:
                op = self._pointwise_op(call, look, data)
                yield _use(look, op, call, None)
        else:
            # Several parameters make one (weight norm): the largest is followed on, the others end here.
            for look in sorted(looks, key=lambda look: prod(look.shape))[:-1]:
                yield _use(look, call.op, call, None)

    def _pointwise_op(self, call: Call, look: Look, data: list[torch.Tensor]) -> str:
        if call.op in _SUMS:
            return self._sum_op(look, data)
        if call.op in _MULTIPLIES:
            return "norm_scale" if any(self._is_normalised(tensor) for tensor in data) else "scale"
        return "prelu" if call.op == "_prelu_kernel" else call.op

    def _sum_op(self, look: Look, data: list[torch.Tensor]) -> str:
        if sum(size > 1 for size in look.shape) > 1:
            return "position"
        before = [self._producer(tensor) for tensor in data]
        if any(call is not None and call.op in CONTRACTIONS for call in before):
            return "bias"
        scaled = any(call is not None and call.op in _MULTIPLIES and self._looks(call.inputs) for call in before)
        return "norm_shift" if scaled else "bias"

    def _is_normalised(self, tensor: torch.Tensor) -> bool:
        """The tensor is some x divided by a root of its own mean square, or comes straight from a norm."""
        call = self._producer(tensor)
        if call is None:
            return False
        if call.op in NORMS:
            return True
        roots = [self._producer(factor) for factor in call.inputs]
        return call.op in _MULTIPLIES and any(root is not None and root.op in _ROOTS for root in roots)

    def _producer(self, tensor: torch.Tensor) -> Call | None:
        call = self._producers.get(storage_id(tensor))
        while call is not None and call.op in _CASTS:
            call = self._producers.get(storage_id(call.inputs[0]))
        return call

    def _looks(self, tensors: Iterable[torch.Tensor]) -> list[Look]:
        return [look for tensor in tensors if (look := self._origins.of(tensor)) is not None]


_ROOTS = frozenset(("rsqrt", "sqrt", "pow", "std", "linalg_vector_norm", "norm"))
_CASTS = frozenset(("_to_copy", "clone", "_unsafe_view"))


def product_axes(look: Look, rank: int, *, on_left: bool) -> Axes | None:
    """The axes of a factor of a (batched) matrix product: the left one contracts its last dimension.

    None where one stored dimension is contracted in part and free in part.
    """
    if rank == 1:
        contracted, free = 0, None
    else:
        contracted, free = (rank - 1, rank - 2) if on_left else (rank - 2, rank - 1)
    outputs = frozenset[int]() if free is None else look.dims[free]
    return _axes(look, look.dims[contracted], outputs)


def _axes(
    look: Look,
    inputs: frozenset[int],
    outputs: frozenset[int],
    *,
    kernel: frozenset[int] = frozenset(),
    groups: int = 1,
    transposed: bool = False,
    stride: int = 1,
) -> Axes | None:
    covered = frozenset[int]().union(*look.dims)
    spare = [axis for axis, size in enumerate(look.shape) if size == 1 and axis not in covered]
    # A dimension of size 1 leaves no trace in strides; which one is meant changes no fan.
    sides = {"inputs": inputs, "outputs": outputs}
    for side in ("inputs", "outputs") if transposed else ("outputs", "inputs"):
        if not sides[side] and spare:
            sides[side] = frozenset((spare.pop(0),))
    inputs, outputs = sides["inputs"], sides["outputs"]
    batch = frozenset(range(len(look.shape))) - inputs - outputs - kernel - frozenset(spare)
    try:
        return Axes(
            look.shape, tuple(sorted(outputs)), tuple(sorted(inputs)), tuple(sorted(batch)), groups, transposed, stride
        )
    except ArgumentError:
        return None


def _padding(call: Call, table: Look) -> int | None:
    """The table's row that the lookup names as padding, where the table is the stored tensor as it is."""
    row = _at(call, _PADDING.get(call.op, len(call.args)))
    whole = len(table.shape) == 2 and table.shape == tuple(call.args[0].shape) and 1 not in table.dims[0]
    return row if isinstance(row, int) and row >= 0 and whole else None


def _at(call: Call, position: int) -> object:
    return call.args[position] if position < len(call.args) else None


def _use(look: Look, op: str, call: Call, axes: Axes | None) -> Use:
    number = look.offset if op == "norm_scale" and look.offset else None
    return Use(look.name, op, axes, parameter=number, module=call.module)
