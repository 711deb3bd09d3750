"""The largest of a window before ReLU in place of behind it: the same values and gradients, with fewer ReLUs."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import Tensor, nn

_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def pool_first(model: nn.Module) -> None:
    """Have each `nn.Sequential` of the model, which is the engine's own, call its pools before the ReLUs before them.

    ReLU is monotone, so max ReLU(x) = ReLU(max x); a gradient goes to the same position, or to none where all are
    negative. The order of the modules, by which a model may go through them itself, stays.
    """
    for module in model.modules():
        if type(module) is nn.Sequential:
            order = _pooled_first(list(module))
            if order != list(module):
                module.forward = partial(_through, order)  # pyright: ignore[reportAttributeAccessIssue]


def _pooled_first(modules: list[nn.Module]) -> list[nn.Module]:
    for place, (before, behind) in enumerate(pairwise(list(modules))):
        if _swap(before, behind):
            modules[place : place + 2] = behind, before
    return modules


def _swap(before: nn.Module, behind: nn.Module) -> bool:
    alone = type(before) is nn.ReLU and type(behind) in _POOLS and not getattr(behind, "return_indices", False)
    return alone and not any(getattr(module, hooks, None) for module in (before, behind) for hooks in _HOOKS)


def _through(modules: list[nn.Module], inputs: Tensor) -> Tensor:
    for module in modules:
        inputs = module(inputs)
    return inputs
