"""Tensors made of several by `cat` and `stack`: block by block, if the pieces are independent."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fanin.initializers import Constant, Normal, Orthogonal, Uniform
from fanin.initializers.blocks import Blocks
from fanin.plans.steps import Replay
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize


class Holder(nn.Module):
    """One parameter `w` made by a function."""

    def __init__(self, make):
        super().__init__()
        self.w = nn.Parameter(make())


def experts(law, count=3):
    return lambda: torch.stack([law(torch.empty(20, 30)) for _ in range(count)])


XAVIER = Uniform(-((6 / 50) ** 0.5), (6 / 50) ** 0.5)
CASES = {
    "stack of one law": (experts(nn.init.xavier_uniform_), XAVIER),
    "cat of one law": (lambda: torch.cat([torch.randn(20, 30), torch.randn(5, 30)]), Normal()),
    "cat of two laws": (
        lambda: torch.cat([torch.randn(20, 30) * 0.1, torch.zeros(5, 30)]),
        Blocks(Constant(0.0), (((0, 0), (20, 30), Normal(std=0.1)), ((20, 0), (5, 30), Constant(0.0)))),
    ),
    "cat along the last dimension": (
        lambda: torch.cat([torch.randn(20, 30), torch.rand(20, 40)], dim=-1),
        Blocks(Constant(0.0), (((0, 0), (20, 30), Normal()), ((0, 30), (20, 40), Uniform()))),
    ),
    "cat of orthogonal gates": (
        lambda: torch.cat([nn.init.orthogonal_(torch.empty(8, 8)) for _ in range(2)]),
        Blocks(Constant(0.0), (((0, 0), (8, 8), Orthogonal()), ((8, 0), (8, 8), Orthogonal()))),
    ),
    "stack of orthogonal experts": (
        lambda: torch.stack([nn.init.orthogonal_(torch.empty(8, 6)) for _ in range(2)]),
        Blocks(
            Constant(0.0),
            (((0, 0, 0), (1, 8, 6), Orthogonal(rows=(1,))), ((1, 0, 0), (1, 8, 6), Orthogonal(rows=(1,)))),
        ),
    ),
    "stack in the middle": (
        lambda: torch.stack([torch.randn(20, 30), torch.ones(20, 30)], dim=1),
        Blocks(Constant(0.0), (((0, 0, 0), (20, 1, 30), Normal()), ((0, 1, 0), (20, 1, 30), Constant(1.0)))),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_independent_pieces_are_blocks(name, agrees_with_constructor):
    make, law = CASES[name]
    assert agrees_with_constructor(lambda: Holder(make)).plan["w"].initializer == law


def test_stacked_orthogonal_experts_are_orthogonal_each():
    captured = capture(lambda: Holder(CASES["stack of orthogonal experts"][0]))
    weight = materialize(captured.model, captured.plan).w.detach()
    for expert in weight:
        assert torch.allclose(expert.T @ expert, torch.eye(6), atol=1e-5)
    assert not torch.allclose(weight[0], weight[1])


def twice():
    half = torch.randn(10, 30)
    return torch.cat([half, -half])


def test_pieces_of_one_draw_stay_one_draw():
    captured = capture(lambda: Holder(twice))
    assert isinstance(captured.plan["w"].action, Replay)
    weight = materialize(captured.model, captured.plan).w.detach()
    assert torch.equal(weight[:10], -weight[10:])
