"""How far each layer's output has moved since the start, on one fixed batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fanin.torch.evaluated import evaluating, forward
from fanin.torch.probe.batch import tensors_in

Outputs = dict[str, list[Tensor]]


class Watch:
    """Remembers what a model's layers make of a batch, and measures the distance to it later.

    Outputs are taken as the layers make them, before other hooks (forward multipliers on outputs) have them.

    Args:
        model: real; hooks are on it only while it is looked at.
        inputs: the batch.
        names: the modules to watch, with the name that each is told by.
    """

    def __init__(self, model: nn.Module, inputs: Any, names: Mapping[str, str]) -> None:
        self._model, self._inputs, self._names = model, inputs, names
        self._start = self._outputs()

    @property
    def layers(self) -> tuple[str, ...]:
        """The watched layers that the forward pass reaches, in its order."""
        return tuple(self._start)

    def changes(self) -> dict[str, float]:
        """mean |x_t − x_0| of each layer."""
        now = self._outputs()
        return {
            name: float(sum(float((new - old).abs().mean()) for new, old in zip(now[name], first, strict=True)))
            / len(first)
            for name, first in self._start.items()
        }

    def _outputs(self) -> Outputs:
        found: Outputs = defaultdict(list)
        with evaluating(self._model), torch.no_grad(), self._listening(found):
            forward(self._model, self._inputs)
        return dict(found)

    @contextmanager
    def _listening(self, found: Outputs) -> Generator[None]:
        modules = dict(self._model.named_modules())
        handles = [
            modules[name].register_forward_hook(_keeping(told, found), prepend=True)
            for name, told in self._names.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _keeping(name: str, found: Outputs) -> Any:
    def keep(module: nn.Module, args: Any, output: Any) -> None:
        first = next((each for each in tensors_in(output) if each.is_floating_point()), None)
        if first is not None:
            found[name].append(first.detach().double().clone())

    return keep


def of_width(model: nn.Module) -> dict[str, str]:
    """The modules that hold parameters of their own, by their names."""
    return {
        name: name or type(model).__name__
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    }


def of_depth(model: nn.Module) -> dict[str, str]:
    """What there is at any depth: modules outside of the stack of blocks, and its middle and last block.

    The stack is the list of modules with the most parameters.
    """
    lists = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList | nn.Sequential)
    }
    blocks = {name: module for name, module in lists.items() if _is_stack(module)}
    if not blocks:
        return of_width(model)
    sizes = {name: sum(each.numel() for each in module.parameters()) for name, module in blocks.items()}
    stack = max(sizes, key=sizes.__getitem__)
    keys = list(blocks[stack]._modules)  # pyright: ignore[reportPrivateUsage]
    dot = f"{stack}." if stack else ""
    inside = {dot + keys[len(keys) // 2 - 1]: "blocks[middle]", dot + keys[-1]: "blocks[last]"}
    outside = {name: told for name, told in of_width(model).items() if not _is_in(name, dot, keys)}
    return outside | inside


def _is_stack(module: nn.Module) -> bool:
    """Two children or more that are of one class and have parts."""
    children = list(module.children())
    return len(children) > 1 and len({type(each) for each in children}) == 1 and any(children[0].children())


def _is_in(name: str, dot: str, keys: list[str]) -> bool:
    return any(name == dot + key or name.startswith(f"{dot}{key}.") for key in keys)
