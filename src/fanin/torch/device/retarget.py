"""The kernels' own functions, run on torch tensors instead of compiled by Numba, so that each formula stands once.

A kernel is a small Python function over scalars that Numba compiles. Here its source is read again with three
spellings changed, because tensors cannot overload them: `a if c else b` becomes `choose(c, a, b)`, `a / b` becomes
`divide(a, b)`, and `np.float32(a).view(np.int32)` becomes `reinterpret(a, "float32", "int32")`. What a global name
means is looked up anew: Numba's casts, `np.sqrt`, `min` and `max` are those of `fanin.torch.device.lanes`, and other
kernels are read the same way. Everything else (+, −, ×, &, ^, shifts, comparisons) is torch's by overloading.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import numba
import numpy as np

from fanin.torch.device import lanes

_SPELLINGS = {"choose": lanes.choose, "divide": lanes.divide, "reinterpret": lanes.reinterpret}
_BUILTINS = {"min": lanes.least, "max": lanes.greatest}


@cache
def for_tensors(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """`kernel` (compiled or plain) as a function of tensors.

    Words of 32 bits are int64 tensors that hold 0 … 2³² − 1, words of 64 bits are int64 tensors of the same bits,
    float32 and float64 values tensors of that dtype; numbers of the kernel stay numbers.

    Raises:
        OSError: the source of the kernel is not there to be read.

    >>> import torch
    >>> from fanin.random.kernels.uniform import signed_unit32
    >>> for_tensors(signed_unit32)(torch.tensor([0x80000000, 0, 0x7FFFFFFF])).tolist()
    [-0.9999999403953552, 5.960464477539063e-08, 0.9999999403953552]
    """
    function: FunctionType = getattr(kernel, "py_func", kernel)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)  # so that tracebacks show the kernel's lines
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise TypeError(f"{function} is not defined by a def statement")
    definition.decorator_list, definition.returns = [], None
    for argument in definition.args.args:
        argument.annotation = None
    code = compile(ast.fix_missing_locations(_ForTensors().visit(tree)), inspect.getfile(function), "exec")
    names: dict[str, Any] = {"__builtins__": vars(builtins) | _BUILTINS | _SPELLINGS}
    names |= {name: _meaning(function.__globals__[name]) for name in _globals_of(function)}
    exec(code, names)
    return names[function.__name__]


def number(value: Any) -> Any:
    """A NumPy scalar as tensors take it: float32 as it is, float64 as float, integers as int."""
    return value.item() if isinstance(value, np.generic) and type(value) is not np.float32 else value


class _ForTensors(ast.NodeTransformer):
    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return _call("choose", node.test, node.body, node.orelse)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return _call("divide", node.left, node.right) if isinstance(node.op, ast.Div) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Call(
                ast.Attribute(ast.Call(ast.Attribute(ast.Name("np"), old), [value]), "view"),
                [ast.Attribute(ast.Name("np"), new)],
            ):
                return _call("reinterpret", value, ast.Constant(old), ast.Constant(new))
            case _:
                return node


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _globals_of(function: FunctionType) -> list[str]:
    return [name for name in function.__code__.co_names if name in function.__globals__]


def _meaning(value: Any) -> Any:
    """What stands for a global of a kernel's module."""
    if value is np:
        return lanes.NUMPY
    if isinstance(value, numba.types.Type):
        return lanes.CASTS[str(value)]
    if hasattr(value, "py_func") or isinstance(value, FunctionType):
        return for_tensors(value)
    if isinstance(value, tuple):
        return tuple(map(_meaning, value))
    return number(value)
