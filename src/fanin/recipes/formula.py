"""Formulas in recipe files: arithmetic over what is known about a tensor, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite, log, sqrt
from operator import add, mul, neg, pos, sub, truediv

from fanin.errors import ArgumentError, UnknownNameError
from fanin.recipes.quantities import QUANTITIES
from fanin.recipes.tensor_info import TensorInfo

_Number = Callable[[TensorInfo], float]
_BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: truediv,
    ast.Pow: pow,
}
_UNARY: dict[type, Callable[[float], float]] = {ast.UAdd: pos, ast.USub: neg}
_OF_ONE: dict[str, Callable[[float], float]] = {"sqrt": sqrt, "log": log, "abs": abs}
_OF_MANY: dict[str, Callable[..., float]] = {"min": min, "max": max}
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Formula:
    """A number that depends on the tensor: + − * / **, sqrt, log, abs, min, max over `QUANTITIES`.

    Raises:
        ArgumentError: anything else in the text; at a call, a quantity that the tensor lacks, or no finite result.
        UnknownNameError: a name that is no quantity.

    >>> from fanin.axes import Axes
    >>> from fanin.graph import Use
    >>> use = Use("fc.weight", "linear", Axes.linear((64, 256)))
    >>> tensor = TensorInfo("fc.weight", (64, 256), "float32", "parameter", "projection", (use,))
    >>> Formula("4 * sqrt(1 / fan_in)")(tensor)
    0.25
    """

    text: str
    _number: _Number = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.text) > _LONGEST:
            raise ArgumentError(f"a formula of {len(self.text)} characters is too long; the limit is {_LONGEST}")
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError):
            raise ArgumentError(f"{self.text!r} is not a formula") from None
        object.__setattr__(self, "_number", _compiled(tree))

    def __call__(self, tensor: TensorInfo) -> float:
        try:
            value = self._number(tensor)
        except ArgumentError:
            raise
        except (ArithmeticError, ValueError) as error:
            raise ArgumentError(f"{self.text!r} cannot be computed for {tensor.name!r}: {error}") from None
        if isinstance(value, complex) or not isfinite(value):
            raise ArgumentError(f"{self.text!r} is {value:g} for {tensor.name!r}, which is no finite real number")
        return value


def _compiled(node: ast.expr) -> _Number:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            number = float(value)
            return lambda _: number
        case ast.Name(id=name):
            return _quantity(name)
        case ast.BinOp(left, op, right) if type(op) in _BINARY:
            combine, first, second = _BINARY[type(op)], _compiled(left), _compiled(right)
            return lambda tensor: combine(first(tensor), second(tensor))
        case ast.UnaryOp(op, operand) if type(op) in _UNARY:
            change, number = _UNARY[type(op)], _compiled(operand)
            return lambda tensor: change(number(tensor))
        case ast.Call(ast.Name(name), [argument], []) if name in _OF_ONE:
            function, number = _OF_ONE[name], _compiled(argument)
            return lambda tensor: function(number(tensor))
        case ast.Call(ast.Name(name), [_, _, *_] as arguments, []) if name in _OF_MANY:
            choose, numbers = _OF_MANY[name], [_compiled(argument) for argument in arguments]
            return lambda tensor: choose(number(tensor) for number in numbers)
        case _:
            raise ArgumentError(
                f"{ast.unparse(node)!r} cannot stand in a formula: only numbers, + - * / **, parentheses, "
                f"{', '.join(f'{name}(x)' for name in _OF_ONE)}, {', '.join(f'{name}(x, y)' for name in _OF_MANY)} "
                f"and the quantities {', '.join(QUANTITIES)}"
            )


def _quantity(name: str) -> _Number:
    if name not in QUANTITIES:
        raise UnknownNameError.among("quantity", name, QUANTITIES)

    def number(tensor: TensorInfo) -> float:
        value = QUANTITIES[name].of(tensor)
        if value is None:
            raise ArgumentError(f"{name} is not known for {tensor.name!r} (role {tensor.role})")
        return float(value)

    return number
