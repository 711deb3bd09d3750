"""What goes into recurrent layers and what comes out."""

from __future__ import annotations

import torch
from torch import nn

from fanin.errors import DataError


class AsSteps(nn.Module):
    """Samples as sequences [n, steps, features]: sequences as they are, images row by row.

    Images [n, channels, height, width] become height steps of width·channels features; flat ones [n, height·width]
    of one channel are cut into rows.

    >>> AsSteps(28)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 28, 28])
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The steps.

        Raises:
            DataError: samples that do not fall into steps of so many features.
        """
        steps = input
        if input.ndim == 4:
            steps = input.permute(0, 2, 3, 1).flatten(2)
        elif input.ndim == 2 and input.shape[1] % self.features == 0:
            steps = input.unflatten(1, (-1, self.features))
        if steps.ndim != 3 or steps.shape[-1] != self.features:
            shape = "×".join(map(str, input.shape[1:]))
            raise DataError(
                f"samples of shape {shape} are no sequences of steps of {self.features} features: give "
                "inputs= the features of a step (of an image's row: width times channels)"
            )
        return steps

    def extra_repr(self) -> str:
        return f"features={self.features}"


class EveryStep(nn.Module):
    """What a recurrent layer of torch says at every step, [n, steps, features]."""

    def forward(self, result: tuple[torch.Tensor, object]) -> torch.Tensor:
        return result[0]


class LastState(nn.Module):
    """The state of a recurrent layer of torch at the end, [n, features]: where both directions run, both ends.

    The backward direction ends at the first step.
    """

    def __init__(self, *, bidirectional: bool) -> None:
        super().__init__()
        self.bidirectional = bidirectional

    def forward(self, result: tuple[torch.Tensor, torch.Tensor | tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        state = result[1][0] if isinstance(result[1], tuple) else result[1]
        return torch.cat((state[-2], state[-1]), dim=-1) if self.bidirectional else state[-1]

    def extra_repr(self) -> str:
        return f"bidirectional={self.bidirectional}"


class ShiftRight(nn.Module):
    """Tokens [n, steps] one step later, `start` first: what a decoder has seen when it predicts each of them.

    >>> ShiftRight(0)(torch.tensor([[5, 6, 7]]))
    tensor([[0, 5, 6]])
    """

    def __init__(self, start: int) -> None:
        super().__init__()
        self.start = start

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        # Ignored targets are marked −100, for which no table has a row.
        return torch.nn.functional.pad(tokens[:, :-1].clamp(min=0), (1, 0), value=self.start)

    def extra_repr(self) -> str:
        return f"start={self.start}"
