"""Getting a block of values from the host to a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

_STREAMED = frozenset({"cuda", "xpu"})
"""Device types with streams, events and page-locked host memory, under the same names in torch.cuda and torch.xpu."""


class Copies(Protocol):
    """A way to copy blocks to one device."""

    @property
    def buffers(self) -> int:
        """How many blocks there may be on the host: one, or more where a copy runs while the next block is drawn."""
        ...

    def memory(self, count: int, dtype: torch.dtype) -> Tensor:
        """Host memory to copy `count` values from."""
        ...

    def start(self, target: Tensor, host: Tensor) -> Callable[[], None]:
        """Begin to copy `host` into `target` (same shape and dtype, any strides).

        What is returned waits until the copy is done; only then may `host` be written again.
        """
        ...


def copies_to(tensor: Tensor) -> Copies:
    """The way to copy into `tensor`, after all that has been asked of its device so far.

    >>> copies_to(torch.empty(3)).buffers
    1
    """
    return StreamCopies(tensor.device) if tensor.device.type in _STREAMED else PlainCopies()


@dataclass(frozen=True, slots=True)
class PlainCopies:
    """Copies that are done when the call returns: the CPU, MPS, XLA, HPU and devices unknown to us."""

    buffers: int = 1

    def memory(self, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype, device="cpu")

    def start(self, target: Tensor, host: Tensor) -> Callable[[], None]:
        target.copy_(host)
        return _done


@dataclass(frozen=True, slots=True, eq=False)
class StreamCopies:
    """Copies from page-locked memory on a stream of their own, which runs beside the host."""

    device: torch.device
    buffers: int = 2
    _module: Any = field(init=False)
    _stream: Any = field(init=False)

    def __post_init__(self) -> None:
        module: Any = torch.get_device_module(self.device)
        stream = module.Stream(self.device)
        stream.wait_stream(module.current_stream(self.device))
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_stream", stream)

    def memory(self, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype, device="cpu", pin_memory=True)

    def start(self, target: Tensor, host: Tensor) -> Callable[[], None]:
        with self._module.stream(self._stream):
            # A copy into strides would first be packed on the device by torch itself, but through pageable memory.
            packed = host if target.is_contiguous() else host.to(self.device, non_blocking=True)
            target.copy_(packed, non_blocking=True)
            return self._stream.record_event().synchronize


def _done() -> None:
    """Nothing is left to wait for."""
