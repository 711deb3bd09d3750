"""Sums of a residual stream and its branches, seen in a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fanin.data_driven.held import Held, Parameters
from fanin.data_driven.products import operands
from fanin.torch.tensors import storage_id


@dataclass(frozen=True, slots=True)
class Sum:
    """ω·x + f.

    Attributes:
        weight: name of the last weight of the branch.
        stream: x.
        branch: f.
        factor: ω, where the model has it.
        normed: x is not such a sum itself.
    """

    weight: str
    stream: Tensor
    branch: Tensor
    factor: Held | None
    normed: bool


@dataclass(slots=True)
class _Seen:
    """A tensor of the pass: its number, the numbers of all it was computed from (as bits), what it ends or is."""

    tensor: Tensor
    number: int
    sources: int
    product: tuple[str, int] | None = None
    scaled: tuple[Held, Tensor] | None = None
    is_sum: bool = False


class Residuals(TorchDispatchMode):
    """Calls `see` at each residual sum, which may change ω, and computes the sum with it.

    A sum is residual if one side was computed from the other through a weight, or from what the other side is a
    parameter times. Keeps the activations of the pass.
    """

    def __init__(self, parameters: Parameters, see: Callable[[Sum], None]) -> None:
        super().__init__()
        self._parameters, self._see = parameters, see
        self._seen: dict[int, _Seen] = {}
        self._count = 0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        op, kwargs = func.overloadpacket.__name__.rstrip("_"), kwargs or {}
        found = None
        if op == "add" and len(args) > 1 and kwargs.get("alpha", 1) == 1:
            found = self._sum(args[0], args[1]) or self._sum(args[1], args[0])
        if found is not None:
            self._see(found)
        if found is None or found.factor is None:
            result = func(*args, **kwargs)
        else:
            result = found.stream * found.factor.tensor.detach() + found.branch
        self._note(op, tuple(args), kwargs, result, is_sum=found is not None)
        return result

    def _sum(self, branch: Any, other: Any) -> Sum | None:
        ends, beside = self._data(branch), self._data(other)
        if ends is None or beside is None or ends.product is None or branch.shape != other.shape:
            return None
        weight, made = ends.product
        if ends.sources >> beside.number & 1 and made > beside.number:
            return Sum(weight, other, branch, None, not beside.is_sum)
        stream = None if beside.scaled is None else self._data(beside.scaled[1])
        if beside.scaled is None or stream is None or not ends.sources >> stream.number & 1 or made < stream.number:
            return None
        return Sum(weight, beside.scaled[1], branch, beside.scaled[0], not stream.is_sum)

    def _data(self, tensor: Any) -> _Seen | None:
        return self._seen.get(storage_id(tensor)) if isinstance(tensor, Tensor) else None

    def _note(self, op: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, *, is_sum: bool) -> None:
        """Number the tensors that the operation made, with all that they come from."""
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        known = [seen for seen in map(self._data, inputs) if seen is not None]
        sources = 0
        for seen in known:
            sources |= seen.sources | 1 << seen.number
        product = self._product(op, args)
        for out in (leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)):
            same = self._data(out)
            if same is not None:
                same.sources |= sources
            elif self._parameters.of(out) is None:
                self._count += 1
                carried = next((seen.product for seen in known if seen.tensor.shape == out.shape), None)
                made = (product, self._count) if product else None if is_sum or len(known) > 1 else carried
                scaled = self._scaled(op, args)
                self._seen[storage_id(out)] = _Seen(out, self._count, sources, made, scaled, is_sum)

    def _product(self, op: str, args: tuple[Any, ...]) -> str:
        held = [self._parameters.of(args[operand.at]) for operand in operands(op, args)]
        return next((each.name for each in held if each is not None), "")

    def _scaled(self, op: str, args: tuple[Any, ...]) -> tuple[Held, Tensor] | None:
        if op != "mul" or not isinstance(args[0], Tensor) or not isinstance(args[1], Tensor):
            return None
        for factor, stream in ((args[0], args[1]), (args[1], args[0])):
            held = self._parameters.of(factor)
            if held is not None and self._parameters.of(stream) is None:
                return held, stream
        return None
