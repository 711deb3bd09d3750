"""A pass in which every weight is rescaled as soon as its outputs are known, and these with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fanin.data_driven.held import Held, Parameters
from fanin.data_driven.looks import Look, look
from fanin.data_driven.measuring import Change, Measure, Product
from fanin.data_driven.products import Operand, operands, without_bias
from fanin.torch.tensors import storage_id

_COPIES = ("_to_copy", "clone")
RENORMED = "each lookup shortens its rows to max_norm, whatever their scale"
DIRECTION = "only its direction counts: a weight norm divides by its length"


@dataclass(frozen=True, slots=True)
class Target:
    """Something to be multiplied in place by a number, or by one for each index along dimension `dim`."""

    tensor: Tensor
    dim: int | None

    def multiply(self, factor: float | NDArray[np.float64]) -> None:
        if isinstance(factor, float):
            if factor != 1.0:
                self.tensor.mul_(factor)
            return
        exact = self.tensor.dtype if self.tensor.dtype in (torch.float32, torch.float64) else torch.float32
        each = torch.from_numpy(factor).to(self.tensor.device, exact)
        self.tensor.mul_(each.reshape([-1 if axis == self.dim else 1 for axis in range(self.tensor.dim())]))


class Rescaling(TorchDispatchMode):
    """Measures the outputs of each weight the first time that it is used, multiplies it and them, and goes on.

    A product is linear in its weight, so the outputs of the rescaled weight are known without a second pass.
    """

    def __init__(self, parameters: Parameters, measure: Measure, *, normed_only: bool = False) -> None:
        super().__init__()
        self.parameters = parameters
        self.measure = measure
        self.paused = False
        self.normed_only = normed_only
        self._copies: dict[int, tuple[Tensor, Held]] = {}
        self._normed: dict[int, tuple[Tensor, Held, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        args, kwargs, op = tuple(args), dict(kwargs or {}), func.overloadpacket.__name__
        if self.paused:
            return func(*args, **kwargs)
        for operand in operands(op, args):
            found = self._weight(args[operand.at], operand)
            if found is not None:
                return self._product(func, op, args, kwargs, operand, *found)
        result = func(*args, **kwargs)
        self._follow(op, args, result)
        return result

    def decide(self, held: Held, part: Look, product: Product) -> Change | None:
        """Measure outputs of a part of a weight and note what is to be done to it; None where nothing is."""
        change = self.measure(product)
        if change is None:
            held.silent = True
            return None
        held.looks.append(part)
        held.told.append(change.told)
        held.multiply(part, change.factor)
        return change

    def _weight(self, tensor: Any, operand: Operand) -> tuple[Held, Look | None, list[Target]] | None:
        """The parameter behind an operand, which part of it, and what is to be multiplied if it is rescaled."""
        if not isinstance(tensor, Tensor):
            return None
        here = Target(tensor, operand.free)
        normed = self._normed.get(storage_id(tensor))
        if normed is not None:
            weight, held, axis = normed
            part = look(tensor, weight, operand.free)
            along = axis if part is not None and part.axis == axis else None
            whole = Look((0,) * held.tensor.dim(), tuple(held.tensor.shape), along)
            return held, None if part is None else whole, [Target(held.tensor, along), here]
        copy = self._copies.get(storage_id(tensor))
        held = self.parameters.of(tensor) if copy is None else copy[1]
        if held is None:
            return None
        part = look(tensor, held.tensor if copy is None else copy[0], operand.free)
        if copy is None or part is None:
            return held, part, [here]
        return held, part, [Target(_part(held.tensor, part), part.axis), here]

    def _product(
        self,
        func: Callable[..., Any],
        op: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        operand: Operand,
        held: Held,
        part: Look | None,
        targets: list[Target],
    ) -> Any:
        held.uses += 1
        if self.normed_only and len(targets) < 2:
            held.kept = held.kept or "not weight-normed"
        if part is None or not held.is_open(part):
            return func(*args, **kwargs)
        plain, options, bias = without_bias(op, args, kwargs)
        result = func(*plain, **options)
        values: Tensor = result[0] if isinstance(result, tuple) else result
        along = operand.channel if part.axis is not None else None
        blocks = held.blocks_along(part) if along is not None else []
        owner = None if bias is None else self.parameters.of(bias)
        units = None if along is None else values.shape[along]
        settable = owner is not None and owner.is_settable(units)
        change = self.decide(held, part, Product(held.name, values, along, blocks, bias, settable))
        if change is not None:
            for target in (Target(values, along), *targets):
                target.multiply(change.factor)
            if change.bias is not None and owner is not None:
                owner.set(change.bias)
        if bias is not None:
            values.add_(bias)
        return result

    def _follow(self, op: str, args: tuple[Any, ...], result: Any) -> None:
        """Note tensors that are computed from parameters alone and stand for them as weights."""
        if op in _COPIES and isinstance(result, Tensor) and result.is_floating_point():
            held = self.parameters.of(args[0])
            if held is not None and args[0].shape == held.tensor.shape:
                self._copies[storage_id(result)] = result, held
        elif op == "_weight_norm_interface":
            direction, magnitude = self.parameters.of(args[0]), self.parameters.of(args[1])
            if direction is not None and magnitude is not None:
                direction.uses, direction.kept = direction.uses + 1, direction.kept or DIRECTION
                magnitude.let_measure()
                axis = int([*args, 0][2])
                self._normed[storage_id(result[0])] = result[0], magnitude, axis % args[0].dim()
        elif op == "embedding_renorm_":
            table = self.parameters.of(args[0])
            if table is not None:
                table.kept = table.kept or RENORMED
                table.times = 2  # the rows that were shortened are drawn anew


def _part(tensor: Tensor, part: Look) -> Tensor:
    for axis, (first, count) in enumerate(zip(part.start, part.size, strict=True)):
        tensor = tensor.narrow(axis, first, count)
    return tensor
