"""A symbolic pass of torch.fx that knows shapes, with the layers of descriptions as its leaves."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.func import functional_call
from torch.fx.node import map_arg

from fanin.errors import ArgumentError
from fanin.models.architecture.functions import Size
from fanin.models.architecture.registry import kind_of
from fanin.models.architecture.running import Running

BATCHES = 7919, 6841
"""Samples of the passes: large primes, so that every number that depends on them shows, if only by a difference."""


class Follower(fx.Tracer):
    """Follows `model` on inputs without values; the model stays as it is.

    Attributes:
        values: what each node is, on `meta`.
        places: the module whose code made each node.
        constants: tensors that the pass made of nothing, by the target of their node.
    """

    proxy_buffer_attributes = True

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        super().__init__()
        self.values: dict[fx.Node, Any] = {}
        self.places: dict[fx.Node, str] = {}
        self.constants: dict[str, torch.Tensor] = {}
        self._inputs = inputs
        self._measuring = False
        self._leaves: set[nn.Module] = set()

    def follow(self, model: nn.Module) -> fx.Graph:
        """The graph of one pass.

        Raises:
            ArgumentError: what the model does depends on values, or a layer that descriptions do not have.
        """
        self._leaves = {module for module in model.modules() if kind_of(module) is not None}
        try:
            with torch.no_grad():
                return self.trace(model)
        except ArgumentError:
            raise
        except Exception as error:  # whatever the user's own code raises
            at = next(reversed(self.module_stack), "")
            place = f"in the module {at.partition('@')[0]!r} " if at else ""
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ArgumentError(
                f"{type(model).__name__} cannot be described: {place}its pass cannot be followed: {reason}"
            ) from error

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        proxies = {
            name: self.create_proxy("placeholder", name, (), {}) if isinstance(value, torch.Tensor) else value
            for name, value in self._inputs.items()
        }
        named = {name: proxy for name, proxy in proxies.items() if not name.startswith("*")}
        placed = [proxy for name, proxy in proxies.items() if name.startswith("*")]
        return lambda *_: root_fn(self.root, *placed, **named), [self.root]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if m in self._leaves:
            return True
        from_torch = type(m).__module__.startswith("torch.nn.modules") and not isinstance(m, _CONTAINERS)
        if from_torch:
            raise ArgumentError(
                f"layer {module_qualified_name!r} is a {type(m).__name__}, which descriptions do not have"
            )
        return False

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._measuring:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self._measuring:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, torch.Tensor) and not self._stored(a):
            target = f"*constant{len(self.constants)}"
            self.constants[target] = a.detach()
            return self.create_node("get_attr", target, (), {})
        return a if isinstance(a, Size) else super().create_arg(a)

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, *others: Any, **more: Any) -> fx.Node:
        node = super().create_node(kind, target, args, kwargs, *others, **more)
        self.places[node] = next(reversed(self.module_stack), "").partition("@")[0]
        if kind != "output":
            self.values[node] = self._measured(node)
        return node

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Known(node, self)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        parts: Any = obj
        return iter([parts[place] for place in range(len(self.values[obj.node]))])

    def to_bool(self, obj: fx.Proxy) -> bool:
        raise TypeError("it does one thing or another depending on values")

    def _stored(self, tensor: torch.Tensor) -> bool:
        return any(tensor is each for each in (*self.root.parameters(), *self.root.buffers()))

    def _measured(self, node: fx.Node) -> Any:
        self._measuring = True  # what layers do inside is no part of the graph
        try:
            return self._value(node)
        finally:
            self._measuring = False

    def _value(self, node: fx.Node) -> Any:
        target: Any = node.target
        if node.op == "placeholder":
            return self._inputs[target].to("meta")
        if node.op == "get_attr":
            found = self.constants[target] if target in self.constants else _at(self.root, target)
            return found.to("meta")
        args = map_arg(node.args, self.values.__getitem__)
        kwargs = map_arg(node.kwargs, self.values.__getitem__)
        if node.op == "call_module":
            module: nn.Module = self.root.get_submodule(target)
            stored = (*module.named_parameters(), *module.named_buffers())
            meta = {f"inner.{name}": tensor.to("meta") for name, tensor in stored}
            return functional_call(Running(module), meta, tuple(args), dict(kwargs))
        if node.op == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs)


_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class _Known(fx.Proxy):
    """A value of the pass whose shape is known; what is read from its shape is a number."""

    @property
    def _value(self) -> Any:
        tracer: Any = self.tracer
        return tracer.values[self.node]

    @property
    def shape(self) -> tuple[Size, ...]:
        return tuple(map(Size, self._value.shape))

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return int(self._value.dim())

    @property
    def ndim(self) -> int:
        return self.dim()

    @property
    def dtype(self) -> torch.dtype:
        return self._value.dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def is_floating_point(self) -> bool:
        return bool(self._value.is_floating_point())

    def __len__(self) -> int:
        return len(self._value)

    # Without these Python takes `x += y` for `x = x + y`, which leaves the memory of x as it was.
    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._overwritten(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._overwritten(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._overwritten(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._overwritten(operator.itruediv, other)

    def _overwritten(self, operation: Callable[..., Any], other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})


def _at(root: Any, path: str) -> torch.Tensor:
    for part in path.split("."):
        root = getattr(root, part)
    return root


def samples_of(model: nn.Module, inputs: Any) -> dict[str, Any]:
    """The inputs by the names of forward's arguments, a star before those that only have a place."""
    if isinstance(inputs, Mapping):
        return dict(inputs)
    given: Sequence[Any] = inputs if isinstance(inputs, tuple | list) else (inputs,)
    parameters = list(inspect.signature(model.forward).parameters.values())
    named = [each.name for each in parameters if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    names = [*named, *(f"*{place}" for place in range(len(named), len(given)))]
    return dict(zip(names, given, strict=False))
