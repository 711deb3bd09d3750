"""Large pages for new memory: most of the time to draw a large tensor into fresh memory goes into 4-KiB page faults."""

from __future__ import annotations

import ctypes
import sys

import torch

_SMALLEST = 1 << 22
_PAGE = 4096
_MADV_HUGEPAGE = 14  # Linux, <asm-generic/mman-common.h>


def prefer_huge_pages(tensor: torch.Tensor) -> None:
    """Ask Linux to back a large CPU tensor's fresh memory with huge pages, as NumPy does for its own arrays.

    A hint without any effect on values; it does nothing for tensors below 4 MiB and on other systems.
    """
    size = tensor.untyped_storage().nbytes()
    if sys.platform != "linux" or size < _SMALLEST:
        return
    first = tensor.untyped_storage().data_ptr()
    start = -(-first // _PAGE) * _PAGE
    whole_pages = (first + size - start) // _PAGE * _PAGE
    ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(whole_pages), _MADV_HUGEPAGE)
