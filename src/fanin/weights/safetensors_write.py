"""Writing safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanin.errors import WeightsError
from fanin.weights.atomic import atomic_file
from fanin.weights.safetensors_codes import CODES, MAX_HEADER
from fanin.weights.tensors import DTYPES, Tensor, Tensors

_ALIGNMENT = 8


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
    ordered = sorted(_checked(path, tensors).items(), key=lambda item: (-DTYPES[item[1].dtype].itemsize, item[0]))
    header = _header(path, ordered, metadata or {})
    with atomic_file(path) as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for _, tensor in ordered:
            file.write(tensor.to_bytes())


def _checked(path: str | Path, tensors: Tensors) -> dict[str, Tensor]:
    if "__metadata__" in tensors:
        raise WeightsError("safetensors reserves the name '__metadata__': rename that tensor", path=path)
    return {name: Tensor.of(value) for name, value in tensors.items()}


def _header(path: str | Path, ordered: list[tuple[str, Tensor]], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.nbytes
        entries[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER:
        raise WeightsError(
            f"the header would have {len(text):,} bytes, more than the {MAX_HEADER:,} allowed", path=path
        )
    return text + b" " * (-len(text) % _ALIGNMENT)
