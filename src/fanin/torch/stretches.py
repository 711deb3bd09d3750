"""Bytes of weights files that are to be read: where they lie, where they go, what looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fanin.weights.mapped import MappedFile

Bytes = NDArray[np.uint8]


class Look(Protocol):
    """Looks, in any thread, for a value that may not be there.

    There is one if a bit of `signs` is set in (word & exponents) + units for a word of 64 bits.
    """

    @property
    def exponents(self) -> np.uint64: ...
    @property
    def units(self) -> np.uint64: ...
    @property
    def signs(self) -> np.uint64: ...

    def look(self, run: Bytes) -> None:
        """Look at bytes, whole values of them."""
        ...

    def refuse(self) -> None:
        """There is one."""
        ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of a file from `begin` on."""

    file: MappedFile
    begin: int
    nbytes: int

    @property
    def end(self) -> int:
        return self.begin + self.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A stretch that is to be read.

    Attributes:
        stretch: of a file.
        out: a tensor in rows on the CPU, of as many bytes, that they go to; None: they are looked at.
        look: is shown every byte, where there is one.
    """

    stretch: Stretch
    out: torch.Tensor | None
    look: Look | None = None


def bytes_of(tensor: torch.Tensor) -> Bytes:
    """The memory of a tensor in rows on the CPU."""
    return tensor.detach().view(-1).view(torch.uint8).numpy()


def joined(stretches: Sequence[Stretch]) -> list[Stretch]:
    """The same bytes in as few stretches as they lie in, in the order of their files."""
    files = {file: number for number, file in enumerate(dict.fromkeys(each.file for each in stretches))}
    found: list[Stretch] = []
    for each in sorted(stretches, key=lambda each: (files[each.file], each.begin)):
        last = found[-1] if found else None
        if last is not None and last.file is each.file and last.end == each.begin:
            found[-1] = Stretch(last.file, last.begin, last.nbytes + each.nbytes)
        else:
            found.append(each)
    return found
