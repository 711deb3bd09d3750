"""Small models that the tests of parametrizations share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

VOCABULARY, TOKENS, LAYERS, HEADS = 48, 8, 2, 2


class Block(nn.Module):
    """A pre-norm block; `scale` overrides 1/√d_head."""

    def __init__(self, width: int, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.norm1(x)
        query, key, value = (
            layer(seen).unflatten(-1, (HEADS, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True, scale=self.scale)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(gelu(self.up(self.norm2(x))))


class Decoder(nn.Module):
    """A small language model with learned positions, heads of width/2."""

    def __init__(
        self, width: int, readout: Callable[[int, int], nn.Module] = nn.Linear, scale: float | None = None
    ) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, width), nn.Embedding(TOKENS, width)
        self.blocks = nn.ModuleList(Block(width, scale) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(width)
        self.head = readout(width, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def mlp(width: int, readout: Callable[[int, int], nn.Module] = nn.Linear) -> nn.Sequential:
    """10 → width → width → 3."""
    return nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), readout(width, 3))


def tokens(seed: int = 0, batch: int = 2) -> Tensor:
    """A batch of tokens."""
    return torch.randint(VOCABULARY, (batch, TOKENS), generator=torch.Generator().manual_seed(seed))


def rates(model: nn.Module, groups: list[dict[str, Any]], key: str = "lr") -> dict[str, float]:
    """A number of each parameter's group, by name."""
    by_id = {id(parameter): group[key] for group in groups for parameter in group["params"]}
    return {name: by_id[id(parameter)] for name, parameter in model.named_parameters()}
