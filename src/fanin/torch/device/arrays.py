"""Torch's memory as NumPy sees it, and the dtypes that initializers know."""

from __future__ import annotations

import torch
from torch import Tensor

from fanin.initializers.base import Storage

NATIVE = frozenset({torch.float32, torch.float64, torch.float16, torch.bfloat16})
"""Dtypes that initializers compute themselves, each value rounded once."""


def as_array(tensor: Tensor) -> Storage:
    """The memory of a contiguous CPU tensor of a native dtype as an array; bfloat16 as its bits in uint16.

    >>> as_array(torch.ones(2, dtype=torch.bfloat16))
    array([16256, 16256], dtype=uint16)
    """
    bare = tensor.detach() if tensor.requires_grad else tensor
    return (bare.view(torch.uint16) if bare.dtype is torch.bfloat16 else bare).numpy()
