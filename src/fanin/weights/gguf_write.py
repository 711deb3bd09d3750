"""Writing GGUF."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from fanin.errors import ArgumentError, WeightsError
from fanin.weights.atomic import atomic_file
from fanin.weights.gguf_codes import (
    ALIGNMENT,
    ALIGNMENT_KEY,
    ARCHITECTURE_KEY,
    BOOL,
    FLOAT64,
    INT64,
    MAGIC,
    MAX_DIMENSIONS,
    MAX_NAME_BYTES,
    STRING,
    TENSOR_TYPES,
    UINT64,
    VERSION,
)
from fanin.weights.tensors import Tensor, Tensors

Value = str | bool | int | float


def write_gguf(
    path: str | Path, tensors: Tensors, architecture: str, metadata: Mapping[str, Value] | None = None
) -> None:
    """Write `tensors` to one GGUF file of version 3, atomically; tensors and metadata keep their order.

    Args:
        path: the file; an existing one is replaced in one step.
        tensors: from name (63 bytes at most, ggml's limit) to `Tensor` or array of at most 4 dimensions. Dimensions are
            given as NumPy and torch count them; the file lists them in reverse, as ggml does.
        architecture: the key `general.architecture`.
        metadata: further keys: text, bool, int (stored as uint64, negative ones as int64) or float (as float64).

    Raises:
        WeightsError: it cannot be written (the name then holds what it held before), or GGUF cannot hold a tensor.
        ArgumentError: a metadata value of another type, or a key that this function sets itself.

    Source: the GGUF specification, github.com/ggml-org/ggml, docs/gguf.md.
    """
    held = {name: _checked(path, name, Tensor.of(value)) for name, value in tensors.items()}
    header = _header(held, architecture, metadata or {})
    with atomic_file(path) as file:
        file.write(_padded(header))
        for tensor in held.values():
            file.write(tensor.to_bytes())
            file.write(bytes(-tensor.nbytes % ALIGNMENT))


def _checked(path: str | Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype not in TENSOR_TYPES:
        raise WeightsError(
            f"tensor {name!r} has dtype {tensor.dtype}, and GGUF holds only {', '.join(TENSOR_TYPES)}: "
            "convert it or write safetensors",
            path=path,
        )
    if len(tensor.shape) > MAX_DIMENSIONS:
        raise WeightsError(
            f"tensor {name!r} has {len(tensor.shape)} dimensions, and GGUF holds at most {MAX_DIMENSIONS}", path=path
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise WeightsError(
            f"the tensor name {name!r} has {len(name.encode())} bytes, and ggml reads at most {MAX_NAME_BYTES}",
            path=path,
        )
    return tensor


def _header(tensors: Mapping[str, Tensor], architecture: str, metadata: Mapping[str, Value]) -> bytes:
    for key in (ARCHITECTURE_KEY, ALIGNMENT_KEY):
        if key in metadata:
            raise ArgumentError(f"the metadata key {key!r} is set by write_gguf itself")
    values = {ARCHITECTURE_KEY: architecture, **metadata}
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(values))]
    parts += (_string(key) + _value(key, value) for key, value in values.items())
    offset = 0
    for name, tensor in tensors.items():
        parts.append(_entry(name, tensor, offset))
        offset += tensor.nbytes + -tensor.nbytes % ALIGNMENT
    return b"".join(parts)


def _entry(name: str, tensor: Tensor, offset: int) -> bytes:
    rank = len(tensor.shape)
    numbers = (rank, *reversed(tensor.shape), TENSOR_TYPES[tensor.dtype], offset)
    return _string(name) + struct.pack(f"<I{rank}QIQ", *numbers)


def _value(key: str, value: Value) -> bytes:
    match value:
        case str():
            return struct.pack("<I", STRING) + _string(value)
        case bool():
            return struct.pack("<I?", BOOL, value)
        case int() if -(2**63) <= value < 2**64:
            return struct.pack("<IQ", UINT64, value) if value >= 0 else struct.pack("<Iq", INT64, value)
        case float():
            return struct.pack("<Id", FLOAT64, value)
        case _:
            raise ArgumentError(f"metadata {key!r} must be text, bool, a 64-bit int or float, got {value!r}")


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _padded(header: bytes) -> bytes:
    return header + bytes(-len(header) % ALIGNMENT)
