"""In-place operations of a graph of torch.fx, put so that every node stands for one value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx, nn

from fanin.errors import ArgumentError


def without_overwriting(graph: fx.Graph, model: nn.Module, value: Callable[[fx.Node], Any]) -> None:
    """Let what is read after an operation that overwrites its input read the operation.

    Args:
        graph: of one pass; it is changed.
        model: whose pass it is.
        value: the value of a node, on `meta`: nodes that look at the same memory share its storage.

    Raises:
        ArgumentError: a stored tensor is overwritten, or memory that is read later through another look at it.
    """
    order = {node: place for place, node in enumerate(graph.nodes)}
    memory = {node: set(_memory(value(node))) for node in order}
    for node in graph.nodes:
        written = node.args[0] if node.args else None
        if not isinstance(written, fx.Node) or not _overwrites(node, model):
            continue
        word = str(getattr(node.target, "__name__", node.target))
        where = f"{type(model).__name__} cannot be described: {word} overwrites"
        if written.op == "get_attr":
            raise ArgumentError(f"{where} the stored tensor {written.target!r}")
        for other, place in order.items():
            looks = place < order[node] and other is not written and memory[written] & memory[other]
            if looks and any(order[user] > order[node] for user in other.users):
                raise ArgumentError(
                    f"{where} memory that {other.name} looks at, too, and that is read later: "
                    "use the operation that makes a new tensor"
                )
        for user in [user for user in written.users if order[user] > order[node]]:
            user.replace_input_with(written, node)


def _overwrites(node: fx.Node, model: nn.Module) -> bool:
    if node.op == "call_module":
        return bool(getattr(model.get_submodule(str(node.target)), "inplace", False))
    name = str(getattr(node.target, "__name__", node.target))
    if node.op == "call_method":
        return name.endswith("_") and not name.startswith("__")
    if node.op != "call_function":
        return False
    operator = getattr(node.target, "__module__", "") == "_operator" and name in _OPERATORS
    return operator or (name.endswith("_") and not name.startswith("_")) or _is_told(node)


_OPERATORS = frozenset(("iadd", "isub", "imul", "itruediv"))


def _is_told(node: fx.Node) -> bool:
    """The function was called with inplace=True, by name or by place."""
    target: Any = node.target
    try:
        return bool(inspect.signature(target).bind(*node.args, **node.kwargs).arguments.get("inplace"))
    except (TypeError, ValueError):  # functions of C tell no signature, and have no such argument
        return False


def _memory(value: Any) -> Iterator[int]:
    if isinstance(value, torch.Tensor):
        yield value.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _memory(each)
