"""How much memory the live results of a program take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from fanin.errors import PlanError
from fanin.torch.tensors import storage_id

_BYTES = 128  # that all live results together may have for each element that one may have


@dataclass(slots=True)
class Held:
    """Counts the bytes of all live results, each storage once; works on the meta device too."""

    limit: int
    _bytes: int = 0
    _users: Counter[int] = field(default_factory=Counter)

    def take(self, number: int, result: Any) -> None:
        """Count the result of line `number`.

        Raises:
            PlanError: together the live results are too large.
        """
        for tensor in _tensors(result):
            key = storage_id(tensor)
            self._bytes += 0 if self._users[key] else tensor.untyped_storage().nbytes()
            self._users[key] += 1
        if self._bytes > _BYTES * self.limit:
            raise PlanError(
                f"at line {number} the program holds {self._bytes} bytes; allowed are {_BYTES * self.limit}"
            )

    def give_back(self, result: Any) -> None:
        """Forget a result that nothing needs any more."""
        for tensor in _tensors(result):
            key = storage_id(tensor)
            self._users[key] -= 1
            self._bytes -= 0 if self._users[key] else tensor.untyped_storage().nbytes()


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    for item in result if isinstance(result, (tuple, list)) else (result,):  # pyright: ignore[reportUnknownVariableType]
        if isinstance(item, torch.Tensor):
            yield item
