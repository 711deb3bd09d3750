"""Recipes by depth through real networks: what the graph shows is what the formulas are given."""

from math import sqrt
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fanin.torch.planning import initialize, plan

MODELS = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "docs" / "recipes" / "models.py")))
D = 32
XAVIER = sqrt(1 / D)


def transformer():
    return nn.Transformer(D, 4, 2, 3, 2 * D, dropout=0.0, batch_first=True)


def encoder(layers):
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(D, 4, 2 * D, batch_first=True), layers)


PAIR = (torch.zeros(2, 5, D), torch.zeros(2, 6, D))


def stds(step):
    """Standard deviations of the blocks of a packed matrix of queries, keys and values."""
    law = step.initializer
    parts = {start[0]: inner.moments(size)[1] for start, size, inner in law.parts}
    return [parts.get(first, law.base.moments((D, D))[1]) for first in (0, D, 2 * D)]


@pytest.mark.parametrize(
    ("recipe", "side", "gain", "across"),
    [
        ("deepnorm", "encoder", 0.87 * (2**4 * 3) ** (-1 / 16), None),
        ("deepnorm", "decoder", 36 ** (-1 / 4), 36 ** (-1 / 4)),
        ("subln", "encoder", sqrt(2.197224577 * 1.386294361 / 3), None),
        ("subln", "decoder", sqrt(2.197224577), 1.0),
        ("t-fixup", "encoder", 0.67 * 2 ** (-1 / 4), None),
        ("t-fixup", "decoder", 27 ** (-1 / 4), 27 ** (-1 / 4)),
    ],
)
def test_packed_attention_and_mlps_of_two_sides(recipe, side, gain, across):
    steps = plan(transformer(), recipe, PAIR)
    for layer in range(2 if side == "encoder" else 3):
        at = f"{side}.layers.{layer}."
        assert stds(steps[f"{at}self_attn.in_proj_weight"]) == pytest.approx([XAVIER, XAVIER, gain * XAVIER])
        assert steps[f"{at}self_attn.out_proj.weight"].std == pytest.approx(gain * XAVIER)
        for name in ("linear1", "linear2"):
            assert steps[f"{at}{name}.weight"].std == pytest.approx(gain * sqrt(2 / (3 * D)))
        if across == 1.0:
            assert steps[f"{at}multihead_attn.in_proj_weight"].std == pytest.approx(XAVIER)
        elif across is not None:
            assert stds(steps[f"{at}multihead_attn.in_proj_weight"])[2] == pytest.approx(across * XAVIER)
        if across is not None:
            assert steps[f"{at}multihead_attn.out_proj.weight"].std == pytest.approx(across * XAVIER)


@pytest.mark.parametrize("layers", [2, 12])
def test_depth_of_a_stack_alone(layers):
    steps = plan(encoder(layers), "deepnorm", torch.zeros(2, 5, D))
    for layer in range(layers):
        assert steps[f"layers.{layer}.linear2.weight"].std == pytest.approx((8 * layers) ** -0.25 * sqrt(2 / (3 * D)))


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(50, D), nn.Embedding(60, D)
        self.body = transformer()

    def forward(self, source, target):
        return self.body(self.source(source), self.target(target))


def test_t_fixup_embeddings_know_the_depth_behind_them():
    tokens = torch.zeros(2, 5, dtype=torch.int64)
    steps = plan(Translator(), "t-fixup", (tokens, tokens))
    assert steps["source.weight"].std == pytest.approx((9 * 2) ** -0.25 / sqrt(D))
    alone = plan(nn.Sequential(nn.Embedding(50, D), encoder(4)), "t-fixup", tokens)
    assert alone["0.weight"].std == pytest.approx((9 * 4) ** -0.25 / sqrt(D))
    assert alone["1.layers.3.linear1.weight"].std == pytest.approx(0.67 * 4**-0.25 * sqrt(2 / (3 * D)))


def test_fixup_blocks_pass_their_input_and_logits_are_0():
    model, images = MODELS.fixup(), torch.randn(4, 3, 8, 8)
    steps = initialize(model, "fixup", images)
    assert not model(images).any()
    for block in (*model.layer1, *model.layer2):
        x = torch.randn(2, block.conv1.in_channels, 8, 8)
        assert torch.equal(block(x), torch.relu(block.skip(x)))
        assert block.scale.item() == 1
    # five blocks of two convolutions: He over fan-out times 5^(−1/2)
    assert steps["layer1.0.conv1.weight"].std == pytest.approx(sqrt(2 / 72 / 5))
    assert steps["layer2.0.conv1.weight"].std == pytest.approx(sqrt(2 / 144 / 5))
    assert steps["layer2.0.shortcut.weight"].std == pytest.approx(sqrt(2 / 16))
    assert "fixup has no rule" in steps["stem.weight"].why


def test_fixup_counts_the_branches_of_all_stacks():
    steps = plan(MODELS.Gated(3, (1,), token_layers=2), "fixup", torch.zeros(2, 4, D))
    for name in ("blocks.0.fc1.weight", "blocks_token_only.1.fc1.weight"):
        assert steps[name].std == pytest.approx(sqrt(2 / (2 * D) / 5))


def test_fixup_gradients_reach_every_block():
    model, images = MODELS.fixup(), torch.randn(4, 3, 8, 8)
    initialize(model, "fixup", images)
    nn.init.normal_(model.fc.weight)
    model(images).square().sum().backward()
    for block in (*model.layer1, *model.layer2):
        assert block.conv2.weight.grad.any()


@pytest.mark.parametrize("recipe", ["skipinit", "rezero"])
@pytest.mark.parametrize("shape", [(1,), (), (D,)])
def test_shut_branches_are_identity_but_learn(recipe, shape):
    model, x = MODELS.Gated(3, shape), torch.randn(2, 4, D)
    initialize(model, recipe, x)
    out = model(x)
    assert torch.equal(out, model.embed(x))
    out.square().sum().backward()
    assert all(block.gate.grad.abs().max() > 0 for block in model.blocks)


@pytest.mark.parametrize(("layers", "eps"), [(18, 0.1), (24, 1e-5), (25, 1e-6)])
def test_layerscale_counts_the_layers_of_the_deepest_stack(layers, eps):
    steps = plan(MODELS.Gated(layers, (D,), token_layers=2), "layerscale", torch.zeros(2, 4, D))
    gates = [step for name, step in steps.items() if name.endswith("gate")]
    assert len(gates) == layers + 2
    assert {step.initializer.value for step in gates} == {eps}
    assert "layerscale has no rule" in steps["blocks.0.fc2.weight"].why


def test_fixup_counts_the_branches_of_a_post_norm_stack():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    made = plan(model, "fixup", torch.randn(2, 5, 16))
    assert made["layers.0.linear1.weight"].std == pytest.approx((2 / 32) ** 0.5 * 6**-0.5)
    assert made["layers.2.linear2.weight"].std == 0
