"""An opened weights file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fanin.errors import UnknownNameError
from fanin.weights.file_bytes import Place, tensor_at
from fanin.weights.tensors import Tensor


@dataclass(frozen=True, eq=False)
class WeightsFile(Mapping[str, Tensor]):
    """The tensors of one file by name, in the file's order; each is a view of the mapped file, made when asked for.

    Writing to a view changes memory, never the file.

    Attributes:
        path: the file.
        format: "safetensors" or "gguf".
        metadata: what the file says about itself.
        places: dtype, shape and bytes of each tensor.
    """

    path: Path
    format: Literal["safetensors", "gguf"]
    metadata: Mapping[str, Any]
    places: Mapping[str, Place]
    data: NDArray[np.uint8]

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.places:
            raise UnknownNameError.among(f"tensor of {self.path}", name, self.places)
        return tensor_at(self.data, self.places[name])

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)
