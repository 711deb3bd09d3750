"""Which indices depend on what stands in the model's inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from fanin.torch.tensors import storage_id


class Dependence:
    """Follows whole numbers and masks from the inputs on, with or without values.

    A running count (of the tokens that are no padding) tells where something stands and not what; what is computed
    from one does not count as dependent.
    """

    def __init__(self) -> None:
        self._kept: list[torch.Tensor] = []  # alive, so that their storages stay theirs
        self._given: set[int] = set()
        self._counted: set[int] = set()

    def start(self, inputs: Any) -> None:
        """Note the inputs of the model."""
        self._mark(_indices(inputs), self._given)

    def follow(self, op: str, inputs: Any, taken: Any, outputs: Any) -> None:
        """Note what an operation does with its inputs, that it may have taken in copies without values."""
        if not self._given:
            return
        tensors = _indices(inputs)
        read = {storage_id(tensor) for tensor in tensors}
        if read.isdisjoint(self._given) and read.isdisjoint(self._counted):
            return
        for known in (self._given, self._counted):
            pairs = zip(tensors, _indices(taken), strict=True)
            self._mark([copy for tensor, copy in pairs if copy is not tensor and storage_id(tensor) in known], known)
        counted = op == "cumsum" or not read.isdisjoint(self._counted)
        self._mark(_indices(outputs), self._counted if counted else self._given)

    def has(self, arguments: Any) -> bool:
        """Some tensor among the arguments holds indices that depend on the inputs."""
        return any(storage_id(tensor) in self._given for tensor in _indices(arguments))

    def _mark(self, tensors: Iterable[torch.Tensor], known: set[int]) -> None:
        for tensor in tensors:
            self._kept.append(tensor)
            known.add(storage_id(tensor))


def _indices(tree: Any) -> list[torch.Tensor]:
    leaves = (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))
    return [leaf for leaf in leaves if not (leaf.is_floating_point() or leaf.is_complex())]
