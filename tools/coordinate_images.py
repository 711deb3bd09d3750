"""Redraw the pictures of docs/mup.md: `python tools/coordinate_images.py`, two minutes on one core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import fanin

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTHS = (64, 128, 256, 512, 1024)
BATCH = torch.randn(32, 10, generator=torch.Generator().manual_seed(1))
TOKENS = {"input_ids": torch.randint(64, (1, 8), generator=torch.Generator().manual_seed(3))}


def mlp(width: int) -> nn.Module:
    return fanin.models.mlp((10, width, width, width, 4), "gelu")


def decoder(width: int = 32, layers: int = 2) -> nn.Module:
    sizes = {"n_embd": width, "n_layer": layers, "n_head": 2, "vocab_size": 64, "n_positions": 8}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, tie_word_embeddings=False))


def draw(name: str, *arguments: Any, **options: Any) -> None:
    done = fanin.coord_check(*arguments, seeds=3, steps=4, **options)
    done.plot(IMAGES / f"{name}.png")
    print(done, end="\n\n")


def main() -> None:
    for scheme in ("standard", "mup"):
        draw(f"coordinates-mlp-{scheme}", mlp, WIDTHS, parametrization=scheme, lr=0.002, inputs=BATCH)
        options = {"options": {"zero_readout": True}} if scheme == "mup" else {}
        draw(
            f"coordinates-decoder-{scheme}",
            decoder,
            (32, 64, 128, 256),
            parametrization=scheme,
            lr=0.001,
            inputs=TOKENS,
            **options,
        )
    for scheme in ("standard", "complete-p"):
        draw(
            f"coordinates-depth-{scheme}",
            lambda depth: decoder(layers=depth),
            depths=(2, 4, 8, 16),
            parametrization=scheme,
            lr=0.001,
            inputs=TOKENS,
        )


if __name__ == "__main__":
    main()
