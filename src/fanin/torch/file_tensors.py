"""Torch tensors to the framework-free tensors of weights files, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from fanin.errors import WeightsError
from fanin.weights import DTYPES, Tensor, WeightsFile

# NumPy has no bfloat16 or float8, so their bits travel as unsigned integers of the same size.
_AS_BITS = {
    "bfloat16": torch.uint16,
    "float8_e4m3fn": torch.uint8,
    "float8_e4m3fnuz": torch.uint8,
    "float8_e5m2": torch.uint8,
    "float8_e5m2fnuz": torch.uint8,
    "float8_e8m0fnu": torch.uint8,
}


class OpenedWeights(Mapping[str, torch.Tensor]):
    """The tensors of a weights file by name, each mapped from the file when asked for; see `fanin.open_weights`.

    Attributes:
        file: path, format, metadata, and dtype, shape and place of each tensor.
    """

    def __init__(self, file: WeightsFile, tensors: Mapping[str, Tensor]) -> None:
        self.file = file
        self._tensors = tensors

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the file says about itself."""
        return self.file.metadata

    def __getitem__(self, name: str) -> torch.Tensor:
        return to_torch(self._tensors[name])

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def to_torch(tensor: Tensor) -> torch.Tensor:
    """The same values as a torch tensor, without a copy."""
    dtype: torch.dtype = getattr(torch, tensor.dtype)
    values = torch.from_numpy(tensor.data)
    return values.view(dtype) if tensor.dtype in _AS_BITS else values


def from_torch(name: str, tensor: torch.Tensor, path: str | Path) -> Tensor:
    """The same values without torch; no copy where they lie in rows on the CPU.

    Raises:
        WeightsError: the tensor has no values (meta, fake), is not dense, or has a dtype no file holds.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_meta or isinstance(tensor, FakeTensor):
        where = "on the meta device" if tensor.is_meta else "a fake tensor"
        raise WeightsError(f"{name!r} is {where} and has no values yet: materialize the model", path=path)
    if dtype not in DTYPES or tensor.layout is not torch.strided:
        raise WeightsError(
            f"{name!r} ({tensor.layout}, {dtype}) cannot be stored: make it dense, of another dtype", path=path
        )
    values = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    bits = values.view(_AS_BITS[dtype]) if dtype in _AS_BITS else values
    return Tensor(bits.numpy(), dtype)
