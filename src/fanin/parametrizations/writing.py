"""Values into a parametrized model: drawn anew, or those that are there, rescaled."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Literal

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.parametrizations.seen import Seen
from fanin.parametrizations.values import Starts
from fanin.random.part import Part
from fanin.torch.materialize import materialize
from fanin.torch.tensors import StoredTensor, stored_tensors

Values = Literal["draw", "rescale", "keep"]
_OFF, _ERRORS = 0.02, 5.0


def check_standard(model: nn.Module, here: Seen, start: Starts) -> None:
    """Raise unless the values that would be rescaled are as wide as the laws say.

    Raises:
        ArgumentError: a tensor's are not.
    """
    for entry in stored_tensors(model):
        if entry.name not in start.factors:
            continue
        if start.factors[entry.name] is None:
            raise ArgumentError(f"the parts of {entry.name} scale differently: use values='draw'")
        expected = here.plan[entry.name].std
        values = entry.tensor.detach().double()
        seen = float((values - values.mean()).square().mean().sqrt())
        if expected and abs(seen / expected - 1) > _OFF + _ERRORS / sqrt(2 * max(entry.tensor.numel(), 1)):
            raise ArgumentError(
                f"{entry.name} has values of standard deviation {seen:.4g}, and its reset code draws {expected:.4g}: "
                "values in standard parametrization are rescaled, others are not. Give a captured model "
                "(fanin.capture(lambda: …)), whose own laws are known, or say values='keep' for loaded values"
            )


def write(model: nn.Module, start: Starts, how: Values, seed: int) -> None:
    """Draw, rescale or keep.

    Raises:
        As `fanin.materialize`.
    """
    if how == "draw":
        materialize(model, start.plan, seed=seed)
    elif how == "rescale":
        entries = {entry.name: entry for entry in stored_tensors(model)}
        with torch.no_grad():
            for name, factor in start.factors.items():
                if factor is not None:
                    entries[name].tensor.mul_(factor)
            _clear(entries, start.zeros)


def _clear(entries: Mapping[str, StoredTensor], zeros: Mapping[str, tuple[Part, ...]]) -> None:
    for name, parts in zeros.items():
        tensor = entries[name].tensor
        for begin, size in (box for part in parts for box in part.rectangles()):
            tensor[tuple(slice(first, first + extent) for first, extent in zip(begin, size, strict=True))] = 0.0
        if not parts:
            tensor.zero_()
