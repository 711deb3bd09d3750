"""Each formula of the adapters, on the 64 × 96 matrix, rank 8 and α 16 of METHODS 3.1."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import Tensor

from fanin import adapters
from fanin.adapters.input_moment import damped
from fanin.adapters.layouts import Layout
from fanin.errors import ArgumentError, DataError, UnknownNameError
from fanin.random import Stream

RANK, SCALE = 8, 2.0
STREAM = Stream.named(0, "test")


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(64, 96, generator=torch.Generator().manual_seed(0)) / 10


@pytest.fixture
def moment() -> Tensor:
    rows = torch.randn(500, 96, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.1, 3, 96)
    return rows.T @ rows / 500


def close(one: Tensor, other: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, atol=atol, rtol=0)


def test_default_is_kaiming_uniform_over_the_inputs_and_zero() -> None:
    factors = adapters.default(torch.zeros(64, 9600), 64, stream=STREAM)
    count = factors.a.numel()
    assert abs(float(factors.a.std()) * sqrt(3 * 9600) - 1) < 5 * 0.4472 / sqrt(count)
    assert 0.999 < float(factors.a.abs().max()) * sqrt(9600) <= 1
    assert not factors.b.any()
    assert factors.residual is None


def test_gaussian_has_the_std_of_one_over_the_rank() -> None:
    factors = adapters.gaussian(torch.zeros(4, 64_000), RANK, stream=STREAM)
    assert abs(float(factors.a.std()) * RANK - 1) < 5 / sqrt(2 * factors.a.numel())
    assert not factors.b.any()


def test_embedding_draws_b_and_not_a() -> None:
    factors = adapters.embedding(torch.zeros(64_000, 4), RANK, stream=STREAM)
    assert abs(float(factors.b.std()) - 1) < 5 / sqrt(2 * factors.b.numel())
    assert not factors.a.any()


@pytest.mark.parametrize("iterations", [None, 8])
def test_pissa_is_the_leading_part_and_leaves_the_rest(weight: Tensor, iterations: int | None) -> None:
    factors = adapters.pissa(weight, RANK, SCALE, iterations=iterations, stream=STREAM)
    u, s, vh = torch.linalg.svd(weight)
    within = 1e-5 if iterations is None else 0.02
    close(factors.product(SCALE), u[:, :RANK] * s[:RANK] @ vh[:RANK], within)
    assert factors.residual is not None
    assert float(torch.linalg.matrix_norm(factors.residual, 2)) == pytest.approx(float(s[RANK]), rel=within)
    assert float((factors.effective(weight, SCALE) - weight).norm() / weight.norm()) < 2e-7
    # The singular values are shared equally.
    close((factors.a @ factors.a.T).diagonal(), (factors.b.T @ factors.b).diagonal())


def test_randomised_pissa_has_its_own_randomness_and_converges(weight: Tensor) -> None:
    before = torch.get_rng_state()
    exact = adapters.pissa(weight, RANK, SCALE).product(SCALE)
    made = [adapters.pissa(weight, RANK, SCALE, iterations=n, stream=STREAM).product(SCALE) for n in (0, 2, 16)]
    errors = [float((product - exact).norm()) for product in made]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-2
    assert torch.equal(made[1], adapters.pissa(weight, RANK, SCALE, iterations=2, stream=STREAM).product(SCALE))
    other = adapters.pissa(weight, RANK, SCALE, iterations=0, stream=Stream.named(1, "test")).product(SCALE)
    assert not torch.equal(made[0], other)
    assert torch.equal(before, torch.get_rng_state())


def test_randomised_decomposition_is_exact_where_all_directions_are_taken(weight: Tensor) -> None:
    narrow = weight[:, :12].double()
    exact, made = adapters.pissa(narrow, 4, 1.0), adapters.pissa(narrow, 4, 1.0, iterations=0, stream=STREAM)
    close(exact.a, made.a)
    close(exact.b, made.b)


@pytest.mark.parametrize("shape", [(64, 96), (96, 64), (8, 96), (96, 8)])
def test_olora_is_the_leading_columns(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    factors = adapters.olora(weight, RANK, SCALE)
    close(factors.b.T @ factors.b, torch.eye(RANK))
    assert torch.equal(factors.a, factors.a.triu())
    assert bool((factors.a.diagonal() >= 0).all())
    close((factors.b @ factors.a)[:, :RANK], weight[:, :RANK])
    close(factors.effective(weight, SCALE), weight)
    q, r = torch.linalg.qr(weight)
    close(factors.b @ factors.a, q[:, :RANK] @ r[:RANK])


@pytest.mark.parametrize("exact", [False, True])
def test_orthogonal_factors_meet_in_zero(exact: bool) -> None:
    factors = adapters.orthogonal(torch.zeros(64, 96), RANK, stream=STREAM, exact=exact)
    assert float(factors.product(SCALE).norm()) <= (0.0 if exact else 4e-6)


def test_orthogonal_factors_have_their_size() -> None:
    factors = adapters.orthogonal(torch.zeros(1).expand(64_000, 96_000), RANK, stream=STREAM)
    # a = std·(X·Q[0::2])ᵀ with Q's rows orthonormal: ‖a‖² = std²·‖X‖², and X has inputs·rank/2 values.
    for factor, size in ((factors.a, 96_000), (factors.b, 64_000)):
        count = size * RANK / 2
        assert abs(float(factor.square().sum()) / (0.01 * count) - 1) < 5 * sqrt(2 / count)


def test_orthogonals_two_factors_are_independent() -> None:
    factors = adapters.orthogonal(torch.zeros(640, 640), RANK, stream=STREAM, exact=True)
    x, y = factors.a[0::2].T, factors.b[:, 1::2]
    assert abs(float((x * y).mean()) / 0.01) < 5 / sqrt(x.numel())


def test_orthogonal_needs_an_even_rank() -> None:
    with pytest.raises(ArgumentError, match="must be even, got 7"):
        adapters.orthogonal(torch.zeros(64, 96), 7, stream=STREAM)
    with pytest.raises(ArgumentError, match="orthogonal needs a rank of at least 1, got 0"):
        adapters.orthogonal(torch.zeros(64, 96), 0, stream=STREAM)
    with pytest.raises(ArgumentError, match="an adapter needs a rank of at least 1, got -1"):
        adapters.gaussian(torch.zeros(64, 96), -1, stream=STREAM)


def test_mica_takes_the_least_directions_and_is_zero(weight: Tensor) -> None:
    factors = adapters.mica(weight, RANK)
    assert not factors.a.any()
    assert factors.residual is None
    close(factors.b.T @ factors.b, torch.eye(RANK))
    s = torch.linalg.svdvals(weight)
    close((factors.b.T @ weight).norm(dim=1), s[-RANK:])


def test_eva_has_orthonormal_rows_and_is_zero() -> None:
    components = torch.linalg.qr(torch.randn(96, 16, generator=torch.Generator().manual_seed(0))).Q.T
    factors = adapters.eva(torch.zeros(64, 96), components, RANK)
    close(factors.a @ factors.a.T, torch.eye(RANK))
    assert torch.equal(factors.a, components[:RANK])
    assert not factors.b.any()
    whitened = adapters.eva(torch.zeros(64, 96), components, RANK, singular_values=torch.arange(16.0, 0, -1))
    close(whitened.a.norm(dim=1), torch.arange(16.0, 8, -1).rsqrt())


@pytest.mark.parametrize("mode", ["ipm", "kpm"])
def test_corda_leaves_the_function_and_orders_by_the_inputs(weight: Tensor, moment: Tensor, mode: str) -> None:
    factors = adapters.corda(weight, moment, RANK, SCALE, mode=mode)
    close(factors.effective(weight, SCALE), weight)
    damped = moment + 0.01 * moment.diagonal().mean() * torch.eye(96)
    u, s, vh = torch.linalg.svd(weight.double() @ damped.double(), full_matrices=False)
    part = slice(RANK) if mode == "ipm" else slice(64 - RANK, 64)
    expected = u[:, part] * s[part] @ vh[part] @ damped.double().inverse()
    close(factors.product(SCALE).double(), expected, 1e-4)


def test_corda_with_a_white_input_is_pissa(weight: Tensor) -> None:
    product = adapters.corda(weight, torch.eye(96), RANK, SCALE).product(SCALE)
    close(product, adapters.pissa(weight, RANK, SCALE).product(SCALE))


def test_the_scale_of_the_moment_leaves_cordas_product(weight: Tensor, moment: Tensor) -> None:
    one, other = (adapters.corda(weight, c * moment, RANK, SCALE) for c in (1.0, 100.0))
    close(one.product(SCALE), other.product(SCALE), 1e-4)
    torch.testing.assert_close(other.a * 10, one.a, atol=1e-3, rtol=1e-2)


def test_corda_damps_until_the_inverse_is_good(weight: Tensor) -> None:
    # One direction in which nothing ever happened, and one that is 10^9 times the rest.
    spread = torch.cat((torch.tensor([1e9, 0.0]), torch.ones(94)))
    factors = adapters.corda(weight, torch.diag(spread), RANK, SCALE)
    close(factors.effective(weight, SCALE), weight)
    assert bool(factors.a.isfinite().all())
    # 600 inputs that are always the same: in float32 the first damping is not enough, in float64 it is.
    for dtype, least, most in ((torch.float32, 0.019, 0.4), (torch.float64, 0.0099, 0.0101)):
        fixed, inverse = damped(torch.ones(600, 600, dtype=dtype), torch.zeros(2, 600))
        assert least < float(fixed[0, 0] - 1) < most
        assert float(torch.dist(fixed @ inverse, torch.eye(600, dtype=dtype))) < 0.05


def test_corda_refuses_inputs_that_were_all_zero(weight: Tensor) -> None:
    with pytest.raises(DataError, match="no inputs but zeros"):
        adapters.corda(weight, torch.zeros(96, 96), RANK, SCALE)
    with pytest.raises(DataError, match="not symmetric"):
        adapters.corda(weight, torch.ones(96, 96).triu(), RANK, SCALE)


def test_lora_ga_has_unit_vectors_times_c(weight: Tensor) -> None:
    gradient = torch.randn(64, 96, generator=torch.Generator().manual_seed(2))
    factors = adapters.lora_ga(weight, gradient, RANK, SCALE)
    c = 64**0.25 / 4
    assert c == pytest.approx(0.7071, abs=1e-4)
    close(factors.a @ factors.a.T, c**2 * torch.eye(RANK))
    close(factors.b.T @ factors.b, c**2 * torch.eye(RANK))
    close(factors.effective(weight, SCALE), weight)
    u, _s, vh = torch.linalg.svd(gradient)
    # a spans the first r right vectors, b the next r left ones.
    close(factors.a @ vh[:RANK].T @ vh[:RANK], factors.a)
    close(u[:, RANK : 2 * RANK] @ u[:, RANK : 2 * RANK].T @ factors.b, factors.b)


@pytest.mark.parametrize("direction", ["ArB2r", "A2rBr", "ArBr", "random"])
def test_lora_ga_gives_its_two_factors_disjoint_vectors(weight: Tensor, direction: str) -> None:
    gradient = torch.randn(64, 96, generator=torch.Generator().manual_seed(2))
    factors = adapters.lora_ga(weight, gradient, RANK, SCALE, direction=direction, stream=STREAM)
    u, _, vh = torch.linalg.svd(gradient)
    c = 64**0.25 / 4
    for_a = ((factors.a @ vh[: 2 * RANK].T).abs() > c / 2).nonzero()[:, 1]
    for_b = ((u[:, : 2 * RANK].T @ factors.b).abs() > c / 2).nonzero()[:, 0]
    assert sorted([*for_a.tolist(), *for_b.tolist()]) == list(range(2 * RANK))
    expected = {"ArB2r": [*range(8)], "A2rBr": [*range(8, 16)], "ArBr": [*range(1, 16, 2)]}
    assert direction == "random" or sorted(for_a.tolist()) == expected[direction]


def test_lora_gas_first_step_goes_down_the_gradient(weight: Tensor) -> None:
    """One SGD step on A and B changes s·B·A by −λ·s²·(b·bᵀ·G + G·aᵀ·a): the best part of rank 2r of −G."""
    gradient = torch.randn(64, 96, generator=torch.Generator().manual_seed(2))
    factors = adapters.lora_ga(weight, gradient, RANK, 1.0)
    step = factors.b @ factors.b.T @ gradient + gradient @ factors.a.T @ factors.a
    u, s, vh = torch.linalg.svd(gradient)
    best = u[:, : 2 * RANK] * s[: 2 * RANK] @ vh[: 2 * RANK]
    close(step / 0.5, best, 1e-4)


def test_lora_ga_refusals(weight: Tensor) -> None:
    with pytest.raises(ArgumentError, match=r"rank from 1 to 32 here \(it takes 2·rank singular vectors\), got 33"):
        adapters.lora_ga(weight, weight, 33, SCALE)
    with pytest.raises(ArgumentError, match="the gradient is zero"):
        adapters.lora_ga(weight, torch.zeros(64, 96), RANK, SCALE)
    with pytest.raises(UnknownNameError, match="direction 'up'"):
        adapters.lora_ga(weight, weight, RANK, SCALE, direction="up")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="needs a stream"):
        adapters.lora_ga(weight, weight, RANK, SCALE, direction="random")


@pytest.mark.parametrize("method", ["pissa", "olora", "mica"])
def test_stacked_matrices_are_treated_one_by_one(method: str) -> None:
    stacked = torch.randn(3, 12, 10, generator=torch.Generator().manual_seed(0))
    function = getattr(adapters, method)
    rest = () if method == "mica" else (SCALE,)
    together = function(stacked, 4, *rest)
    for number, single in enumerate(stacked):
        alone = function(single, 4, *rest)
        close(together.a[number], alone.a)
        close(together.b[number], alone.b)


def test_float64_stays_and_halves_are_computed_in_float32(weight: Tensor) -> None:
    assert adapters.pissa(weight.double(), RANK, SCALE).a.dtype == torch.float64
    double = adapters.pissa(weight.double(), RANK, SCALE)
    assert float((double.effective(weight.double(), SCALE) - weight.double()).norm()) < 1e-14
    half = weight.bfloat16()
    assert torch.equal(adapters.pissa(half, RANK, SCALE).a, adapters.pissa(half.float(), RANK, SCALE).a)


@pytest.mark.parametrize("method", ["pissa", "olora", "loftq"])
def test_weights_and_ranks_that_cannot_be(weight: Tensor, method: str) -> None:
    function = getattr(adapters, method)
    with pytest.raises(ArgumentError, match=f"{method} needs a rank from 1 to 64 here .*, got 65"):
        function(weight, 65, SCALE)
    with pytest.raises(ArgumentError, match="got 0"):
        function(weight, 0, SCALE)
    with pytest.raises(DataError, match=f"{method}: the weight of shape .64, 96. holds 1 non-finite values"):
        function(weight.index_put((torch.tensor(3), torch.tensor(4)), torch.tensor(torch.nan)), RANK, SCALE)
    with pytest.raises(ArgumentError, match="dequantise it first"):
        function(weight.to(torch.int8), RANK, SCALE)
    with pytest.raises(ArgumentError, match=r"got shape \[96\]"):
        function(weight[0], RANK, SCALE)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_to_divide_by_must_be_positive(weight: Tensor, scale: float) -> None:
    with pytest.raises(ArgumentError, match="must be positive and finite"):
        adapters.pissa(weight, RANK, scale)


def test_plain_factors_are_the_difference(weight: Tensor) -> None:
    start = adapters.pissa(weight, RANK, SCALE)
    trained = adapters.Factors(start.a + 0.1, start.b - 0.2)
    plain = adapters.plain_factors(trained, start)
    assert plain.rank == 2 * RANK
    assert start.residual is not None
    close(weight + plain.product(SCALE), start.residual + trained.product(SCALE))
    with pytest.raises(ArgumentError, match="differ in shape"):
        adapters.plain_factors(trained, adapters.pissa(weight, 4, SCALE))


@pytest.mark.parametrize(
    ("kind", "shape", "groups"),
    [
        ("rows", (6, 8), 1),
        ("columns", (8, 6), 1),
        ("convolution", (6, 4, 3, 3), 2),
        ("experts", (3, 6, 8), 1),
        ("expert columns", (3, 8, 6), 1),
    ],
)
def test_layouts_invert(kind: str, shape: tuple[int, ...], groups: int) -> None:
    layout = Layout(kind, shape, groups)  # type: ignore[arg-type]
    stored = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    assert torch.equal(layout.weight(layout.matrices(stored)), stored)
    assert len(layout.matrices(stored)) == layout.count
