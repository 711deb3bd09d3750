"""Lazy parameters and buffers under fake tensors: they get their shape from a forward pass inside the factory."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

_NEARBY = 8  # Python frames between a dispatched call and the code that made it


class LazyParameter(UninitializedParameter, FakeTensor):
    """An `UninitializedParameter` that is a fake tensor."""

    shape = torch.Tensor.shape  # the fake mode looks at it

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Become a fake parameter of this shape."""
        _become(self, shape, dtype)
        self._is_param = True

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, types, args, kwargs)


class LazyBuffer(UninitializedBuffer, FakeTensor):
    """An `UninitializedBuffer` that is a fake tensor."""

    shape = torch.Tensor.shape  # the fake mode looks at it

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Become a fake buffer of this shape."""
        _become(self, shape, dtype)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, types, args, kwargs)


_KINDS = {UninitializedParameter.__new__.__code__: LazyParameter, UninitializedBuffer.__new__.__code__: LazyBuffer}


def as_lazy(blank: torch.Tensor) -> torch.Tensor:
    """`blank`, an empty fake tensor just made, as the lazy tensor that it is made for, if it is."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    for _ in range(_NEARBY):
        if frame is None:
            break
        if frame.f_code in _KINDS:
            blank.__class__ = _KINDS[frame.f_code]
            break
        frame = frame.f_back
    return blank


def _become(lazy: torch.Tensor, shape: Any, dtype: Any) -> None:
    with torch.no_grad():
        lazy.data = torch.empty(shape, dtype=lazy.data.dtype if dtype is None else dtype)
    lazy.__class__ = FakeTensor


def _dispatched(func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    # `Tensor._make_subclass` detaches what it is given, and needs an object of its class back.
    if func is torch.ops.aten.detach.default and isinstance(args[0], (LazyParameter, LazyBuffer)):
        return args[0]
    return FakeTensor.__torch_dispatch__(func, types, args, kwargs)
