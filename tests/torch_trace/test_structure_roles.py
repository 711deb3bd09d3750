"""Roles that the graph shows: attention however it is written, gated units, modulation, routers, heads."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin.graph import role
from fanin.torch.trace import trace


class Attention(nn.Module):
    """Width 8 in 2 heads of 4; `way` turns queries, keys and values [2, 5, 8] into [2, 5, 8]."""

    def __init__(self, way):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))
        self.way = way

    def forward(self, x):
        return x + self.o(self.way(self.q(x), self.k(x), self.v(x)))


def split(x):
    return x.view(2, 5, 2, 4).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).reshape(2, 5, 8)


def rotated(x):
    return x * torch.cos(torch.arange(4.0)) + torch.cat([-x[..., 2:], x[..., :2]], -1) * torch.sin(torch.arange(4.0))


def by_bmm(q, k, v):
    flat = [split(each).reshape(4, 5, 4) for each in (q, k, v)]
    weights = torch.bmm(flat[0] / 2, flat[1].transpose(1, 2)).softmax(-1)
    return joined(torch.bmm(F.dropout(weights), flat[2]).view(2, 2, 5, 4))


def by_einsum(q, k, v):
    q, k, v = (each.view(2, 5, 2, 4) for each in (q, k, v))
    weights = torch.einsum("bqhd,bkhd->bhqk", q, k).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", weights, v).reshape(2, 5, 8)


def keys_first(q, k, v):
    scores = split(k) @ split(q).transpose(2, 3)
    return joined(scores.softmax(2).transpose(2, 3) @ split(v))


def fused(q, k, v, **options):
    return joined(F.scaled_dot_product_attention(split(q), split(k), split(v), **options))


WAYS = {
    "fused": fused,
    "fused, by name": lambda q, k, v: joined(
        F.scaled_dot_product_attention(key=split(k), value=split(v), query=split(q))
    ),
    "bmm": by_bmm,
    "einsum": by_einsum,
    "keys as the left factor": keys_first,
    "rotary": lambda q, k, v: joined(F.scaled_dot_product_attention(rotated(split(q)), rotated(split(k)), split(v))),
    "normalised": lambda q, k, v: fused(F.normalize(q), F.normalize(k), v),
    "gated": lambda q, k, v: fused(q, k, v) * torch.sigmoid(q),
    "masked": lambda q, k, v: fused(q, k, v, attn_mask=torch.ones(5, 5).tril().log()),
    "in float32": lambda q, k, v: joined((split(q) @ split(k).transpose(2, 3)).double().softmax(-1).float() @ split(v)),
}


def shown(model, *inputs):
    graph = trace(model, inputs)
    tensors = [name for name in dict.fromkeys(use.tensor for use in graph.uses) if "bias" not in name]
    return graph, {name.removesuffix(".weight"): role("parameter", graph.of(name)) for name in tensors}


@pytest.mark.parametrize("way", WAYS)
def test_attention_however_it_is_written(way):
    graph, roles = shown(Attention(WAYS[way]), torch.zeros(2, 5, 8))
    words = {"q": "query", "k": "key", "v": "value", "o": "output"}
    assert roles == {name: f"attention {word}" for name, word in words.items()}
    assert [graph.of(f"{name}.weight")[0].heads for name in "qkvo"] == [2, 2, 2, 2]


NO_ATTENTION = {
    "linear attention": lambda q, k, v: (F.elu(q) + 1) @ ((F.elu(k) + 1).transpose(1, 2) @ v),
    "softmax of each": lambda q, k, v: q.softmax(-1) @ (k.softmax(1).transpose(1, 2) @ v),
    "sigmoid": lambda q, k, v: torch.sigmoid(q @ k.transpose(1, 2)) @ v,
}


@pytest.mark.parametrize("way", NO_ATTENTION)
def test_what_is_no_attention(way):
    _, roles = shown(Attention(NO_ATTENTION[way]), torch.zeros(2, 5, 8))
    assert set(roles.values()) == {"projection"}


def interleaved(x):
    q, k, v = x.view(2, 5, 2, 3, 4).permute(3, 0, 2, 1, 4).contiguous().unbind(0)
    return joined(F.scaled_dot_product_attention(q, k, v))


def by_chunks(x):
    return fused(*x.chunk(3, -1))


def grouped(x):
    q, k, v = x.split([8, 4, 4], -1)
    k, v = (each.view(2, 5, 1, 4).transpose(1, 2).expand(2, 2, 5, 4) for each in (k, v))
    return joined(F.scaled_dot_product_attention(split(q), k, v))


@pytest.mark.parametrize(
    ("way", "size", "heads"), [(by_chunks, 24, [2, 2, 2]), (interleaved, 24, [2, 2, 2]), (grouped, 16, [2, 1, 1])]
)
def test_packed_attention(way, size, heads):
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.o = nn.Linear(8, size), nn.Linear(8, 8)

        def forward(self, x):
            return x + self.o(way(self.qkv(x)))

    graph, roles = shown(Packed(), torch.zeros(2, 5, 8))
    assert roles == {"qkv": "packed", "o": "attention output"}
    words = ["attention query", "attention key", "attention value"]
    assert [use.role for use in graph.of("qkv.weight")] == words
    assert [use.heads for use in graph.of("qkv.weight")] == heads


class Biased(Attention):
    """Relative positions: a table per head, looked up by constant indices."""

    def __init__(self, fused, whole):
        super().__init__(self.attend)
        self.table = nn.Parameter(torch.zeros(2, 5, 5) if whole else torch.zeros(9, 2))
        self.fused, self.whole = fused, whole

    def attend(self, q, k, v):
        places = (torch.arange(5)[:, None] - torch.arange(5)[None] + 4).flatten()
        bias = self.table if self.whole else self.table[places].view(5, 5, 2).permute(2, 0, 1)[None]
        if self.fused:
            return joined(F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=bias))
        return joined(((split(q) @ split(k).transpose(2, 3)) + bias).softmax(-1) @ split(v))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_tables_added_to_scores_are_relative_positions(fused, whole):
    _, roles = shown(Biased(fused, whole), torch.zeros(2, 5, 8))
    assert roles["table"] == "relative position"


GATES = {
    "two layers": (lambda m, x: F.silu(m.a(x)) * m.b(x), {"a": "mlp gate", "b": "mlp up"}, "silu"),
    "composed": (lambda m, x: m.b(x) * ((y := m.a(x)) * torch.sigmoid(y)), {"a": "mlp gate", "b": "mlp up"}, "silu"),
}


@pytest.mark.parametrize("kind", GATES)
def test_gated_units(kind):
    way, expected, activation = GATES[kind]

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.down = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)

        def forward(self, x):
            return x + self.down(way(self, x))

    graph, roles = shown(Gated(), torch.zeros(2, 8))
    assert roles == expected | {"down": "mlp down"}
    assert [graph.of(f"{name}.weight")[0].activation for name in "ab"] == [activation, "linear"]


class PackedGate(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.both, self.down, self.way = nn.Linear(8, 32), nn.Linear(16, 8), way

    def forward(self, x):
        return x + self.down(self.way(self.both(x)))


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (F.glu, [("mlp up", "linear"), ("mlp gate", "sigmoid")]),
        (lambda x: F.silu(x[..., :16]) * x[..., 16:], [("mlp gate", "silu"), ("mlp up", "linear")]),
        (lambda x: F.gelu(x[..., 1::2]) * x[..., ::2], [("mlp up", "linear"), ("mlp gate", "gelu")]),
    ],
    ids=["glu", "halves", "every other"],
)
def test_gates_in_one_product(way, expected):
    graph, roles = shown(PackedGate(way), torch.zeros(2, 8))
    assert roles == {"both": "packed", "down": "mlp down"}
    assert [(use.role, use.activation) for use in graph.of("both.weight")] == expected


class Modulated(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(8, elementwise_affine=False)
        self.made, self.a, self.b, self.head = nn.Linear(4, 24), nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 2)

    def forward(self, x, condition):
        shift, scale, gate = self.made(F.silu(condition))[:, None].chunk(3, -1)
        x = x + gate * self.b(F.gelu(self.a(self.norm(x) * (1 + scale) + shift)))
        return self.head(x)


def test_modulation():
    graph, roles = shown(Modulated(), torch.zeros(2, 5, 8), torch.zeros(2, 4))
    assert roles == {"made": "modulation", "a": "mlp up", "b": "mlp down", "head": "head"}
    assert {name for name, place in graph.places.items() if place.last} == {"b.weight"}


class Conditioned(nn.Module):
    """A normalised signal times a factor, with no gate behind a branch."""

    def __init__(self, way):
        super().__init__()
        self.norm = nn.LayerNorm(8, elementwise_affine=False)
        self.made, self.final, self.way = nn.Linear(8, 8), nn.Linear(8, 8), way

    def forward(self, x, condition):
        return torch.tanh(self.final(self.way(self, x, condition)))


MODULATED = {
    "a condition scales": (lambda m, x, c: m.norm(x) * (1 + m.made(c)), "modulation"),
    "the factor on the left": (lambda m, x, c: m.made(c) * m.norm(x), "modulation"),
    "a composed norm": (lambda m, x, c: x * x.pow(2).mean(-1, keepdim=True).rsqrt() * m.made(c), "modulation"),
    "a gate of the signal itself": (lambda m, x, c: m.norm(x) * m.made(m.norm(x)), "projection"),
    "a gate of what is normalised": (lambda m, x, c: m.norm(x) * m.made(x), "projection"),
    "no norm": (lambda m, x, c: x * m.made(c), "projection"),
    "a factor through a nonlinearity": (lambda m, x, c: m.norm(x) * torch.sigmoid(m.made(c)), "projection"),
}


@pytest.mark.parametrize("way", MODULATED)
def test_modulation_needs_a_norm_and_another_signal(way):
    function, expected = MODULATED[way]
    _, roles = shown(Conditioned(function), torch.zeros(2, 5, 8), torch.zeros(2, 5, 8))
    assert roles == {"made": expected, "final": "projection"}


class Mixture(nn.Module):
    def __init__(self):
        super().__init__()
        self.route = nn.Linear(8, 4)
        self.up, self.down = nn.Parameter(torch.zeros(4, 8, 16)), nn.Parameter(torch.zeros(4, 16, 8))

    def forward(self, x):
        best, chosen = self.route(x).softmax(-1).topk(2)
        weights = torch.zeros(x.shape[0], 4, device=x.device).scatter(1, chosen, best)
        made = torch.bmm(F.relu(torch.bmm(x.expand(4, -1, -1), self.up)), self.down)
        return x + (made * weights.t()[..., None]).sum(0)


def test_routers_and_experts():
    graph, roles = shown(Mixture(), torch.zeros(3, 8))
    assert roles == {"route": "router", "up": "mlp up", "down": "mlp down"}
    found = graph.places["down"]
    assert (found.last, found.branches, found.members, found.width) == (True, 1, 2, 8)


class Chosen(Mixture):
    """Scores that two products make together: neither routes."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(8, 4)

    def forward(self, x):
        best, chosen = (self.route(x) + self.other(x)).softmax(-1).topk(2)
        weights = torch.zeros(x.shape[0], 4, device=x.device).scatter(1, chosen, best)
        made = torch.bmm(F.relu(torch.bmm(x.expand(4, -1, -1), self.up)), self.down)
        return x + (made * weights.t()[..., None]).sum(0)


def test_a_choice_by_several_products_names_no_router():
    _, roles = shown(Chosen(), torch.zeros(3, 8))
    assert roles == {"route": "projection", "other": "projection", "up": "mlp up", "down": "mlp down"}


def test_heads_are_last_products_without_a_nonlinearity_of_features():
    def chain(*after):
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3), *after)

    for model in (chain(), chain(nn.Softmax(-1)), chain(nn.Sigmoid())):
        assert shown(model, torch.zeros(2, 4))[1] == {"0": "projection", "2": "head"}
    assert shown(chain(nn.Tanh()), torch.zeros(2, 4))[1] == {"0": "projection", "2": "projection"}


def test_two_heads():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 1)

        def forward(self, x):
            x = F.relu(self.body(x))
            return self.one(x), self.two(x)

    assert shown(Two(), torch.zeros(2, 4))[1] == {"body": "projection", "one": "head", "two": "head"}
