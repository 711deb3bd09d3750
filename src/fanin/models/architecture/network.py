"""The module that a description describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fanin.errors import DataError
from fanin.models.sample import Sample


@dataclass(frozen=True, slots=True)
class Call:
    """One step of the forward pass.

    Attributes:
        name: the layer.
        path: the module that is called, or the stored tensor that is read.
        inputs: names of what it gets.
        arguments: keyword arguments besides.
        taken: where in its result stands what it passes on.
        is_tensor: a stored tensor, nothing to call.
    """

    name: str
    path: str
    inputs: tuple[str, ...]
    arguments: Mapping[str, Any]
    taken: tuple[int, ...] = ()
    is_tensor: bool = False


class Network(nn.Module):
    """Layers that call each other as a description says; see `Architecture.build`.

    Attributes:
        sample: what its inputs look like, by the names of forward's arguments.
    """

    def __init__(self, samples: Mapping[str, Sample], calls: Sequence[Call], outputs: Sequence[str]) -> None:
        super().__init__()
        self.sample: Any = next(iter(samples.values())) if len(samples) == 1 else dict(samples)
        self.reads, self._calls, self._returns = tuple(samples), tuple(calls), tuple(outputs)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The outputs: one as it is, several as a tuple.

        Raises:
            DataError: not as many inputs as the description has, or not called so.
        """
        values = self._bound(inputs, named)
        for call in self._calls:
            if call.is_tensor:
                values[call.name] = _at(self, call.path)
                continue
            result = _at(self, call.path)(*(values[name] for name in call.inputs), **call.arguments)
            for index in call.taken:
                result = result[index]
            values[call.name] = result
        made = tuple(values[name] for name in self._returns)
        return made[0] if len(made) == 1 else made

    def _bound(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        by_place = dict(zip(self.reads, inputs, strict=False))
        values = by_place | dict(named)
        if set(values) != set(self.reads) or len(values) != len(inputs) + len(named):
            raise DataError(
                f"the network takes the inputs {', '.join(self.reads)}, got {len(inputs)} by place"
                + (f" and {', '.join(named)} by name" if named else "")
            )
        return values


def place(root: nn.Module, path: str, what: nn.Module | nn.Parameter) -> None:
    """Register a module or a parameter under a dotted path, with plain modules in between."""
    holder, last = _holder(root, path)
    if isinstance(what, nn.Module):
        holder.add_module(last, what)
    else:
        holder.register_parameter(last, what)


def place_buffer(root: nn.Module, path: str, values: torch.Tensor, *, persistent: bool) -> None:
    """Register a buffer under a dotted path."""
    holder, last = _holder(root, path)
    holder.register_buffer(last, values, persistent=persistent)


def _holder(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    *outer, last = path.split(".")
    for part in outer:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    return root, last


def _at(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = getattr(root, part)
    return root
