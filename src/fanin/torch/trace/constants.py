"""Buffers whose values a plan knows, for models on `meta`: their code may read them (strides, position indices)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch

from fanin.errors import FaninError
from fanin.initializers.constant import Constant
from fanin.plans.steps import Draw, Replay, Step
from fanin.torch.replay import Sources, names_read, run

_SMALL = 1 << 16


def constants(steps: Mapping[str, Step]) -> dict[str, torch.Tensor]:
    """The values of the small buffers that involve neither chance nor another tensor, by name."""
    known = {name: _value(step) for name, step in steps.items() if step.kind == "buffer" and prod(step.shape) <= _SMALL}
    return {name: value for name, value in known.items() if value is not None}


def _value(step: Step) -> torch.Tensor | None:
    dtype = getattr(torch, step.dtype)
    match step.action:
        case Draw(Constant(value)):
            return torch.full(step.shape, value).to(dtype)
        case Replay(program) if not names_read(program):
            try:
                return run(program, Sources(_unknown, _unknown)).to(dtype).reshape(step.shape)
            except FaninError:  # it draws, or it is too large: then nobody can know it
                return None
        case _:
            return None


def _unknown(_: object) -> torch.Tensor:
    raise FaninError("a constant was asked for what it does not have")
