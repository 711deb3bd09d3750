"""Packed weights: which rows go where is read off the views of what they make."""

from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin.torch.trace import trace

WIDTH, HEADS, SIZE, GROUPS = 24, 4, 6, 2
KV = GROUPS * SIZE


def rows(parts, axis=0):
    return np.concatenate([part.places(axis) for part in parts]).tolist()


def blocks(graph, tensor, axis=0):
    """The rows of each block, in the order of the uses."""
    return [rows(use.parts, axis) for use in graph.of(tensor) if use.op != "embedding"]


def heads(x):
    return x.unflatten(-1, (-1, SIZE)).transpose(1, 2)


def rotated_halves(x):
    one, other = x.chunk(2, -1)
    return torch.cat([one * 0.6 - other * 0.8, other * 0.6 + one * 0.8], -1)


def rotated_pairs(x):
    one, other = x[..., ::2], x[..., 1::2]
    return torch.stack([one * 0.6 - other * 0.8, one * 0.8 + other * 0.6], -1).flatten(-2)


def rotated_in_part(x):
    turned, kept = x[..., :4], x[..., 4:]
    swapped = torch.cat([-turned[..., 2:], turned[..., :2]], -1)
    return torch.cat([turned * 0.6 + swapped * 0.8, kept], -1)


def apart(split, change=lambda q, k, v: (q, k, v)):
    return split, change


def each(function):
    return lambda *tensors: tuple(map(function, tensors))


def thirds(y):
    return tuple(heads(part) for part in y.chunk(3, -1))


def by_head(y):
    return tuple(part.transpose(1, 2) for part in y.unflatten(-1, (HEADS, 3 * SIZE)).chunk(3, -1))


def by_head_second(y):
    return tuple(y.unflatten(-1, (HEADS, 3, SIZE))[..., part, :].transpose(1, 2) for part in range(3))


def by_group(y):
    grouped = y.unflatten(-1, (GROUPS, HEADS // GROUPS + 2, SIZE))
    queries, keys, values = grouped[..., :-2, :], grouped[..., [-2], :], grouped[..., [-1], :]
    return tuple(part.flatten(-3, -2).transpose(1, 2) for part in (queries, keys, values))


def unequal(y):
    return tuple(map(heads, y.split((WIDTH, KV, KV), -1)))


def by_slices(y):
    return tuple(map(heads, (y[..., :WIDTH], y[..., WIDTH : WIDTH + KV], y[..., WIDTH + KV :])))


SPLITS = {
    "chunks": apart(thirds),
    "splits of unequal size": apart(unequal),
    "slices": apart(by_slices),
    "leading dimension of three": apart(lambda y: y.unflatten(-1, (3, HEADS, SIZE)).permute(2, 0, 3, 1, 4).unbind(0)),
    "head by head": apart(by_head),
    "head by head, second": apart(by_head_second),
    "group by group": apart(by_group),
    "copied first": apart(lambda y: thirds(y.transpose(0, 1).contiguous().transpose(0, 1))),
    "cast and normalised": apart(lambda y: thirds(F.layer_norm(y.double(), y.shape[-1:]))),
    "through convolution": apart(
        lambda y: thirds(
            F.silu(F.conv1d(y.transpose(1, 2), torch.ones(y.shape[-1], 1, 3), padding=1, groups=y.shape[-1])).transpose(
                1, 2
            )
        )
    ),
    "put together and split again": apart(
        lambda y: thirds(torch.cat([part.reshape(y.shape[0], y.shape[1], -1) for part in y.chunk(3, -1)], -1))
    ),
    "queries and keys normalised": apart(thirds, lambda q, k, v: (F.rms_norm(q, (SIZE,)), F.rms_norm(k, (SIZE,)), v)),
    "composed norm": apart(thirds, each(lambda x: x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt())),
    "rotated halves": apart(thirds, lambda q, k, v: (rotated_halves(q), rotated_halves(k), v)),
    "rotated pairs": apart(by_head, lambda q, k, v: (rotated_pairs(q), rotated_pairs(k), v)),
    "rotated in part": apart(by_head_second, lambda q, k, v: (rotated_in_part(q), rotated_in_part(k), v)),
}


class Attention(nn.Module):
    def __init__(self, split, change, project):
        super().__init__()
        self.split, self.change, self.project = split, change, project

    def forward(self, x):
        queries, keys, values = self.change(*self.split(self.project(x)))
        repeats = queries.shape[1] // keys.shape[1]
        scores = queries @ keys.repeat_interleave(repeats, 1).transpose(-1, -2)
        return scores.softmax(-1) @ values.repeat_interleave(repeats, 1)


def expected(split, size):
    """Which outputs the split hands out, from numbers in their place."""
    numbers = torch.arange(size, dtype=torch.float64).expand(1, 1, size)
    return [sorted(set(part.flatten().long().tolist())) for part in split(numbers)]


@pytest.mark.parametrize("name", SPLITS)
def test_queries_keys_and_values(name):
    split, change = SPLITS[name]
    size = WIDTH + 2 * KV if split in (unequal, by_slices, by_group) else 3 * WIDTH
    plain = {"cast and normalised": thirds, "through convolution": thirds, "copied first": thirds}.get(name, split)
    graph = trace(Attention(split, change, nn.Linear(8, size)), torch.zeros(2, 5, 8))
    for tensor in ("project.weight", "project.bias"):
        assert blocks(graph, tensor) == expected(plain, size)
        assert {len(use.parts) for use in graph.of(tensor)} == {1}
    for use in graph.of("project.weight"):
        assert use.axes.fans == (8, len(rows(use.parts)))
        assert use.axes.shape == (len(rows(use.parts)), 8)
    assert {use.partner for use in graph.of("project.bias")} == {"project.weight"}


class Stored(nn.Module):
    """The same packed projection from weights stored and multiplied in several ways."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        shape = {"[in, out]": (8, 72), "einsum": (8, 3, 4, 6), "experts": (3, 8, 72), "conv": (72, 8, 1, 1)}
        self.weight = nn.Parameter(torch.zeros(shape.get(way, (72, 8))))

    def forward(self, x):
        match self.way:
            case "[in, out]":
                return x @ self.weight
            case "einsum":
                return torch.einsum("bti,ichd->btchd", x, self.weight).flatten(2)
            case "experts":
                return torch.bmm(x.expand(3, -1, -1), self.weight)
            case "conv":
                return F.conv2d(x.transpose(1, 2)[..., None], self.weight)[..., 0].transpose(1, 2)
            case "transposed copy":
                return x @ self.weight.t().contiguous()
            case "cast":
                return x.double() @ self.weight.double().t()
            case "slices":
                return torch.cat([F.linear(x, self.weight[:30]), F.linear(x, self.weight[30:])], -1)


@pytest.mark.parametrize(
    ("way", "axis"),
    [("[in, out]", 1), ("einsum", 1), ("experts", 2), ("conv", 0), ("transposed copy", 0), ("cast", 0)],
)
def test_however_they_are_stored(way, axis):
    rows_of = 3 if way == "experts" else 1
    graph = trace(Attention(thirds, lambda *qkv: qkv, Stored(way)), torch.zeros(rows_of, 5, 8))
    third = 1 if way == "einsum" else 24
    assert blocks(graph, "project.weight", axis) == [[*range(third * i, third * (i + 1))] for i in range(3)]
    assert {use.axes.fans for use in graph.of("project.weight")} == {(8, 24)}
    assert all(prod(use.axes.shape) * 3 == graph_size(graph) for use in graph.of("project.weight"))


def graph_size(graph):
    return sum(prod(part.joined) for use in graph.of("project.weight") for part in use.parts)


def test_products_with_slices_of_one_weight_are_its_blocks():
    graph = trace(Stored("slices"), torch.zeros(2, 5, 8))
    assert [(use.parts[0].start, use.axes.fans) for use in graph.of("weight")] == [
        ((0, 0), (8, 30)),
        ((30, 0), (8, 42)),
    ]


HALVES = {
    "chunks": (lambda y: y.chunk(2, -1), [*range(12)], [*range(12, 24)]),
    "slices": (lambda y: (y[..., :12], y[..., 12:]), [*range(12)], [*range(12, 24)]),
    "every other": (lambda y: (y[..., ::2], y[..., 1::2]), [*range(0, 24, 2)], [*range(1, 24, 2)]),
    "pairs": (lambda y: y.unflatten(-1, (12, 2)).unbind(-1), [*range(0, 24, 2)], [*range(1, 24, 2)]),
}


@pytest.mark.parametrize("experts", [False, True])
@pytest.mark.parametrize("name", HALVES)
def test_gate_and_up(name, experts):
    split, first, second = HALVES[name]

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros((3, 8, 24) if experts else (8, 24)))
            self.bias = nn.Parameter(torch.zeros((3, 24) if experts else 24))
            self.down = nn.Parameter(torch.zeros((3, 12, 8) if experts else (12, 8)))

        def forward(self, x):
            product = torch.bmm(x, self.weight) + self.bias[:, None] if experts else x @ self.weight + self.bias
            gate, up = split(product)
            return (F.silu(gate) * up) @ self.down

    graph = trace(Gated(), torch.zeros(3, 5, 8))
    for tensor, axis in (("weight", 1 + experts), ("bias", int(experts))):
        assert blocks(graph, tensor, axis) == [first, second]
        assert all(len(use.parts) == 1 for use in graph.of(tensor))
    gate, up = graph.of("weight")
    assert (gate.activation, up.activation) == ("silu", "linear")
    assert gate.axes.fans == up.axes.fans == (8, 12)
    assert {(use.op, use.partner) for use in graph.of("bias")} == {("bias", "weight")}
    (down,) = graph.of("down")
    assert down.parts == ()


@pytest.mark.parametrize("layer", [lambda: nn.Linear(8, 24), lambda: nn.Conv1d(8, 24, 3)], ids=["linear", "conv"])
def test_gated_linear_unit(layer):
    linear = isinstance(layer(), nn.Linear)
    graph = trace(
        nn.Sequential(layer(), nn.GLU(-1 if linear else 1)), torch.zeros(3, 8) if linear else torch.zeros(3, 8, 9)
    )
    assert blocks(graph, "0.weight") == blocks(graph, "0.bias") == [[*range(12)], [*range(12, 24)]]
    assert [use.activation for use in graph.of("0.weight")] == ["linear", "sigmoid"]


def test_scale_and_shift_are_apart():
    class Modulated(nn.Module):
        def __init__(self):
            super().__init__()
            self.from_condition, self.body = nn.Linear(6, 24), nn.Linear(8, 8)

        def forward(self, x, condition):
            shift, scale, gate = self.from_condition(F.silu(condition)).chunk(3, -1)
            return x + gate * self.body(F.layer_norm(x, (8,)) * (1 + scale) + shift)

    graph = trace(Modulated(), (torch.zeros(2, 8), torch.zeros(2, 6)))
    assert blocks(graph, "from_condition.weight") == [[*range(8 * i, 8 * i + 8)] for i in range(3)]


def test_gates_of_a_cell_written_by_hand():
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.hidden = nn.Linear(4, 12), nn.Linear(3, 12)

        def forward(self, x, h, c):
            i, f, g, o = (self.inputs(x) + self.hidden(h)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            return o.sigmoid() * c.tanh()

    graph = trace(Cell(), (torch.zeros(2, 4), torch.zeros(2, 3), torch.zeros(2, 3)))
    for tensor in ("inputs.weight", "inputs.bias", "hidden.weight", "hidden.bias"):
        assert blocks(graph, tensor) == [[*range(3 * i, 3 * i + 3)] for i in range(4)]


def test_outputs_of_the_model_are_pieces_too():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.back = nn.Linear(4, 6), nn.Linear(3, 4)

        def forward(self, x):
            mean, spread = self.head(x).chunk(2, -1)
            return self.back(mean), spread

    assert blocks(trace(Encoder(), torch.zeros(2, 4)), "head.weight") == [[0, 1, 2], [3, 4, 5]]


WHOLE = {
    "rotated halves": lambda y: rotated_halves(y) @ torch.ones(24, 2),
    "rotated pairs": lambda y: rotated_pairs(y) @ torch.ones(24, 2),
    "a part is read beside the whole": lambda y: (y @ torch.ones(24, 2), y[:, :4] @ torch.ones(4, 2)),
    "softmax": lambda y: y.softmax(-1)[:, :3] * y.softmax(-1)[:, 3:6],
    "first position": lambda y: y[:1] @ torch.ones(24, 2),
    "head by head": lambda y: [y[:, i : i + 1] @ torch.ones(1, 2) for i in range(24)],
    "statistics": lambda y: y.sum(0),
    "nothing": lambda y: y,
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_stays_whole(name):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Linear(4, 24)

        def forward(self, x):
            return WHOLE[name](self.weight(x))

    (use,) = trace(Model(), torch.zeros(3, 4)).of("weight.weight")
    assert use.parts == ()
    assert use.axes.fans == (4, 24)


def test_groups_of_channels_stay_whole():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(8, 8, 3, groups=8)

        def forward(self, x):
            one, other = self.conv(x).chunk(2, 1)
            return one * other

    (use,) = trace(Mixed(), torch.zeros(2, 8, 9)).of("conv.weight")
    assert (use.parts, use.axes.fans) == ((), (3, 3))


@pytest.mark.parametrize(("high", "low"), [(2, 2), (3, 1)], ids=["apart", "overlapping"])
def test_a_part_that_nothing_uses_leaves_the_weight_whole(high, low):
    class Sliced(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(6, 4))

        def forward(self, x):
            return F.linear(x, self.weight[:high]), F.linear(x, self.weight[low:4])

    uses = trace(Sliced(), torch.zeros(2, 4)).of("weight")
    assert [(use.parts, use.axes.fans) for use in uses] == [((), (4, 6))]


def test_a_weight_used_whole_and_in_parts_is_whole():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            one, other = self.layer(x).chunk(2, -1)
            return self.layer(x) @ torch.ones(4, 1) + (one * other) @ torch.ones(2, 1)

    uses = trace(Twice(), torch.zeros(2, 4)).of("layer.weight")
    assert {(use.parts, use.axes.fans) for use in uses} == {((), (4, 4))}


ATTENTIONS = {
    "self": ({}, lambda x, _: (x, x, x)),
    "cross": ({}, lambda x, y: (x, y, y)),
    "three inputs": ({}, lambda x, y: (x, y, y + 1)),
    "own sizes": ({"kdim": 8, "vdim": 8}, lambda x, y: (x, y[..., :8], y[..., :8])),
    "no bias": ({"bias": False}, lambda x, _: (x, x, x)),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_multihead_attention(name):
    options, arguments = ATTENTIONS[name]
    graph = trace(nn.MultiheadAttention(16, 4, **options), arguments(torch.zeros(5, 2, 16), torch.zeros(3, 2, 16)))
    thirds = [[*range(16 * i, 16 * i + 16)] for i in range(3)]
    if "kdim" in options:
        for letter, fan in (("q", 16), ("k", 8), ("v", 8)):
            (use,) = graph.of(f"{letter}_proj_weight")
            assert (use.parts, use.axes.fans) == ((), (fan, 16))
        assert [use.partner for use in graph.of("in_proj_bias")] == ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
    else:
        assert blocks(graph, "in_proj_weight") == thirds
        assert {use.axes.fans for use in graph.of("in_proj_weight")} == {(16, 16)}
    assert blocks(graph, "in_proj_bias") == (thirds if options.get("bias", True) else [])
