"""Values drawn on the host, a block at a time, and copied while the next block is drawn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fanin.initializers.base import Initializer
from fanin.random.stream import Region, Stream
from fanin.torch.device.arrays import NATIVE, as_array
from fanin.torch.device.blocks import blocks
from fanin.torch.device.copies import Copies, copies_to

BLOCK_BYTES = 1 << 25
"""Of a block on the host: large enough for every core to draw a share, and for the copy to reach the bus's speed."""


def fill_through_host(
    tensor: Tensor,
    initializer: Initializer,
    stream: Stream,
    part: Region,
    threads: int | None = None,
    *,
    copies: Copies | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> None:
    """Write the values of `part` into `tensor`, in place and outside autograd.

    The host holds one or two blocks (`copies.buffers`) and, for a dtype that no kernel writes (float8), their float32
    values, which are rounded to nearest by torch on the host. A law that is not elementwise needs its part whole.
    All copies are done at the return.

    Args:
        tensor: a floating-point tensor on any device, of any strides.
        initializer, stream, part, threads: as for `fanin.torch.fill.fill`.
        copies: the way to the device; by default the best that torch has for it.
        block_bytes: how large a block may be, in bytes of the dtype it is drawn in.

    Raises:
        ArgumentError: the initializer has no value of this dtype.

    >>> from fanin.initializers import Uniform
    >>> table = torch.empty(5, 3).T
    >>> fill_through_host(table, Uniform(), Stream.named(0, "w"), Region.whole((3, 5)))
    >>> bool(((table >= 0) & (table < 1)).all())
    True
    """
    drawn = tensor.dtype if tensor.dtype in NATIVE else torch.float32
    most = max(1, block_bytes // drawn.itemsize) if initializer.elementwise else part.numel

    def draw(host: Tensor, piece: Region) -> None:
        if host.dtype is drawn:
            initializer.fill(as_array(host), stream, piece, threads=threads)
        else:
            values = torch.empty(piece.size, dtype=drawn, device="cpu")
            initializer.fill(as_array(values), stream, piece, threads=threads)
            host.copy_(values)

    with torch.no_grad():
        if part.numel <= most:
            host = torch.empty(part.size, dtype=tensor.dtype, device="cpu")
            draw(host, part)
            tensor.copy_(host)
        else:
            _in_blocks(tensor, part, most, draw, copies or copies_to(tensor))


def _in_blocks(tensor: Tensor, part: Region, most: int, draw: Callable[[Tensor, Region], None], copies: Copies) -> None:
    memory = [copies.memory(most, tensor.dtype) for _ in range(copies.buffers)]
    waits: dict[int, Callable[[], None]] = {}
    try:
        for number, (index, piece) in enumerate(blocks(part, most)):
            slot = number % len(memory)
            if slot in waits:
                waits.pop(slot)()
            host = memory[slot][: piece.numel].view(piece.size)
            draw(host, piece)
            waits[slot] = copies.start(tensor[index], host)
    finally:
        for wait in waits.values():
            wait()
