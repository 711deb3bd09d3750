"""Time series as a network sees them: without their level and scale, in patches."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from fanin.errors import ArgumentError

LEVELS = ("standard", "last", "none")


class Levels(nn.Module):
    """A series [n, steps, channels] without its own level and scale, and these, to put them back.

        standard: (x − mean)/√(var + ε)     last: x − x_T     none: x

    Statistics are those of each sample and channel, over time.

    Source: Kim et al. 2022 (RevIN), ICLR, without the learned affine map; Nie et al. 2023, arXiv 2211.14730, section
    3.1; subtracting the last value: Zeng et al. 2022, arXiv 2205.13504 (NLinear).

    >>> centred, level, scale = Levels("last")(torch.arange(4.0).reshape(1, 4, 1))
    >>> centred.flatten().tolist(), level.item(), scale.item()
    ([-3.0, -2.0, -1.0, 0.0], 3.0, 1.0)
    """

    def __init__(self, kind: str, eps: float = 1e-5) -> None:
        super().__init__()
        if kind not in LEVELS:
            raise ArgumentError(f"levels must be one of {', '.join(LEVELS)}, got {kind!r}")
        self.kind, self.eps = kind, eps

    def forward(self, series: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The centred series, its level and its scale, the last two [n, 1, channels]."""
        last = series[:, -1:]
        one = torch.ones_like(last)
        if self.kind == "none":
            return series, torch.zeros_like(last), one
        if self.kind == "last":
            return series - last, last, one
        variance, mean = torch.var_mean(series, dim=1, keepdim=True, correction=0)
        scale = (variance + self.eps).sqrt()
        return (series - mean) / scale, mean, scale

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}"


class Patches(nn.Module):
    """Each channel of a series [n, steps, channels] on its own, cut into patches: [n·channels, patches, patch].

    The last value is repeated `stride` times at the end, so there are ⌊(steps − patch)/stride⌋ + 2 patches.

    Source: Nie et al. 2023, arXiv 2211.14730, section 3.1.

    >>> Patches(16, 8)(torch.zeros(2, 96, 3)).shape
    torch.Size([6, 12, 16])
    """

    def __init__(self, patch: int, stride: int) -> None:
        super().__init__()
        self.patch, self.stride = patch, stride

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        padded = F.pad(series.transpose(1, 2), (0, self.stride), mode="replicate")
        return padded.unfold(-1, self.patch, self.stride).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"patch={self.patch}, stride={self.stride}"


class AsForecast(nn.Module):
    """Values in one row, [n, channels·horizon] or [n·channels, horizon], as a forecast [n, horizon, channels]."""

    def __init__(self, horizon: int, channels: int) -> None:
        super().__init__()
        self.horizon, self.channels = horizon, channels

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.reshape(-1, self.channels, self.horizon).transpose(1, 2)

    def extra_repr(self) -> str:
        return f"horizon={self.horizon}, channels={self.channels}"
