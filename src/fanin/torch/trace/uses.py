"""What one operation does with the parameters it reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch

from fanin.axes import Axes
from fanin.graph.records import Use
from fanin.torch.tensors import storage_id
from fanin.torch.trace.expert_bias import stacked_product
from fanin.torch.trace.operand_axes import operand_axes, product_axes, sides
from fanin.torch.trace.origins import Look, Origins, is_lookup
from fanin.torch.trace.packed import Operand, block_axes, blocks
from fanin.torch.trace.pieces import Piece, Pieces
from fanin.torch.trace.recording import RECURRENT, Call
from fanin.torch.trace.recurrent import recurrent_uses

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


@dataclass(frozen=True, slots=True)
class _Read:
    """A use; for a block also the same use of the whole tensor and the outputs that the block makes."""

    use: Use
    whole: Use | None = None
    piece: Piece | None = None


@dataclass(frozen=True, slots=True)
class _Product:
    """A call that contracts a weight, and the dimension of its result that runs along the weight's outputs.

    `weights` are the first output and the name of each parameter that the weight is made of.
    """

    number: int
    weights: tuple[tuple[int, str], ...]
    axis: int
    size: int
    batch: tuple[int, ...]
    grouped: bool

    def weight(self, first: int) -> str:
        """The parameter that makes output number `first`."""
        return [name for start, name in self.weights if start <= first][-1]


class Uses:
    """Reads uses of parameters off calls, taken in order; remembers what computed each tensor.

    Attributes:
        pieces: for each use of a block, by its number among all uses, the outputs that it makes.
        wholes: for each use of a block the same use of the whole tensor.
        shapes: of the parameters that were used.
    """

    def __init__(self, origins: Origins, calls: Sequence[Call]) -> None:
        self.pieces: dict[int, Piece] = {}
        self.wholes: dict[int, Use] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._origins = origins
        self._calls = calls
        self._outputs = Pieces(calls)
        self._producers: dict[int, Call] = {}
        self._products: dict[int, _Product] = {}
        self._call = -1
        self._count = 0

    def of(self, call: Call) -> list[Use]:
        """The uses that `call` makes of parameters, in argument order."""
        self._call += 1
        found = list(self._reads(call))
        for number, read in enumerate(found, self._count):
            if read.whole is not None:
                self.wholes[number] = read.whole
            if read.piece is not None:
                self.pieces[number] = read.piece
        self._count += len(found)
        if not call.is_view:
            self._producers |= {storage_id(out): call for out in call.outputs}
        return [read.use for read in found]

    def _reads(self, call: Call) -> Iterator[_Read]:
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
            yield from map(_Read, recurrent_uses(call, self._origins))
        else:
            yield from self._other(call)

    def _product(self, call: Call) -> Iterator[_Read]:
        bias, left = _PRODUCTS[call.op]
        weights: list[_Read] = []
        for position in (left, left + 1):
            for tensor, cut, first in self._origins.apart(call.args[position]):
                look, on_left = self._origins.of(tensor), position == left
                if look is not None:
                    axes = product_axes(look, tensor.dim(), on_left=on_left)
                    contracted, free = sides(tensor.dim(), on_left=on_left)
                    start = first if cut == free else 0
                    product = self._note(call, look, axes, 2 if on_left and tensor.dim() > 1 else 1, start)
                    use = self._use(look, "linear", call, axes)
                    operand = None if free is None else Operand(look, tensor, free, contracted, start)
                    weights += self._blocks(use, operand, product)
        if bias is not None:
            yield from self._bias(call, _at(call, bias), self._products.get(id(call)))
        yield from weights

    def _convolution(self, call: Call) -> Iterator[_Read]:
        weight, bias, stride = call.args[1], call.args[2], call.args[3]
        transposed, groups = bool(call.args[6]), int(call.args[8])
        for tensor, cut, first in self._origins.apart(weight):
            look = self._origins.of(tensor)
            if look is None:
                continue
            outputs, inputs = (1, 0) if transposed else (0, 1)
            # torch repeats a single stride over all the dimensions of the kernel
            strides = prod(stride) if len(stride) == weight.dim() - 2 else prod(stride) ** (weight.dim() - 2)
            kernel = frozenset[int]().union(*look.dims[2:])
            sides = look.dims[inputs], look.dims[outputs]
            axes = operand_axes(look, *sides, kernel=kernel, groups=groups, transposed=transposed, stride=strides)
            start = first if cut == outputs else 0
            product = self._note(call, look, axes, weight.dim() - 1, start)
            use = self._use(look, "conv_transpose" if transposed else "conv", call, axes)
            yield from self._blocks(use, Operand(look, tensor, outputs, inputs, start), product)
        yield from self._bias(call, bias, self._products.get(id(call)))

    def _note(self, call: Call, look: Look, axes: Axes | None, back: int, first: int = 0) -> _Product:
        out = call.outputs[0]
        axis = max(out.dim() - back, 0)
        batch = () if axes is None else tuple(axes.shape[dim] for dim in axes.batch)
        grouped = axes is not None and axes.groups > 1
        size = int(out.shape[axis]) if out.dim() else 1
        before = self._products.get(id(call))
        weights = (*(before.weights if before is not None and first else ()), (first, look.name))
        product = _Product(self._call, weights, axis, size, batch, grouped)
        self._products[id(call)] = product
        return product

    def _blocks(self, use: Use, operand: Operand | None, product: _Product) -> list[_Read]:
        """One use for each block of outputs that go different ways; channels in groups stay together."""
        if operand is None or product.grouped or (use.axes is None and use.op != "bias"):
            return [_Read(use)]
        pieces = self._outputs.of(product.number, product.axis)
        reads: list[_Read] = []
        for parts, piece in blocks(operand, pieces, self._origins):
            axes = use.axes if use.axes is None or not parts else block_axes(use.axes, parts)
            reads.append(_Read(replace(use, parts=parts, axes=axes), use if parts else None, piece if parts else None))
        return reads

    def _bias(self, call: Call, tensor: object, product: _Product | None) -> list[_Read]:
        """A vector added to a product; its blocks are those of the weight."""
        if not isinstance(tensor, torch.Tensor) or not tensor.is_meta:
            return []
        reads: list[_Read] = []
        for piece, cut, first in self._origins.apart(tensor):
            look = self._origins.of(piece)
            if look is None:
                continue
            use = self._use(look, "bias", call, None)
            if product is None:
                reads.append(_Read(use))
                continue
            dims = [dim for dim in range(tensor.dim()) if tensor.shape[dim] == product.size]
            operand = Operand(look, piece, dims[-1], first=first if cut == dims[-1] else 0) if dims else None
            partner = product.weight(operand.first if operand is not None else 0)
            reads += self._blocks(replace(use, partner=partner), operand, product)
        return reads

    def _bilinear(self, call: Call) -> Iterator[_Read]:
        for tensor in call.args[:3]:
            look = self._origins.of(tensor)
            if look is not None:
                named = [dims for dims in look.dims if dims]
                axes = (
                    operand_axes(look, frozenset[int]().union(*named[1:]), named[0]) if len(look.shape) == 3 else None
                )
                self._note(call, look, axes, 1)
                yield _Read(self._use(look, "bilinear", call, axes))

    def _plain(self, call: Call, tensor: object, op: str) -> Iterator[_Read]:
        look = self._origins.of(tensor)
        if look is not None:
            yield _Read(self._use(look, op, call, None))

    def _other(self, call: Call) -> Iterator[_Read]:
        looks = self._looks(call.inputs)
        if not looks or call.is_view:
            return
        data = [tensor for tensor in call.inputs if self._origins.is_data(tensor)]
        if is_lookup(call, looks[0]):
            yield from self._lookup(call, looks[0])
        elif data:
            for tensor in call.inputs:
                yield from self._pointwise(call, tensor, data)
        elif call.op not in ("cat", "stack"):
            # Several parameters make one (weight norm): the largest is followed on, the others end here.
            for look in sorted(looks, key=lambda look: prod(look.shape))[:-1]:
                yield _Read(self._use(look, call.op, call, None))

    def _lookup(self, call: Call, look: Look) -> list[_Read]:
        stacked = stacked_product(self._calls, self._call)
        weights = [] if stacked is None else self._looks(self._calls[stacked].inputs)
        if stacked is None or not weights:  # rows added to a product of two signals are relative positions
            return [_Read(replace(self._use(look, "embedding", call, None), padding=_padding(call, look)))]
        out = self._calls[stacked].outputs[0]
        names = ((0, weights[0].name),)
        product = _Product(stacked, names, out.dim() - 1, int(out.shape[-1]), (), grouped=False)
        return self._bias(call, next(t for t in call.inputs if self._origins.of(t) is not None), product)

    def _pointwise(self, call: Call, tensor: torch.Tensor, data: list[torch.Tensor]) -> Iterator[_Read]:
        for look in self._looks((tensor,)):
            op = self._pointwise_op(call, look, data)
            if op == "bias":
                before = [self._products.get(id(self._producer(each))) for each in data]
                yield from self._bias(call, tensor, next(filter(None, before), None))
                return
            yield _Read(self._use(look, op, call, None))

    def _pointwise_op(self, call: Call, look: Look, data: list[torch.Tensor]) -> str:
        if call.op in _SUMS:
            return self._sum_op(look, data)
        if call.op in _MULTIPLIES:
            return "norm_scale" if any(self._is_normalised(tensor) for tensor in data) else "scale"
        return "prelu" if call.op == "_prelu_kernel" else call.op

    def _sum_op(self, look: Look, data: list[torch.Tensor]) -> str:
        before = [self._producer(tensor) for tensor in data]
        products = [self._products[id(call)] for call in before if id(call) in self._products]
        if any(product.batch and look.shape[: len(product.batch)] == product.batch for product in products):
            return "bias"
        per_output = any(product.size == prod(look.shape) for product in products)
        if sum(size > 1 for size in look.shape) > 1 and not per_output:
            return "position"
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
            scale = _at(call, NORMS[call.op][0])  # a norm with a scale of its own needs no second one
            return not (isinstance(scale, torch.Tensor) and self._origins.of(scale) is not None)
        roots = [self._producer(factor) for factor in call.inputs]
        return call.op in _MULTIPLIES and any(root is not None and root.op in _ROOTS for root in roots)

    def _producer(self, tensor: torch.Tensor) -> Call | None:
        call = self._producers.get(storage_id(tensor))
        while call is not None and call.op in _CASTS:
            call = self._producers.get(storage_id(call.inputs[0]))
        return call

    def _use(self, look: Look, op: str, call: Call, axes: Axes | None) -> Use:
        self.shapes[look.name] = look.shape
        number = look.offset if op == "norm_scale" and look.offset else None
        return Use(look.name, op, axes, parameter=number, module=call.module)

    def _looks(self, tensors: Iterable[torch.Tensor]) -> list[Look]:
        cut = (piece for tensor in tensors for piece, _, _ in self._origins.apart(tensor))
        return [look for piece in cut if (look := self._origins.of(piece)) is not None]


_ROOTS = frozenset(("rsqrt", "sqrt", "pow", "std", "linalg_vector_norm", "norm"))
_CASTS = frozenset(("_to_copy", "clone", "_unsafe_view"))


def _padding(call: Call, table: Look) -> int | None:
    """The table's row that the lookup names as padding, where the table is the stored tensor as it is."""
    row = _at(call, _PADDING.get(call.op, len(call.args)))
    whole = len(table.shape) == 2 and table.shape == tuple(call.args[0].shape) and 1 not in table.dims[0]
    return row if isinstance(row, int) and row >= 0 and whole else None


def _at(call: Call, position: int) -> object:
    return call.args[position] if position < len(call.args) else None
