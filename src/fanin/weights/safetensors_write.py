"""Writing safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fanin.weights.atomic import atomic_file
from fanin.weights.safetensors_header import Described, header_bytes, in_file_order
from fanin.weights.tensors import Tensor, Tensors


def write_safetensors(path: str | Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
    """Write `tensors` to one safetensors file, atomically.

    The same tensors and metadata give the same bytes: tensors lie by falling item size, then by name; metadata keys
    are sorted.

    Args:
        path: the file; an existing one is replaced in one step.
        tensors: from name to `Tensor`, or to an array that means its own dtype.
        metadata: text by name, the file's `__metadata__`.

    Raises:
        WeightsError: it cannot be written (the name then holds what it held before), or a tensor's name is reserved.

    Source: the safetensors format, github.com/huggingface/safetensors.
    """
    given = {name: Tensor.of(value) for name, value in tensors.items()}
    ordered = in_file_order(Described(name, tensor.dtype, tensor.shape) for name, tensor in given.items())
    header = header_bytes(path, ordered, metadata or {})
    with atomic_file(path) as file:
        file.write(header)
        for described in ordered:
            file.write(given[described.name].to_bytes())
