"""Operations that put values elsewhere, as modules without parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

from fanin.errors import ArgumentError


class Concatenate(nn.Module):
    """The inputs behind each other along a dimension."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat(inputs, dim=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Stack(nn.Module):
    """The inputs beside each other along a new dimension."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack(inputs, dim=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Reshape(nn.Module):
    """The same values in another shape, batch included; 0 keeps the input's size there, −1 is what is left."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        sizes = [input.shape[at] if size == 0 else size for at, size in enumerate(self.shape)]
        return input.reshape(sizes)

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


class Permute(nn.Module):
    """The dimensions in another order, batch included."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.permute(self.dims)

    def extra_repr(self) -> str:
        return f"dims={self.dims}"


class Transpose(nn.Module):
    """Two dimensions exchanged."""

    def __init__(self, dim0: int, dim1: int) -> None:
        super().__init__()
        self.dim0, self.dim1 = dim0, dim1

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.transpose(self.dim0, self.dim1)

    def extra_repr(self) -> str:
        return f"dim0={self.dim0}, dim1={self.dim1}"


class Squeeze(nn.Module):
    """Without a dimension of size 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.squeeze(self.dim)


class Unsqueeze(nn.Module):
    """With a new dimension of size 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.unsqueeze(self.dim)


class ExpandLike(nn.Module):
    """The first input repeated so often that it has as many samples as the second."""

    def forward(self, input: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return input.expand(like.shape[0], *input.shape[1:])


class Select(nn.Module):
    """One place of a dimension: the last step is dim = 1, index = −1."""

    def __init__(self, dim: int, index: int) -> None:
        super().__init__()
        self.dim, self.index = dim, index

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.select(self.dim, self.index)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, index={self.index}"


class Slice(nn.Module):
    """Places start to stop (not included; None for the end) of a dimension, every step-th."""

    def __init__(self, dim: int, start: int = 0, stop: int | None = None, step: int = 1) -> None:
        super().__init__()
        if step < 1:
            raise ArgumentError(f"a slice's step must be at least 1, got {step}")
        self.dim, self.start, self.stop, self.step = dim, start, stop, step

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        chosen = [slice(None)] * input.dim()
        chosen[self.dim] = slice(self.start, self.stop, self.step)
        return input[tuple(chosen)]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, start={self.start}, stop={self.stop}, step={self.step}"


class Item(nn.Module):
    """One part of a result in several parts."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, input: Any) -> Any:
        return input[self.index]

    def extra_repr(self) -> str:
        return f"index={self.index}"


class Chunk(nn.Module):
    """As many parts of a dimension, the last one smaller where they are not even."""

    def __init__(self, chunks: int, dim: int = 1) -> None:
        super().__init__()
        self.chunks, self.dim = chunks, dim

    def forward(self, input: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return input.chunk(self.chunks, self.dim)

    def extra_repr(self) -> str:
        return f"chunks={self.chunks}, dim={self.dim}"


class Split(nn.Module):
    """Parts of these sizes of a dimension."""

    def __init__(self, sizes: tuple[int, ...], dim: int = 1) -> None:
        super().__init__()
        self.sizes, self.dim = sizes, dim

    def forward(self, input: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return input.split(list(self.sizes), self.dim)

    def extra_repr(self) -> str:
        return f"sizes={self.sizes}, dim={self.dim}"


class Pad(nn.Module):
    """Wider dimensions, the last one's two sides first, as torch.nn.functional.pad."""

    def __init__(self, pad: tuple[int, ...], mode: str = "constant", value: float = 0.0) -> None:
        super().__init__()
        self.pad, self.mode, self.value = pad, mode, value

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return pad(input, self.pad, self.mode, self.value if self.mode == "constant" else None)

    def extra_repr(self) -> str:
        return f"pad={self.pad}, mode={self.mode!r}, value={self.value}"


class Together(nn.Module):
    """Several values as one, as an LSTM takes its states."""

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        return inputs
