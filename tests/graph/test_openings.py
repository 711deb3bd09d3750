"""Which weights read a norm, and which weight opens each branch of two."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin.graph.openings import openings
from fanin.torch.trace import trace

WIDTH, TOKENS = 16, 5


class RMSNorm(nn.Module):
    """Composed of single operations, in float32 as transformers have it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        wide = x.to(torch.float32)
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.attend, self.fused = nn.MultiheadAttention(WIDTH, 2, batch_first=True), fused

    def forward(self, x):
        return self.attend(x, x, x, need_weights=not self.fused)[0]


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.gate, self.down = nn.Linear(WIDTH, 24), nn.Linear(WIDTH, 24), nn.Linear(24, WIDTH)

    def forward(self, x):
        return self.down(self.up(x) * F.silu(self.gate(x)))


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.both, self.down = nn.Linear(WIDTH, 48), nn.Linear(24, WIDTH)

    def forward(self, x):
        gate, up = self.both(x).chunk(2, -1)
        return self.down(up * F.silu(gate))


def plain(between=nn.GELU):
    return nn.Sequential(nn.Linear(WIDTH, 24), between(), nn.Linear(24, WIDTH))


class Net(nn.Module):
    def __init__(self, branch, norm=nn.LayerNorm, before=None):
        super().__init__()
        self.norms = nn.ModuleList((norm() if norm is RMSNorm else norm(WIDTH)) for _ in range(3))
        self.branches = nn.ModuleList(branch() for _ in range(2))
        self.before, self.head = nn.Identity() if before is None else before(), nn.Linear(WIDTH, 9)

    def forward(self, x):
        for norm, branch in zip(self.norms, self.branches, strict=False):
            x = x + branch(self.before(norm(x)))
        return self.head(self.norms[2](x))


def seen(model):
    found = trace(model, torch.zeros(2, TOKENS, WIDTH))
    behind = {use.tensor for use in found.uses if use.behind_norm}
    return behind, {name: (use.tensor, use.role) for name, use in openings(found).items()}


@pytest.mark.parametrize("norm", [nn.LayerNorm, RMSNorm])
def test_norms_written_either_way(norm):
    behind, opened = seen(Net(plain, norm))
    assert behind == {"branches.0.0.weight", "branches.1.0.weight", "head.weight"}
    assert opened == {f"branches.{n}.2.weight": (f"branches.{n}.0.weight", "mlp up") for n in (0, 1)}


@pytest.mark.parametrize(
    ("branch", "last", "opening", "role"),
    [
        (Gated, "down", "gate", "mlp gate"),
        (Packed, "down", "both", "mlp gate"),
        (lambda: Attention(fused=True), "attend.out_proj", "attend.in_proj_weight", "attention value"),
        (lambda: Attention(fused=False), "attend.out_proj", "attend.in_proj_weight", "attention value"),
    ],
    ids=["gated", "packed gate", "attention", "composed attention"],
)
def test_of_several_weights_gates_and_values_open(branch, last, opening, role):
    opening = opening if opening.endswith("weight") else f"{opening}.weight"
    behind, opened = seen(Net(branch))
    assert {f"branches.{n}.{opening}" for n in (0, 1)} <= behind
    assert f"branches.0.{last}.weight" not in behind
    assert opened == {f"branches.{n}.{last}.weight": (f"branches.{n}.{opening}", role) for n in (0, 1)}


def test_a_nonlinearity_between_norm_and_weight_is_told_apart():
    behind, opened = seen(Net(plain, before=nn.ReLU))
    assert behind == {"head.weight"}
    assert set(opened) == {"branches.0.2.weight", "branches.1.2.weight"}


class Sorted(nn.Module):
    """Rows in an order that depends on the data, as tokens go to experts."""

    def forward(self, x):
        return x[x.sum((1, 2)).argsort()]


def test_picked_rows_still_come_out_of_the_norm():
    assert "branches.0.0.weight" in seen(Net(plain, before=Sorted))[0]


def test_longer_branches_have_no_opening():
    assert seen(Net(lambda: nn.Sequential(plain(), nn.GELU(), nn.Linear(WIDTH, WIDTH))))[1] == {}
