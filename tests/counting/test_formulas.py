"""FLOPs against formulas worked out by hand from the layer, never from its implementation."""

from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin import count


class Calls(nn.Module):
    """A function as a model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def flops(function, *inputs):
    return count(function if isinstance(function, nn.Module) else Calls(function), inputs).flops


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(), (7,), (7, 3)])
def test_linear(bias, lead):
    assert flops(nn.Linear(5, 4, bias=bias), torch.zeros(*lead, 5)) == 2 * prod(lead) * 5 * 4


def test_matrix_products():
    a, b, v = torch.zeros(6, 5, 4), torch.zeros(6, 4, 3), torch.zeros(4)
    assert flops(torch.bmm, a, b) == 2 * 6 * 5 * 4 * 3
    assert flops(torch.matmul, a[0], b[0]) == 2 * 5 * 4 * 3
    assert flops(torch.matmul, a[0], v) == 2 * 5 * 4
    assert flops(torch.dot, v, v) == 2 * 4
    assert flops(lambda a, v: torch.addmv(torch.zeros(5, device="meta"), a, v), a[0], v) == 2 * 5 * 4
    assert flops(lambda a, b: torch.addbmm(torch.zeros(5, 3, device="meta"), a, b), a, b) == 2 * 6 * 5 * 4 * 3
    assert flops(lambda a, b: torch.einsum("bij,bjk->ik", a, b), a, b) == 2 * 6 * 5 * 4 * 3


def test_bilinear():
    assert flops(nn.Bilinear(3, 4, 5), torch.zeros(2, 3), torch.zeros(2, 4)) == 2 * 2 * 3 * 4 * 5


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2)])
def test_convolution(rank, groups, stride, padding, dilation):
    make = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[rank]
    layer = make(6, 12, 3, stride=stride, padding=padding, dilation=dilation, groups=groups)
    side = (9 + 2 * padding - dilation * 2 - 1) // stride + 1
    expected = 2 * 4 * 12 * (6 // groups) * 3**rank * side**rank
    assert flops(layer, torch.zeros(4, 6, *[9] * rank)) == expected


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_convolution(rank, groups, stride):
    # Every input value meets every weight of its group once, whatever the stride.
    make = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[rank]
    layer = make(6, 12, 3, stride=stride, groups=groups)
    assert flops(layer, torch.zeros(4, 6, *[5] * rank)) == 2 * 4 * 6 * (12 // groups) * 3**rank * 5**rank


@pytest.mark.parametrize("causal", [True, False])
def test_attention(causal):
    q, k, v = torch.zeros(2, 4, 6, 8), torch.zeros(2, 4, 9, 8), torch.zeros(2, 4, 9, 8)
    attend = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal)  # noqa: E731
    assert flops(attend, q, k, v) == 2 * (2 * 2 * 4 * 6 * 9 * 8)


def test_attention_with_fewer_keys_and_with_a_mask():
    q, k = torch.zeros(2, 4, 6, 8), torch.zeros(2, 2, 6, 8)
    attend = lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True)  # noqa: E731
    assert flops(attend, q, k) == 2 * (2 * 2 * 4 * 6 * 6 * 8)
    masked = lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m)  # noqa: E731
    assert flops(masked, q, torch.ones(6, 6, dtype=torch.bool)) == 2 * (2 * 2 * 4 * 6 * 6 * 8)


def test_attention_whose_values_are_wider_than_its_keys():
    q, v = torch.zeros(2, 4, 6, 8), torch.zeros(2, 4, 6, 16)
    attend = lambda q, v: F.scaled_dot_product_attention(q, q, v)  # noqa: E731
    assert flops(attend, q, v) == 2 * 2 * 4 * 6 * 6 * (8 + 16)


def test_multihead_attention():
    n, s, d = 3, 7, 8
    projections, scores = 4 * (2 * n * s * d * d), 2 * (2 * n * s * s * d)
    layer = nn.MultiheadAttention(d, 2, batch_first=True)
    assert flops(layer, *[torch.zeros(n, s, d)] * 3) == projections + scores


@pytest.mark.parametrize(("layer", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent(layer, gates):
    n, steps, width, hidden = 3, 5, 4, 6
    one = 2 * n * steps * gates * hidden * (width + hidden)
    assert flops(layer(width, hidden), torch.zeros(steps, n, width)) == one
    two = 2 * n * steps * gates * hidden * (2 * hidden + hidden)
    assert flops(layer(width, hidden, 2, bidirectional=True), torch.zeros(steps, n, width)) == 2 * (one + two)


def test_nothing_else_counts():
    x = torch.zeros(4, 6)
    assert flops(nn.Sequential(nn.ReLU(), nn.LayerNorm(6), nn.Softmax(-1), nn.Dropout()), x) == 0
    assert flops(nn.Embedding(5, 3), torch.zeros(4, dtype=torch.long)) == 0


def test_a_layer_that_runs_twice_counts_twice():
    layer = nn.Linear(4, 4)
    found = count(nn.Sequential(layer, layer), torch.zeros(3, 4))
    assert found.flops == 2 * (2 * 3 * 4 * 4)
    assert found.parameters == 20


def test_experts_each_row_meets_one_matrix():
    rows, experts = torch.zeros(6, 8, dtype=torch.bfloat16), torch.zeros(2, 8, 16, dtype=torch.bfloat16)
    ends = torch.tensor([2, 6], dtype=torch.int32)
    assert flops(lambda rows, experts: torch._grouped_mm(rows, experts, offs=ends), rows, experts) == 2 * 6 * 8 * 16
