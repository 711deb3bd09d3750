"""The bytes of a weights file, read only inside its bounds."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import WeightsError
from fanin.weights.tensors import DTYPES, Tensor

_MAX_RANK = 64
_MAX_BYTES = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tensor lies in a file: `begin` counts from the file's first byte."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    nbytes: int

    @property
    def end(self) -> int:
        return self.begin + self.nbytes


def map_file(path: str | Path) -> NDArray[np.uint8]:
    """The bytes of a file, mapped, not read; writing to them changes memory only.

    Raises:
        WeightsError: missing, a folder, empty or unreadable.
    """
    try:
        with Path(path).open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
    except FileNotFoundError:
        raise WeightsError("there is no such file", path=path) from None
    except IsADirectoryError:
        raise WeightsError("is a folder; name a weights file in it", path=path) from None
    except ValueError:  # mmap's word for length 0
        raise WeightsError("the file is empty", path=path, offset=0) from None
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror or error}", path=path) from None


def tensor_bytes(dtype: str, shape: tuple[int, ...]) -> int | None:
    """Bytes of such a tensor, or None if no array can have that shape."""
    if len(shape) > _MAX_RANK or any(not 0 <= size <= _MAX_BYTES for size in shape):
        return None
    # NumPy multiplies the sizes that are not 0, also for an empty array.
    total = prod(size for size in shape if size) * DTYPES[dtype].itemsize
    return None if total > _MAX_BYTES else total * (0 not in shape)


def tensor_at(data: NDArray[np.uint8], place: Place) -> Tensor:
    """The tensor at `place`, a view of `data` where its memory is aligned."""
    holder: np.dtype[Any] = DTYPES[place.dtype]
    values = data[place.begin : place.end].view(holder).reshape(place.shape)
    return Tensor(values if values.flags.aligned else values.copy(), place.dtype)
