"""The containers of a model whose elements may be repeated blocks."""

from __future__ import annotations

from torch import nn

from fanin.graph.stacks import Lists


def containers(model: nn.Module) -> Lists:
    """For each list or sequence of modules the class of each of its elements, by the element's own name.

    >>> containers(nn.ModuleList([nn.Linear(2, 2), nn.ReLU()]))
    {'': {'0': 'Linear', '1': 'ReLU'}}
    """
    return {
        path: {key: type(child).__name__ for key, child in module.named_children()}
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module)
    }
