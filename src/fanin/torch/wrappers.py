"""Tensors behind which a Python class stands."""

from __future__ import annotations

from torch import _C, Tensor  # pyright: ignore[reportPrivateUsage]


def is_wrapper(tensor: Tensor) -> bool:
    """Whether a Python class (DTensor, fake, functional) stands where the memory would be."""
    return _C._dispatch_keys(tensor).has(_C.DispatchKey.Python)  # pyright: ignore[reportPrivateUsage]
