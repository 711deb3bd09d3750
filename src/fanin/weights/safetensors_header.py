"""The header of a safetensors file: which tensors it has, and where."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from fanin.errors import WeightsError
from fanin.weights.safetensors_codes import CODES, MAX_HEADER
from fanin.weights.tensors import DTYPES

_ALIGNMENT = 8


class Described(NamedTuple):
    """A tensor as a header tells it.

    Attributes:
        name: its name in the file.
        dtype: as torch names it ("float32", "bfloat16").
        shape: its shape.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return prod(self.shape) * DTYPES[self.dtype].itemsize


def in_file_order(tensors: Iterable[Described]) -> tuple[Described, ...]:
    """The order of their values: by falling item size, so that each is aligned, then by name."""
    return tuple(sorted(tensors, key=lambda tensor: (-DTYPES[tensor.dtype].itemsize, tensor.name)))


def header_bytes(path: str | Path, ordered: Sequence[Described], metadata: Mapping[str, str]) -> bytes:
    """All bytes in front of the values: the header's length, the header, and spaces up to a multiple of 8.

    Args:
        path: the file, for errors.
        ordered: the tensors in the order of their values, which follow one another without gaps.
        metadata: text by name, the file's `__metadata__`; keys are sorted.

    Raises:
        WeightsError: a tensor's name is reserved, or the header is longer than readers allow.

    >>> header_bytes("a", [Described("w", "float32", (2, 3))], {})[8:]
    b'{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}       '
    """
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for tensor in ordered:
        if tensor.name == "__metadata__":
            raise WeightsError("safetensors reserves the name '__metadata__': rename that tensor", path=path)
        begin, end = end, end + tensor.nbytes
        entries[tensor.name] = {
            "dtype": CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER:
        raise WeightsError(
            f"the header would have {len(text):,} bytes, more than the {MAX_HEADER:,} allowed", path=path
        )
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
