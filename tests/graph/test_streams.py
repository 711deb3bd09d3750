"""What residual streams start as, where norms stand on them, how wide scores get, and what ends a chain."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin.torch.trace import trace

WIDTH, HEADS, TOKENS = 16, 2, 5


class RMSNorm(nn.Module):
    """Composed of single operations."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Attention(nn.Module):
    def __init__(self, fused=True, scale=None, query_scale=1.0, key_scale=1.0, mask=False):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.fused, self.scale, self.mask = fused, scale, mask
        self.query_scale, self.key_scale = query_scale, key_scale

    def forward(self, x):
        q, k, v = (
            layer(x).view(*x.shape[:2], HEADS, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        q, k = q * self.query_scale, k / self.key_scale
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        else:
            scores = q @ k.transpose(2, 3)
            scores = scores if self.scale is None else scores * self.scale
            if self.mask:
                scores = scores + (1.0 - (x[:, None, None, :, 0] > 0).float()) * -1e9
            mixed = scores.softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, normed, norm=nn.LayerNorm, scaled=False, **attention):
        super().__init__()
        self.attention, self.normed = Attention(**attention), normed
        self.up, self.down = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)
        self.norms = nn.ModuleList(RMSNorm() if norm is RMSNorm else norm(WIDTH) for _ in range(2))
        self.factor = nn.Parameter(torch.ones(WIDTH)) if scaled else 1.0

    def mlp(self, x):
        return self.down(F.gelu(self.up(x)))

    def forward(self, x):
        for norm, branch in zip(self.norms, (self.attention, self.mlp), strict=True):
            match self.normed:
                case "before":
                    x = x + branch(norm(x)) * self.factor
                case "after":
                    x = norm(x + branch(x))
                case "inside":
                    x = x + norm(branch(x))
                case _:
                    x = x + branch(x)
        return x


class Model(nn.Module):
    def __init__(self, start="token", normed="before", **block):
        super().__init__()
        self.tokens, self.learned = nn.Embedding(50, WIDTH), nn.Parameter(torch.zeros(1, TOKENS, WIDTH))
        self.places, self.patches, self.norm = nn.Embedding(9, WIDTH), nn.Linear(3, WIDTH), nn.LayerNorm(WIDTH)
        self.start, self.blocks = start, nn.ModuleList(Block(normed, **block) for _ in range(3))

    def forward(self, ids, images):
        places = self.places(torch.arange(ids.shape[1], device=ids.device))
        x = {
            "token": lambda: self.tokens(ids),
            "token + place": lambda: self.tokens(ids) + places,
            "token + learned": lambda: self.tokens(ids) + self.learned,
            "4 token": lambda: self.tokens(ids) * 4.0,
            "norm": lambda: self.norm(self.tokens(ids)),
            "patch + learned": lambda: F.dropout(self.patches(images) + self.learned, 0.1),
        }[self.start]()
        for block in self.blocks:
            x = block(x)
        return x


def graph(*args, **options):
    return trace(Model(*args, **options), (torch.zeros(2, TOKENS, dtype=torch.long), torch.zeros(2, TOKENS, 3)))


@pytest.mark.parametrize(
    ("start", "parts"),
    [
        ("token", (1, 0, 0)),
        ("token + place", (1, 1, 0)),
        ("token + learned", (1, 1, 0)),
        ("4 token", (16, 0, 0)),
        ("norm", (0, 0, 1)),
        ("patch + learned", (0, 1, 1)),
    ],
)
def test_what_a_stream_starts_as(start, parts):
    places = graph(start).places
    for name in ("blocks.0.attention.out.weight", "blocks.2.down.weight"):
        assert (places[name].tables, places[name].positions, places[name].others) == parts


@pytest.mark.parametrize("norm", [nn.LayerNorm, RMSNorm])
@pytest.mark.parametrize("normed", ["before", "after", "inside", ""])
def test_where_norms_stand(normed, norm):
    places = graph(normed=normed, norm=norm).places
    for layer in range(3):
        for name in ("attention.query", "attention.out", "down"):
            assert places[f"blocks.{layer}.{name}.weight"].normed == ("" if normed == "inside" else normed)
        last = [places[f"blocks.{layer}.norms.{number}.weight"].last for number in (0, 1)]
        assert last == [normed == "inside"] * 2


def test_learned_factors_shut_branches():
    assert graph(scaled=True).places["blocks.1.down.weight"].scaled
    assert not graph().places["blocks.1.down.weight"].scaled


@pytest.mark.parametrize("fused", [True, False])
def test_how_wide_scores_are(fused):
    def scores(**options):
        found = graph(fused=fused, **options)
        (width,) = {use.scores for use in found.uses if use.role == "attention query"}
        return pytest.approx(width)

    assert scores(scale=1.0) == sqrt(8)
    assert scores(scale=1 / sqrt(8)) == 1
    assert scores(scale=0.5, query_scale=2.0) == sqrt(8)
    assert scores(scale=0.5, key_scale=2.0) == sqrt(8) / 4
    if fused:
        assert scores() == 1
    else:
        assert scores() == sqrt(8)
        assert scores(mask=True) == sqrt(8)
    others = {use.scores for use in graph(fused=fused).uses if use.role != "attention query"}
    assert others == {0.0}


class Readers(nn.Module):
    """The second layer's output is read once, or twice."""

    def __init__(self, readers):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.others = nn.ModuleList(nn.Linear(8, 8) for _ in range(readers - 1))

    def forward(self, x):
        first = torch.relu(self.layers[0](x))
        second = torch.relu(self.layers[1](first))
        return [layer(second) for layer in (self.layers[2], *self.others)]


def test_an_output_that_two_weights_read_ends_a_chain():
    def lengths(readers):
        places = trace(Readers(readers), torch.zeros(1, 8)).places
        return [places[f"layers.{number}.weight"].chained for number in range(3)]

    assert lengths(1) == [3, 3, 3]
    assert lengths(2) == [2, 2, 0]


class Head(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.norm, self.head, self.factor = RMSNorm(), nn.Linear(WIDTH, 9), factor

    def forward(self, x):
        return self.head(self.norm(x) * self.factor)


def test_numbers_between_a_norm_and_a_weight():
    for factor in (1.0, 0.25):
        (use,) = (use for use in trace(Head(factor), torch.zeros(1, WIDTH)).uses if use.tensor == "head.weight")
        assert use.scaled == factor


class Branch(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), norm

    def forward(self, x):
        return x + self.norm(self.conv(x))


@pytest.mark.parametrize("norm", [lambda: nn.BatchNorm2d(4), lambda: nn.GroupNorm(2, 4)])
def test_the_scale_of_a_norm_knows_the_weight_before(norm):
    found = trace(Branch(norm()), torch.zeros(2, 4, 6, 6))
    assert [use.partner for use in found.uses if use.op == "norm_scale"] == ["conv.weight"]
