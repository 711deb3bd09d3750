"""Stored tensors given other shapes, and what speaks of their sizes given the new ones; all taken back on an error."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import nn

from fanin.torch.sharded.dtensor import is_dtensor, take_over
from fanin.torch.sharded.fully_sharded import plain_class
from fanin.torch.sharded.refitted import Refitted, refit
from fanin.torch.tensors import identity, registrations
from fanin.torch.undo import Undo

# What modules call the size of a weight's dimension, by that dimension.
_SIZES = {0: ("num_embeddings", "out_features", "out_channels", "nx"), 1: ("in_features", "nf", "in_channels")}


class Resizing:
    """Changes of a model's tensors and of attributes, all undone if the block raises.

    Parameters stay the objects they are, so that ties, hooks and an optimizer's groups hold on to them.

    >>> from fanin.torch.resized import resized
    >>> model = nn.Linear(2, 3)
    >>> with Resizing(model) as resizing:
    ...     resizing.tensor(model.weight, resized(model, "weight", model.weight, (5, 2)), 0)
    >>> model.out_features, tuple(model.weight.shape)
    (5, (5, 2))
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._undo = Undo()

    def __enter__(self) -> Resizing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is not None:
            self._undo.run()

    def tensor(
        self, tensor: torch.Tensor, values: Refitted, dim: int, grads: Mapping[int, torch.Tensor] | None = None
    ) -> None:
        """Put `values` where the model has `tensor`, at every name; they differ in size along `dim` alone.

        Args:
            tensor: of the model; a DTensor stays the object that it is, with mesh and placements, too.
            values: as `resized` makes them.
            dim: see above.
            grads: the gradients from then on, by `id` of the object that holds them; others go.
        """
        old, size = identity(tensor), tensor.shape[dim]
        held = [entry for entry in registrations(self._model) if identity(entry.tensor) == old]
        for each in {id(entry.tensor): entry.tensor for entry in held}.values():
            self._put(each, values, (grads or {}).get(id(each)))
        for module in {id(entry.module): entry.module for entry in held if entry.tensor.dim() > 1}.values():
            for key in _SIZES.get(dim, ()):
                if vars(module).get(key) == size:
                    self.attribute(module, key, values.values.shape[dim])

    def numbers(self, means: Callable[[str], bool], before: Collection[int], after: int) -> Iterator[str]:
        """Set what modules and configs hold under names of that meaning, where it is one of `before`; says which."""
        owners = [(name or plain_class(module).__name__, module) for name, module in self._model.named_modules()]
        owners += [(type(config).__name__, config) for config in configs(self._model)]
        for name, owner in owners:
            for key, value in list(vars(owner).items()):
                if means(key) and type(value) is int and value in before and value != after:
                    self.attribute(owner, key, after)
                    yield f"{name}.{key}"

    def attribute(self, owner: Any, key: str, value: object) -> None:
        """Set an attribute of a module or config."""
        self._undo.set(owner, key, value)

    def parameter(self, module: nn.Module, key: str, parameter: nn.Parameter) -> None:
        """Register another parameter, in place of the one or the None that is there."""
        self._undo.put(module._parameters, key, parameter)  # pyright: ignore[reportPrivateUsage]

    def _put(self, tensor: torch.Tensor, fitting: Refitted, grad: torch.Tensor | None) -> None:
        data, before, values = tensor.data, tensor.grad, fitting.values
        if fitting.owner is not None:
            self._undo.keep(vars(fitting.owner))

        def undo() -> None:
            tensor.grad, tensor.data = None, data
            if is_dtensor(tensor) and is_dtensor(data):
                take_over(tensor, data)
            tensor.grad = before

        self._undo.add(undo)
        tensor.grad, tensor.data = None, values
        if is_dtensor(tensor) and is_dtensor(values):
            take_over(tensor, values)
        if fitting.owner is not None:
            refit(fitting)
        tensor.grad = grad
        torch.autograd.graph.increment_version(tensor)


def configs(model: nn.Module) -> Iterator[Any]:
    """The configs that modules of `model` hold as transformers' models do, each with those inside of it, once."""
    seen: set[int] = set()
    waiting = [vars(module)["config"] for module in model.modules() if "config" in vars(module)]
    while waiting:
        config = waiting.pop(0)
        if id(config) in seen or not callable(getattr(config, "to_dict", None)):
            continue
        seen.add(id(config))
        yield config
        waiting += vars(config).values()
