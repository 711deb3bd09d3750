"""Tensors behind which a Python class stands."""

from __future__ import annotations

from torch import Tensor
from torch._C import DispatchKey, _dispatch_keys  # pyright: ignore[reportPrivateUsage]
from torch.nn import Parameter

_PYTHON = DispatchKey.Python
_NONE = frozenset({Tensor, Parameter})


def is_wrapper(tensor: Tensor) -> bool:
    """Whether a Python class (DTensor, fake, functional) stands where the memory would be."""
    return type(tensor) not in _NONE and _dispatch_keys(tensor).has(_PYTHON)
