"""Where the values of a tensor are computed: on the host, or on the tensor's own device."""

from __future__ import annotations

from functools import cache
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fanin.initializers.base import Initializer
from fanin.initializers.constant import Constant
from fanin.initializers.normal import Normal
from fanin.initializers.truncated_normal import TruncatedNormal
from fanin.initializers.uniform import Uniform
from fanin.random.laws import Law
from fanin.random.stream import Region, Stream
from fanin.torch.device.host import fill_through_host
from fanin.torch.device.pure import fill_pure, law_for

LEAST = 1 << 20
"""Tensors of fewer values always go through the host: starting a few hundred small operations takes longer."""
_TIMED = 1 << 22
_EXAMPLES: dict[type[Initializer], tuple[Initializer, ...]] = {
    Uniform: (Uniform(-0.3, 1.0),),
    Normal: (Normal(0.1, 0.7),),
    TruncatedNormal: (
        TruncatedNormal(corrected=False),
        TruncatedNormal(0.1, 0.7, -1.0, 8.0, corrected=False),
        TruncatedNormal(0.1, 0.7, 6.0, 9.0, corrected=False),
    ),
}
"""What a device must draw as the host does before it may draw by itself; the first one is also timed."""


class Trial(NamedTuple):
    """How a device's own values compare with the host's."""

    same_bits: bool
    faster: bool


def fill_elsewhere(
    tensor: Tensor, initializer: Initializer, stream: Stream, part: Region, threads: int | None = None
) -> None:
    """Write the values of `part` into a floating-point tensor that no kernel can write where it lies.

    A constant is drawn once and spread by the device. Of other laws, large tensors on an accelerator are computed
    there by `fanin.torch.device.pure` if a trial has shown that this device gives the host's bits, and sooner; all
    else goes through `fanin.torch.device.host`. The values are the same either way.

    Args:
        tensor, initializer, stream, part, threads: as for `fanin.torch.fill.fill`.

    Raises:
        ArgumentError: the initializer has no value of this dtype.

    >>> table = torch.empty(2, 3).T
    >>> fill_elsewhere(table, Constant(0.5), Stream.named(0, "w"), Region.whole((3, 2)))
    >>> table.tolist()
    [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """
    if isinstance(initializer, Constant):
        value = torch.empty((), dtype=tensor.dtype, device="cpu")
        fill_through_host(value, initializer, stream, Region.whole(()), threads)
        with torch.no_grad():
            tensor.fill_(value.item())
        return
    law = own_law(tensor, initializer, part)
    if law is None:
        fill_through_host(tensor, initializer, stream, part, threads)
    else:
        fill_pure(tensor, law, stream, part)


def own_law(tensor: Tensor, initializer: Initializer, part: Region) -> Law | None:
    """The numbers by which the tensor's device computes the values itself, or None where the host is to do it."""
    if tensor.device.type == "cpu" or part.numel < LEAST or type(initializer) not in _EXAMPLES:
        return None
    law = law_for(initializer, tensor.dtype)
    if law is None:
        return None
    verdict = trial(tensor.device, type(initializer), tensor.dtype)
    return law if verdict.same_bits and verdict.faster else None


@cache
def trial(device: torch.device, kind: type[Initializer], dtype: torch.dtype) -> Trial:
    """Draw some millions of values both ways, compare their bits, and time them; once per device, law and dtype."""
    try:
        same = same_bits(device, kind, dtype)
        return Trial(same, same and _faster(device, _EXAMPLES[kind][0], dtype))
    except (RuntimeError, TypeError, OSError):  # an operation or dtype the device lacks, kernels without their source
        return Trial(same_bits=False, faster=False)


def same_bits(device: torch.device, kind: type[Initializer], dtype: torch.dtype, count: int = LEAST) -> bool:
    """Whether `count` values of each example of the law `kind` are the host's.

    >>> same_bits(torch.device("cpu"), Uniform, torch.float32, 1000)
    True
    """
    return all(_same_bits(device, example, dtype, count) for example in _EXAMPLES[kind])


def _same_bits(device: torch.device, example: Initializer, dtype: torch.dtype, count: int) -> bool:
    law, stream = law_for(example, dtype), Stream(key=0x9E3779B97F4A7C15, lane=1)
    if law is None:
        return False
    part = Region((count + 1,), (1,), (count,))
    ours, hosts = torch.empty(count, dtype=dtype, device=device), torch.empty(count, dtype=dtype, device="cpu")
    fill_pure(ours, law, stream, part)
    fill_through_host(hosts, example, stream, part)
    return torch.equal(ours.cpu().view(torch.uint8), hosts.view(torch.uint8))


def _faster(device: torch.device, example: Initializer, dtype: torch.dtype) -> bool:
    law, stream, part = law_for(example, dtype), Stream(key=0), Region.whole((_TIMED,))
    target = torch.empty(_TIMED, dtype=dtype, device=device)
    module: Any = torch.get_device_module(device)

    def seconds(own: bool) -> float:
        module.synchronize(device)
        start = perf_counter()
        if own and law is not None:
            fill_pure(target, law, stream, part)
        else:
            fill_through_host(target, example, stream, part)
        module.synchronize(device)
        return perf_counter() - start

    # In turns, the better of two: the first of each also pays for memory and for loading code.
    times = [(seconds(True), seconds(False)) for _ in range(2)]
    return min(own for own, _ in times) < min(host for _, host in times)
