"""Tensors that are read from files straight to where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fanin.torch.materialize.copies import Copied
from fanin.torch.materialize.memory import Memory
from fanin.torch.materialize.tasks import Task
from fanin.torch.stretches import Read


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One of them.

    Attributes:
        number: of its task.
        source: where its values come from.
        target: its memory.
        read: how its bytes are read there.
    """

    number: int
    source: Copied
    target: torch.Tensor
    read: Read

    @classmethod
    def of(cls, task: Task, number: int, memory: Memory) -> Reading | None:
        """How a task's tensor is read; None where its values do not lie in a file as they are to lie in memory.

        Raises:
            WeightsError: a file changed since it was opened.
        """
        if task.source is None:
            return None
        target = memory[task.step.name]
        read = task.source.read_to(target)
        return None if read is None else cls(number, task.source, target, read)

    def check(self) -> None:
        """Raise if the source does not let what was read into a model.

        Raises:
            WeightsError: which tensor, and why.
        """
        self.source.check_read(self.read, self.target)
