"""Each measured number, against what it is by definition."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin.checking import check
from fanin.torch.probe import probe
from fanin.torch.probe.attention import normalised
from fanin.torch.probe.drawn import looks_drawn
from fanin.torch.probe.histogram import BINS, LEVELS, SAMPLE, spread
from fanin.torch.probe.jacobian import jacobians
from fanin.torch.probe.likeness import likeness
from fanin.torch.probe.moments import is_sampled, moments
from fanin.torch.probe.saturation import flatness


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 100_003, (1 << 20) + 5])
def test_moments_are_those_of_the_values(dtype: torch.dtype, count: int) -> None:
    values = normal(count).to(dtype)
    values[:: max(1, count // 7)] = 0
    seen, wide = moments(values), values.double()
    assert seen.count == count
    assert seen.mean == pytest.approx(float(wide.mean()), abs=1e-12)
    assert seen.second == pytest.approx(float((wide**2).mean()), rel=1e-12)
    assert seen.max_abs == float(wide.abs().max())
    assert seen.zeros == pytest.approx(float((wide == 0).double().mean()), abs=1e-12)


def test_moments_leave_out_what_is_not_finite() -> None:
    seen = moments(torch.tensor([1.0, float("nan"), 3.0, float("-inf")]), spreads=True)
    assert (seen.mean, seen.second, seen.max_abs, seen.non_finite) == (2.0, 5.0, 3.0, 2)
    assert seen.spread is not None
    assert (seen.spread.histogram.low, seen.spread.histogram.high) == (1.0, 3.0)


def test_quantiles_of_few_values_are_exact() -> None:
    values = normal(SAMPLE)
    seen = spread(values)
    assert seen is not None
    for level, quantile in seen.quantiles:
        assert quantile == pytest.approx(float(values.double().quantile(level)), rel=1e-12)
    expected = torch.histc(values, BINS, float(values.min()), float(values.max()))
    assert sum(seen.histogram.counts) == SAMPLE
    assert (torch.tensor(seen.histogram.counts) - expected).abs().sum() <= 2  # histc rounds its edges to float32


def test_quantiles_of_many_values_are_within_their_sampling_error() -> None:
    values = torch.arange(3_000_000.0) / 3_000_000
    seen = spread(values)
    assert seen is not None
    assert seen == spread(values.clone())
    for level, quantile in seen.quantiles:
        # The golden ratio's multiples fill [0, 1) far more evenly than random ones: error O(log n / n).
        assert quantile == pytest.approx(level, abs=2e-3)
    assert [level for level, _ in seen.quantiles] == list(LEVELS)


def test_the_sample_is_in_step_with_no_stride() -> None:
    """Every unit of a tensor is seen, though their number is a power of two."""
    units = torch.arange(1024.0).repeat(64 * 1024)
    seen = spread(units)
    assert seen is not None
    assert min(seen.histogram.counts) > 0.7 * SAMPLE / BINS


def test_correlation_is_the_mean_cosine() -> None:
    rows = normal(12, 40) + 0.5
    unit = F.normalize(rows.double(), dim=1)
    cosines = (unit @ unit.T)[~torch.eye(12, dtype=torch.bool)]
    seen = likeness(rows, tokens=False)
    assert seen is not None
    assert seen.correlation == pytest.approx(float(cosines.mean()), abs=1e-6)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_effective_rank_counts_equal_directions(rank: int) -> None:
    rows = torch.eye(64)[torch.arange(60) % rank] * normal(60, 1)
    seen = likeness(rows, tokens=False)
    assert seen is not None
    assert seen.effective_rank == pytest.approx(rank, rel=1e-5)


def test_opposite_rows_are_one_direction() -> None:
    seen = likeness(torch.tensor([[1.0, 2.0], [-1.0, -2.0], [3.0, 6.0]]), tokens=False)
    assert seen is not None
    assert seen.effective_rank == pytest.approx(1.0, abs=1e-5)
    assert seen.correlation == pytest.approx(-1 / 3, abs=1e-6)


def test_what_has_no_likeness() -> None:
    assert likeness(normal(1, 8), tokens=False) is None
    assert likeness(torch.zeros(4, 8), tokens=False) is None
    assert likeness(torch.full((4, 8), float("nan")), tokens=False) is None
    assert likeness(normal(1, 6, 8), tokens=True) is not None


def test_entropy_of_the_weights_that_attention_uses() -> None:
    class Net(nn.Module):
        def __init__(self, written_out: bool) -> None:
            super().__init__()
            self.q, self.k = nn.Linear(16, 16), nn.Linear(16, 16)
            self.written_out = written_out

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k = 4 * self.q(x), 4 * self.k(x)
            if not self.written_out:
                return F.scaled_dot_product_attention(q, k, x, is_causal=True)
            hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
            scores = (q @ k.mT / 4).masked_fill(hidden, torch.finfo(torch.float32).min)
            return F.dropout(scores.softmax(-1), 0.0) @ x

    torch.manual_seed(0)
    fused, written = Net(False), Net(True)
    written.load_state_dict(fused.state_dict())
    x = normal(2, 10, 16)
    seen = [next(y.entropy for y in probe(net, x).layers if y.entropy is not None) for net in (fused, written)]
    scores = (4 * fused.q(x)) @ (4 * fused.k(x)).mT / 4
    scores = scores.masked_fill(torch.ones(10, 10, dtype=torch.bool).triu(1), float("-inf")).double()
    weights = scores.softmax(-1).detach()
    by_hand = [
        float(torch.special.entr(weights[b, i, : i + 1]).sum()) / log(i + 1) for b in range(2) for i in range(1, 10)
    ]
    assert seen[0] == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-6)
    assert seen[1] == pytest.approx(seen[0], abs=1e-6)


def test_entropy_inside_torchs_own_attention() -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(16, 4, batch_first=True)
    x = normal(1, 7, 16)
    _, weights = attention(x, x, x, average_attn_weights=False)
    expected = float(torch.special.entr(weights.detach().double()).sum(-1).mean()) / log(7)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    (entropy,) = [layer.entropy for layer in probe(Net(), x).layers if layer.entropy is not None]
    assert entropy == pytest.approx(expected, abs=1e-5)


def test_a_softmax_over_classes_is_no_attention() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x).softmax(-1)

    assert [layer.entropy for layer in probe(Net(), normal(2, 3, 8)).layers] == [None]


def test_entropy_of_masked_scores() -> None:
    low = float("-inf")
    assert normalised(torch.tensor([[0.0, 0.0, low], [5.0, low, low]])) == pytest.approx(1.0)
    assert normalised(torch.tensor([[0.0, low]])) is None


@pytest.mark.parametrize(
    ("function", "edge"),
    [(torch.tanh, 2.18), (torch.sigmoid, 4.36), (F.hardtanh, 1.0), (F.softsign, 3.47)],
)
def test_flat_is_where_the_slope_is_a_twentieth(function, edge: float) -> None:
    x = torch.tensor([edge * 0.99, edge * 1.01, -edge * 0.99, -edge * 1.01, 0.0])
    flat = flatness(function, x)
    assert flat is not None
    assert flat.flat.tolist() == [False, True, False, True, False]


def test_a_unit_is_flat_if_three_quarters_of_its_values_are() -> None:
    x = torch.zeros(20, 2)
    x[:14, 0], x[:15, 1] = 9.0, 9.0
    flat = flatness(torch.tanh, x)
    assert flat is not None
    assert flat.units(1) == 1


@pytest.mark.parametrize("function", [F.relu, F.gelu, F.silu, F.softplus, torch.sin, F.elu])
def test_what_does_not_squash_is_not_judged(function) -> None:
    assert flatness(function, normal(4, 4)) is None


def test_saturated_units_are_counted() -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.Hardtanh())
    with torch.no_grad():
        model[0].bias[:2] = 50.0
        model[0].bias[2:] = 0.0
        model[0].weight.mul_(0.1)
    layer = probe(model, normal(16, 8)).layers[1]
    assert (layer.saturated, layer.units, layer.dead) == (2, 6, None)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (7, 7)])
def test_singular_values_are_those_of_the_matrix(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(*shape))
    found, failed = jacobians(model, normal(3, shape[0]), 0)
    values = torch.linalg.svdvals(model[0].weight.detach())
    assert failed == []
    assert found[0].largest == pytest.approx(float(values[0]), rel=1e-4)
    assert found[0].smallest == pytest.approx(float(values[-1]), rel=1e-3)


def test_singular_values_of_a_block() -> None:
    """x + W·x has those of 1 + W; the largest of many converges first."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(60, 60, bias=False))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inner(x)

    torch.manual_seed(0)
    model = nn.Sequential(Block(), Block())
    report = check(model, normal(4, 60), thorough=True)
    assert [block.name for block in report.blocks] == ["0", "1"]
    values = torch.linalg.svdvals(torch.eye(60) + model[0].inner[0].weight.detach())
    assert report.blocks[0].largest == pytest.approx(float(values[0]), rel=0.01)
    assert float(values[-1]) * 0.99 <= report.blocks[0].smallest <= 1.0


def test_precision_is_the_error_of_bfloat16() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32))
    x = normal(16, 32)
    (layer,) = check(model, x, thorough=True).layers
    exact = model(x).detach()
    rough = nn.Sequential(nn.Linear(32, 32)).bfloat16()
    rough.load_state_dict(model.state_dict())
    error = (rough(x.bfloat16()).detach().float() - exact).norm() / exact.norm()
    assert layer.measured.precision == pytest.approx(float(error), rel=1e-4)


def test_update_ratios() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 4, bias=False))
    x, targets = normal(8, 16), torch.arange(8) % 4
    (weight,) = check(model, x, targets, lr=0.01).parameters
    F.cross_entropy(model(x), targets).backward()
    size = float(model[0].weight.detach().pow(2).mean().sqrt())
    pull = float(model[0].weight.grad.pow(2).mean().sqrt())
    assert weight.gradient_rms == pytest.approx(pull, rel=1e-5)
    assert weight.update_ratio is not None
    assert weight.update_ratio.sgd == pytest.approx(0.01 * pull / size, rel=1e-5)
    before = model[0].weight.detach().clone()
    torch.optim.Adam(model.parameters(), lr=0.01, eps=1e-12).step()
    moved = (model[0].weight.detach() - before).pow(2).mean().sqrt() / before.pow(2).mean().sqrt()
    assert weight.update_ratio.adam == pytest.approx(float(moved), rel=1e-3)


def test_draws_and_trained_weights_are_told_apart() -> None:
    draws = [normal(64, 128), torch.rand(64, 64) - 0.5, nn.init.orthogonal_(torch.empty(64, 64))]
    assert [looks_drawn(weight) for weight in draws] == [True] * 3
    torch.manual_seed(0)
    x = normal(256, 32) * torch.logspace(0, 1, 32)
    targets = (x[:, :8] @ normal(8, 4, seed=3)).argmax(1)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(model(x), targets).backward()
        optimizer.step()
    assert looks_drawn(model[0].weight) is False
    assert looks_drawn(torch.ones(2, 2)) is None


def test_effective_rank_falls_with_correlation() -> None:
    """For rows of cosine c the eigenvalues are 1 + (n − 1)c and 1 − c."""
    n, c = 8, 0.9
    rows = torch.linalg.cholesky((1 - c) * torch.eye(n) + c * torch.ones(n, n))
    shares = [(1 + (n - 1) * c) / n] + [(1 - c) / n] * (n - 1)
    seen = likeness(rows, tokens=False)
    assert seen is not None
    assert seen.effective_rank == pytest.approx(exp(-sum(p * log(p) for p in shares)), rel=1e-4)


def test_of_a_huge_tensor_evenly_spaced_blocks_are_looked_at() -> None:
    values = normal(1 << 18) + torch.linspace(0, 4, 1 << 18)
    seen = moments(values, most=1 << 16)
    assert seen.count == 1 << 18
    assert seen.mean == pytest.approx(2.0, abs=5 / 2**8 + 2 / 2**6)
    assert seen.mean != moments(values).mean
    assert is_sampled(torch.empty((1 << 27) + 1, device="meta"))
    assert not is_sampled(torch.empty(1 << 27, device="meta"))
