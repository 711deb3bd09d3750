"""From a model's name to the model and to a batch it accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fanin
from fanin.cli.verb import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    Inputs = Tensor | dict[str, Tensor]


def captured(model: str, dtype: str | None = None) -> fanin.Captured:
    """The model of that name, nothing allocated; its floating tensors of another dtype where one is named."""
    make = fanin.models.factory(model)
    if dtype is None:
        return fanin.capture(make)
    import torch

    return fanin.capture(lambda: make().to(getattr(torch, dtype)))


def example(model: str, sample: tuple[int, ...] | None, batch: int = 1) -> Inputs | None:
    """A batch for the model: uniform in [0, 1) of the given sample shape, else what its kind takes, else None."""
    if sample is None:
        return fanin.models.example_inputs(model, batch)
    import torch

    return torch.rand((batch, *sample), generator=torch.Generator().manual_seed(0))


def needed(model: str, inputs: Inputs | None) -> Inputs:
    """The batch, where the verb cannot do without.

    Raises:
        BadInput: there is none.
    """
    if inputs is None:
        raise BadInput(
            f"nobody knows what {model} takes as input: give the shape of one sample, as in --input 3x224x224"
        )
    return inputs
