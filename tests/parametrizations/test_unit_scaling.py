"""u-muP has the factors of Blake et al. (2024), as the `unit_scaling` package has them."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from small_parametrized import HEADS, LAYERS, Decoder, tokens

import fanin

WIDTH = 32
BRANCHES = 2 * LAYERS
# τ_i of the package's rule for four branches, multipliers 1: 1/√(L/2 + i).
TAUS = (0.7071067811865475, 0.5773502691896258, 0.5, 0.4472135954999579)


def test_rates() -> None:
    record = fanin.parametrize(fanin.capture(lambda: Decoder(WIDTH)), "u-mup")
    # 1/√fan_in and 1/√depth in blocks; 1/√d for tables; 1 for the readout.
    assert record["blocks.0.down.weight"].factors.adam == pytest.approx(1 / sqrt(4 * WIDTH * LAYERS))
    assert record["blocks.1.up.weight"].factors.adam == pytest.approx(1 / sqrt(WIDTH * LAYERS))
    assert record["blocks.1.norm1.weight"].factors.adam == pytest.approx(1 / sqrt(LAYERS))
    assert record["tokens.weight"].factors.adam == pytest.approx(1 / sqrt(WIDTH))
    assert record["head.weight"].factors.adam == 1.0
    assert record["norm.weight"].factors.adam == 1.0


def test_products_and_branches() -> None:
    captured = fanin.capture(lambda: Decoder(WIDTH))
    record = fanin.parametrize(captured, "u-mup", seed=1)
    told = {(each.tensor, each.why): each.factor for each in record.multipliers}
    assert told["blocks.0.up.weight", "product"] == WIDTH**-0.5
    assert told["blocks.0.down.weight", "product"] == (4 * WIDTH) ** -0.5
    assert told["head.weight", "readout"] == 1 / WIDTH
    assert told["blocks.0.query.weight", "attention"] == pytest.approx(1 / sqrt(WIDTH / HEADS))
    # A stream divided by √(1 + τ²) at each branch is an undivided one to which every branch adds the same.
    stream = 1.0
    for tau in TAUS:
        assert tau * stream == pytest.approx(told["blocks.0.out.weight", "branch"])
        stream *= sqrt(1 + tau**2)
    assert len(TAUS) == BRANCHES
    assert float(captured.model.blocks[0].up.weight.detach().std()) == pytest.approx(1.0, abs=0.05)
    assert not captured.model.blocks[0].up.bias.any()
    with torch.no_grad():
        up = captured.model.blocks[0].up(torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(0)))
        assert float(captured.model(tokens()).std()) < 1.0
    assert float(up.std()) == pytest.approx(1.0, abs=0.1)
