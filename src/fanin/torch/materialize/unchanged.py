"""Whether the tensors of a model are still those that were checked: other threads may have touched the model."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import torch

from fanin.errors import FaninError
from fanin.torch.materialize.memory import Memory
from fanin.torch.materialize.tasks import Task
from fanin.torch.sharded import dtensor

_SHAPE, _DTYPE = attrgetter("shape"), attrgetter("dtype")


class Forms(NamedTuple):
    """Where tensors lie, one column for each property, because comparing lists is faster than tensor by tensor."""

    addresses: list[int]
    shapes: list[torch.Size]
    strides: list[tuple[int, ...]]
    dtypes: list[torch.dtype]

    @classmethod
    def of(cls, tensors: Sequence[torch.Tensor]) -> Forms:
        """The forms of plain tensors."""
        addresses, strides = map(torch.Tensor.data_ptr, tensors), map(torch.Tensor.stride, tensors)
        return cls(list(addresses), list(map(_SHAPE, tensors)), list(strides), list(map(_DTYPE, tensors)))

    def at(self, rows: Sequence[int]) -> Forms:
        """Some of them."""
        addresses, shapes = [self.addresses[row] for row in rows], [self.shapes[row] for row in rows]
        return Forms(addresses, shapes, [self.strides[row] for row in rows], [self.dtypes[row] for row in rows])

    def row(self, at: int) -> tuple[int, torch.Size, tuple[int, ...], torch.dtype]:
        """One of them."""
        return self.addresses[at], self.shapes[at], self.strides[at], self.dtypes[at]

    def told(self, at: int) -> str:
        """One of them in words."""
        address, shape, stride, dtype = self.row(at)
        memory = f"at address {address:#x}" if address else "without memory"
        return f"{dtype} of shape {tuple(shape)} and strides {stride}, {memory}"


class Unchanged:
    """The forms of tensors when their memory was taken, to be compared with what they are later.

    It keeps that memory alive, as kernels write to its addresses.
    """

    __slots__ = ("_alive", "_forms", "_tasks")

    def __init__(self, tasks: Sequence[Task], memory: Memory) -> None:
        self._tasks = tasks
        taken = [task.stored.tensor if task.usual else _lying(_taken(task, memory)) for task in tasks]
        self._forms = Forms.of(taken)
        self._alive = list(map(torch.Tensor.untyped_storage, taken))

    def check(self, numbers: Sequence[int] | None = None) -> None:
        """Raise if the tensor of one of these tasks, by default of any, has moved or changed its form.

        Raises:
            FaninError: which one, and how.
        """
        if numbers is None or len(numbers) == len(self._tasks):
            tasks, forms = self._tasks, self._forms
        else:
            tasks, forms = [self._tasks[number] for number in numbers], self._forms.at(numbers)
        now = Forms.of([task.stored.tensor if task.usual else _lying(task.stored.tensor) for task in tasks])
        if now != forms:
            at = next(at for at in range(len(tasks)) if now.row(at) != forms.row(at))
            raise FaninError(
                f"{tasks[at].step.name!r} was changed while materialize ran: it was {forms.told(at)} when it was "
                f"checked, and is {now.told(at)} now. Let nothing else touch the model meanwhile"
            )


def _taken(task: Task, memory: Memory) -> torch.Tensor:
    tensor = task.stored.tensor
    return tensor if tensor.is_meta or not task.held else memory[task.step.name]


def _lying(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in which the values lie that this process has."""
    return dtensor.local_of(tensor) if dtensor.is_dtensor(tensor) else tensor
