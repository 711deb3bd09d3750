"""The calls that constructors make for each parameter, made fake without the fake mode's general machinery.

`torch.empty` and its like, and the `detach` in `nn.Parameter`, are most of what a constructor dispatches. What the
fake mode works out for them (a cache key, the output's metadata) is known beforehand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager

_EMPTY = torch.ops.aten.empty.memory_format
_MAKING = frozenset({_EMPTY, torch.ops.aten.zeros.default, torch.ops.aten.ones.default})
_DETACH = torch.ops.aten.detach.default
_CPU, _META = torch.device("cpu"), torch.device("meta")
_UNDERSTOOD = {"dtype", "device", "layout", "pin_memory"}


def shortcut(mode: FakeTensorMode, func: Any, args: Any, named: dict[str, Any]) -> FakeTensor | None:
    """The fake result of a plain `empty`, `zeros` or `ones` on the CPU or of `detach`; None for every other call."""
    if func in _MAKING:
        return _blank(mode, args, named) if _is_plain(named) else None
    if func is _DETACH and type(args[0]) is FakeTensor and args[0].constant is None:
        with in_kernel_invocation_manager(mode):
            seen = _DETACH(args[0])
        return FakeTensor(mode, seen, args[0].fake_device)
    return None


def _blank(mode: FakeTensorMode, args: Any, named: dict[str, Any]) -> FakeTensor:
    with in_kernel_invocation_manager(mode):
        blank = _EMPTY(*args, dtype=named.get("dtype"), device=_META)
    return FakeTensor(mode, blank, _CPU)


def _is_plain(named: dict[str, Any]) -> bool:
    return (
        _UNDERSTOOD.issuperset(named)
        and named.get("device") in (None, _CPU)
        and named.get("layout") in (None, torch.strided)
        and not named.get("pin_memory")
    )
