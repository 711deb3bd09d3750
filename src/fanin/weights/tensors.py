"""A tensor of a weights file, free of any framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError

DTYPES: Mapping[str, np.dtype[Any]] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "float8_e4m3fn": np.dtype("u1"),
    "float8_e4m3fnuz": np.dtype("u1"),
    "float8_e5m2": np.dtype("u1"),
    "float8_e5m2fnuz": np.dtype("u1"),
    "float8_e8m0fnu": np.dtype("u1"),
    "complex64": np.dtype("<c8"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint64": np.dtype("<u8"),
    "uint32": np.dtype("<u4"),
    "uint16": np.dtype("<u2"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("?"),
}
"""Every dtype a tensor can have, as torch names it, and what holds it: unsigned bits where NumPy has no such dtype."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """Values and the dtype they mean, since NumPy knows no bfloat16 or float8.

    Attributes:
        data: the values; bfloat16 as uint16 bits, float8 as uint8 bits.
        dtype: as torch names it, without the prefix ("float32", "bfloat16").

    Raises:
        ArgumentError: a dtype not in `DTYPES`, or an array that does not hold it.

    >>> Tensor(np.array([0x3F80], np.uint16), "bfloat16").shape      # one bfloat16: 1.0
    (1,)
    """

    data: NDArray[Any]
    dtype: str

    def __post_init__(self) -> None:
        holder = DTYPES.get(self.dtype)
        if holder is None:
            raise ArgumentError(f"no weights file holds dtype {self.dtype!r}; known: {', '.join(DTYPES)}")
        if self.data.dtype.newbyteorder("<") != holder:
            raise ArgumentError(f"a {self.dtype} tensor is held by a {holder.name} array, got {self.data.dtype}")

    @classmethod
    def of(cls, value: Tensor | NDArray[Any]) -> Tensor:
        """`value` itself, or the array as a tensor of its own dtype.

        >>> Tensor.of(np.zeros(3, np.float32)).dtype
        'float32'
        """
        return value if isinstance(value, Tensor) else cls(value, value.dtype.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.data.shape

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return self.data.nbytes

    def to_bytes(self) -> memoryview:
        """Its values in row-major order, little-endian; no copy where they lie so already."""
        rows = np.ascontiguousarray(self.data, dtype=DTYPES[self.dtype])
        return rows.reshape(-1).view(np.uint8).data

    def to_float32(self) -> Tensor:
        """The same values as float32: exact from float16 and bfloat16.

        Raises:
            ArgumentError: the dtype is none of float32, float16, bfloat16.
        """
        if self.dtype == "float32":
            return self
        if self.dtype == "float16":
            return Tensor(self.data.astype(np.float32), "float32")
        if self.dtype == "bfloat16":
            return Tensor((self.data.astype(np.uint32) << 16).view(np.float32), "float32")
        raise ArgumentError(f"a {self.dtype} tensor has no exact float32 values")


Tensors = Mapping[str, Tensor | NDArray[Any]]
