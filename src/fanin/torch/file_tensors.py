"""Torch tensors to the framework-free tensors of weights files, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from fanin.errors import WeightsError
from fanin.torch.stretches import Read, Stretch
from fanin.weights import DTYPES, Tensor, WeightsFile
from fanin.weights.file_bytes import Place

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
        file: path, format, metadata, notes, and dtype, shape and place of each tensor.
        is_own: whoever opened it keeps no tensor of it, so that what was read may be given back after each one.
    """

    def __init__(self, file: WeightsFile, tensors: Mapping[str, Tensor], is_own: bool = False) -> None:
        self.file = file
        self._tensors = tensors
        self._places = file.places if tensors is file else {}
        self.is_own = is_own

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the file says about itself."""
        return self.file.metadata

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The same, free of torch."""
        return self._tensors

    def place(self, name: str) -> Place | None:
        """Dtype, shape and bytes of a tensor, without reading it; None where the file has it in another form."""
        return self._places.get(name)

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say about how it was read: the entry chosen, what was left out."""
        return self.file.notes

    def release(self) -> None:
        """Give back the memory of what was read; see `fanin.weights.WeightsFile.release`."""
        self.file.release()

    def stretch(self, name: str) -> Stretch | None:
        """The bytes of a tensor in its file, where they are its values as they are; None where they are decoded."""
        place = self.place(name)
        if place is None or not place.plain or place.dtype not in DTYPES:
            return None
        if place.begin % DTYPES[place.dtype].itemsize:
            return None  # the view would be a copy
        if len(self.file.files) == 1:
            return Stretch(self.file.files[0], place.begin, place.nbytes)
        values = self._tensors[name].data
        for file in self.file.files:
            begin = file.begin_of(values)
            if begin is not None:
                return Stretch(file, begin, values.nbytes)
        return None

    def read_to(self, name: str, out: torch.Tensor) -> Read | None:
        """How a tensor's bytes are read to those of `out`, which has its shape and dtype, in rows; None if not so.

        Unlike a copy of `self[name]` it leaves nothing mapped.

        Raises:
            WeightsError: the file changed.
        """
        stretch = self.stretch(name)
        return None if stretch is None else Read(stretch, out)

    def check_read(self, name: str, read: Read, out: torch.Tensor) -> None:
        """Raise if the values that were read to `out` may not go into a model: here, all may."""

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
