"""The kernels' values computed by torch itself, on the device of the tensor: nothing is copied from the host.

Integer words are int64 tensors. The products of Philox exceed 2⁶³ and wrap around, as torch's int64 does on the CPU
and on CUDA; the low 64 bits, all that is used, are right. Each floating-point operation is one eager call of torch,
add, multiply and divide rounded once (CUDA's are, unless built with fast-math), the square root made so by
`fanin.torch.device.roots`. Do not wrap these functions in `torch.compile`: Inductor and Triton may contract a·b + c
into one rounding, which gives other bits. Subnormal numbers must not be flushed (`torch.set_flush_denormal`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fanin.initializers.base import Initializer
from fanin.random.laws import Law
from fanin.random.runs import Runs, runs_of
from fanin.random.stream import Region, Stream
from fanin.torch.device.blocks import blocks

_MOST = 1 << 22
"""Values computed at a time: some twenty int64 tensors of a quarter as many words live on the device meanwhile."""


def law_for(initializer: Initializer, dtype: torch.dtype) -> Law | None:
    """The numbers of an initializer whose values are stored as `dtype`, or None if only the host can draw them.

    Raises:
        ArgumentError: the initializer has no value of this dtype.

    >>> from fanin.initializers import Normal, Orthogonal
    >>> law_for(Normal(0.0, 0.5), torch.bfloat16), law_for(Orthogonal(), torch.float32)
    (Normal32(mean=np.float32(0.0), std=np.float32(0.5)), None)
    """
    stored = np.dtype(np.float64 if dtype is torch.float64 else np.float32)
    laws = type(initializer).laws([initializer], stored)
    if laws is None:
        return None
    numbers: Any = (type(like)(each) for like, each in zip(laws.kind, laws.numbers[0], strict=True))
    return type(laws.kind)(*numbers)


def fill_pure(tensor: Tensor, law: Law, stream: Stream, part: Region, *, most: int = _MOST) -> None:
    """Write the values of `part` under `law` into `tensor`, computed on its device in blocks of `most` values.

    16-bit and float8 values are the float32 ones, rounded once to nearest by torch.

    >>> from fanin.initializers import Normal
    >>> weight, law = torch.empty(2, 3), law_for(Normal(std=0.02), torch.float32)
    >>> fill_pure(weight, law, Stream.named(0, "w"), Region.whole((2, 3)))
    >>> [round(value, 6) for value in weight.flatten()[:4].tolist()]
    [-0.037304, 0.017587, 0.012467, 0.008937]
    """
    with torch.no_grad():
        for index, piece in blocks(part, most):
            values = draw(law, stream, piece, tensor.device)
            single = values if tensor.dtype is torch.float64 else values.float()
            tensor[index].copy_(single)


def draw(law: Law, stream: Stream, part: Region, device: torch.device | str = "cpu") -> Tensor:
    """The values of `part` under `law`, in the dtype the law computes in (words as int64)."""
    from fanin.random.kernels.philox import Counters
    from fanin.random.kernels.values import VALUES
    from fanin.torch.device.retarget import for_tensors, number

    runs = runs_of(part)
    starts = _starts(runs, device)
    skip = _common_skip(runs)
    count = (runs.length + (3 if skip is None else skip) + 3) // 4
    block = (starts >> 2)[:, None] + torch.arange(count, device=device)
    key: Any = (stream.key % 2**32, stream.key >> 32, stream.lane)
    numbers: Any = map(number, law)
    four = for_tensors(VALUES[type(law)])(type(law)(*numbers), Counters(*key), block)
    rows = torch.stack(four, -1).flatten(1)
    if skip is None:
        rows = rows.gather(1, (starts & 3)[:, None] + torch.arange(runs.length, device=device))
    else:
        rows = rows[:, skip : skip + runs.length]
    return rows.reshape(part.size)


def _starts(runs: Runs, device: torch.device | str) -> Tensor:
    """The flat index at which each run begins."""
    starts = torch.full((1,), runs.offset, dtype=torch.int64, device=device)
    for extent, stride in zip(runs.extents.tolist(), runs.strides.tolist(), strict=True):
        steps = torch.arange(extent, device=device) * stride
        starts = (starts[:, None] + steps).flatten()
    return starts


def _common_skip(runs: Runs) -> int | None:
    """How many values of its first block each run leaves out, or None where runs differ in it."""
    return runs.offset % 4 if not (runs.strides % 4).any() else None
