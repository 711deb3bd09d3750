"""The true values of recorded tensors that involve no chance, computed when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes  # pyright: ignore[reportPrivateUsage]

from fanin.errors import CaptureError, PlanError
from fanin.torch.capture.geometry import Geometry
from fanin.torch.capture.programs import NotReplayableError, Writer
from fanin.torch.capture.records import State, View
from fanin.torch.replay import Draws, Sources, run

_LIMIT = 1 << 26


@dataclass(slots=True)
class Values:
    """Computes deterministic views for real and keeps what it computed."""

    _kept: dict[int, tuple[State, torch.Tensor]] = field(default_factory=dict)

    def of(self, view: View) -> torch.Tensor:
        """The values of `view`.

        Raises:
            NotReplayableError: they depend on random numbers, or cannot be computed again.
        """
        if id(view.state) not in self._kept:
            self._kept[id(view.state)] = view.state, self._memory(view.state)
        geometry = view.geometry
        with _disable_current_modes():
            return self._kept[id(view.state)][1].as_strided(geometry.shape, geometry.stride, geometry.offset)

    def scalar(self, value: Any) -> float | None:
        """A number that an operator was given, as itself or as a tensor of one deterministic element; else None."""
        if isinstance(value, (int, float)):
            return value
        if not isinstance(value, View) or value.geometry.numel != 1:
            return None
        try:
            with _disable_current_modes():
                return self.of(value).item()
        except NotReplayableError:
            return None

    def _memory(self, state: State) -> torch.Tensor:
        writer = Writer(inline=False)
        flat = Geometry((state.memory.numel,), (1,), 0, state.memory.dtype)
        program = writer.program(View(state, flat))
        sources = Sources(lambda name: writer.given[int(name)], _no_chance, writer.operator)
        with _disable_current_modes():
            try:
                return run(program, sources, limit=_LIMIT)
            except PlanError as error:
                raise NotReplayableError(str(error)) from error


def _no_chance(draws: Draws) -> torch.Tensor:
    raise CaptureError(f"a deterministic program draws {draws.law.describe()}")
