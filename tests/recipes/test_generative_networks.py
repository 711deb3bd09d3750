"""DiT and DCGAN through real networks."""

from math import sqrt
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
import torch

from fanin.torch.planning import initialize

MODELS = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "docs" / "recipes" / "models.py")))
D = 32
INPUTS = (torch.randn(2, 4, 8, 8), torch.rand(2), torch.tensor([3, 7]))


def test_dit_starts_as_identity_and_says_nothing():
    model = MODELS.dit()
    initialize(model, "dit", INPUTS)
    x, c = torch.randn(2, 16, D), torch.randn(2, D)
    for block in model.blocks:
        assert torch.equal(block(x, c), x)
    assert not model(*INPUTS).any()


def test_dit_laws():
    steps = initialize(MODELS.dit(), "dit", INPUTS)
    for layer in (0, 1):
        at = f"blocks.{layer}."
        # query, key and value each by its own fans, not [3d, d] as one matrix
        assert steps[f"{at}attn.qkv.weight"].std == pytest.approx(sqrt(1 / D))
        assert steps[f"{at}attn.proj.weight"].std == pytest.approx(sqrt(1 / D))
        assert steps[f"{at}mlp.0.weight"].std == pytest.approx(sqrt(2 / (5 * D)))
        assert steps[f"{at}mlp.2.weight"].std == pytest.approx(sqrt(2 / (5 * D)))
        assert steps[f"{at}modulation.1.weight"].std == steps[f"{at}modulation.1.bias"].std == 0
    assert steps["patches.weight"].std == pytest.approx(sqrt(2 / (16 + D)))
    assert steps["time.0.weight"].std == steps["time.2.weight"].std == steps["labels.weight"].std == 0.02
    assert steps["modulation.1.weight"].std == steps["final.weight"].std == steps["final.bias"].std == 0
    assert steps["blocks.0.attn.qkv.bias"].std == steps["patches.bias"].std == 0


def test_dcgan_generator():
    model = MODELS.dcgan()
    initialize(model, "dcgan", torch.zeros(2, 16, 1, 1), seed=1)
    for weight in (model[0].weight, model[3].weight):
        assert abs(weight.std().item() / 0.02 - 1) < 5 / sqrt(2 * weight.numel())
    assert abs(model[1].weight.mean().item() - 1) < 5 * 0.02 / sqrt(32)
    assert abs(model[1].weight.std().item() / 0.02 - 1) < 5 / sqrt(2 * 32)
    assert not model[1].bias.any()
