"""What is drawn has the promised law: moments to five standard errors, bounds exactly, Kolmogorov–Smirnov."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import fanin.torch.init as init

SHAPE = (400, 300)
COUNT = 120_000
IN, OUT = 300, 400
ELEMENTWISE = {
    "uniform_": (lambda t, g: init.uniform_(t, -0.3, 0.5, g), stats.uniform(-0.3, 0.8)),
    "normal_": (lambda t, g: init.normal_(t, 0.7, 0.02, g), stats.norm(0.7, 0.02)),
    "trunc_normal_": (lambda t, g: init.trunc_normal_(t, 0.5, 1.0, -1.0, 2.0, g), stats.truncnorm(-1.5, 1.5, 0.5, 1)),
    "trunc_normal_ no cut": (lambda t, g: init.trunc_normal_(t, std=0.02, generator=g), stats.norm(0, 0.02)),
    "trunc_normal_ one side": (
        lambda t, g: init.trunc_normal_(t, a=-math.inf, b=0.5, generator=g),
        stats.truncnorm(-math.inf, 0.5),
    ),
    "trunc_normal_ tail": (lambda t, g: init.trunc_normal_(t, a=1.9, b=2.5, generator=g), stats.truncnorm(1.9, 2.5)),
    "truncated_normal_": (
        lambda t, g: init.truncated_normal_(t, 0.0, 0.02, generator=g),
        stats.truncnorm(-2, 2, 0, 0.02 / 0.87962566103423978),
    ),
    "truncated_normal_ parent": (
        lambda t, g: init.truncated_normal_(t, 1.0, 0.5, -1.0, 3.0, False, g),
        stats.truncnorm(-1, 3, 1.0, 0.5),
    ),
    "xavier_uniform_": (
        lambda t, g: init.xavier_uniform_(t, 1.5, g),
        stats.uniform(-1.5 * math.sqrt(6 / 700), 3 * math.sqrt(6 / 700)),
    ),
    "xavier_normal_": (lambda t, g: init.xavier_normal_(t, 0.5, g), stats.norm(0, 0.5 * math.sqrt(2 / 700))),
    "kaiming_uniform_": (
        lambda t, g: init.kaiming_uniform_(t, math.sqrt(5), generator=g),
        stats.uniform(-1 / math.sqrt(IN), 2 / math.sqrt(IN)),
    ),
    "kaiming_uniform_ fan_out": (
        lambda t, g: init.kaiming_uniform_(t, mode="fan_out", nonlinearity="tanh", generator=g),
        stats.uniform(-5 / 3 * math.sqrt(3 / OUT), 10 / 3 * math.sqrt(3 / OUT)),
    ),
    "kaiming_normal_": (
        lambda t, g: init.kaiming_normal_(t, nonlinearity="relu", generator=g),
        stats.norm(0, math.sqrt(2 / IN)),
    ),
    "kaiming_normal_ fan_out": (
        lambda t, g: init.kaiming_normal_(t, 0.2, "fan_out", generator=g),
        stats.norm(0, math.sqrt(2 / 1.04 / OUT)),
    ),
    "kaiming_normal_ gain": (
        lambda t, g: init.kaiming_normal_(t, generator=g, gain=3.0),
        stats.norm(0, 3 / math.sqrt(IN)),
    ),
    "kaiming_uniform_ gain": (
        lambda t, g: init.kaiming_uniform_(t, mode="fan_out", generator=g, gain=3.0),
        stats.uniform(-3 * math.sqrt(3 / OUT), 6 * math.sqrt(3 / OUT)),
    ),
    "lecun_normal_": (lambda t, g: init.lecun_normal_(t, 0.9, g), stats.norm(0, 0.9 / math.sqrt(IN))),
    "lecun_uniform_": (lambda t, g: init.lecun_uniform_(t, 0.1, g), stats.uniform(-0.01, 0.02)),
    "variance_scaling_": (
        lambda t, g: init.variance_scaling_(t, 1.7, generator=g),
        stats.truncnorm(-2, 2, 0, math.sqrt(1.7 / IN) / 0.87962566103423978),
    ),
    "variance_scaling_ geo": (
        lambda t, g: init.variance_scaling_(t, 2.0, "fan_geo_avg", "normal", g),
        stats.norm(0, math.sqrt(2 / math.sqrt(IN * OUT))),
    ),
    "variance_scaling_ avg": (
        lambda t, g: init.variance_scaling_(t, 2.0, "fan_avg", "uniform", g),
        stats.uniform(-math.sqrt(6 / 350), 2 * math.sqrt(6 / 350)),
    ),
    "variance_scaling_ out": (
        lambda t, g: init.variance_scaling_(t, 2.0, "fan_out", "normal", g),
        stats.norm(0, math.sqrt(2 / OUT)),
    ),
}
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_law(name, dtype):
    fill, law = ELEMENTWISE[name]
    tensor = torch.full(SHAPE, math.nan, dtype=dtype)
    assert fill(tensor, generator()) is tensor
    values = tensor.double().numpy().ravel()
    mean, variance, kurtosis = (float(v) for v in law.stats(moments="mvk"))
    rounding = torch.finfo(dtype).eps * float(max(abs(law.ppf(1e-4)), abs(law.ppf(1 - 1e-4))))
    assert abs(values.mean() - mean) < 5 * math.sqrt(variance / COUNT) + rounding / 100
    assert values.var() == pytest.approx(variance, rel=5 * math.sqrt((kurtosis + 2) / COUNT))
    low, high = (float(torch.tensor(bound, dtype=dtype)) for bound in law.support())
    slack = torch.finfo(torch.float32).eps * max(abs(low), abs(high)) if math.isfinite(low + high) else 0.0
    assert low - slack <= values.min()
    assert values.max() <= high + slack
    if dtype in (torch.float32, torch.float64):
        assert stats.kstest(values, law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
def test_complex_parts_are_as_torch_has_them(dtype):
    normal = init.normal_(torch.empty(SHAPE, dtype=dtype), 0.3, 2.0, generator())
    uniform = init.uniform_(torch.empty(SHAPE, dtype=dtype), 1.0, 2.0, generator())
    for part in (normal.real, normal.imag):
        assert float(part.double().std()) == pytest.approx(math.sqrt(2), rel=5 / math.sqrt(2 * COUNT))
        assert stats.kstest(part.double().numpy().ravel(), stats.norm(0.3, math.sqrt(2)).cdf).pvalue > 1e-4
    for part in (uniform.real, uniform.imag):
        assert stats.kstest(part.double().numpy().ravel(), stats.uniform(1, 1).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(normal.real.ravel(), normal.imag.ravel())[0, 1]) < 5 / math.sqrt(COUNT)
    theirs = torch.nn.init.normal_(torch.empty(SHAPE, dtype=dtype), 0.3, 2.0)
    assert float(normal.imag.std()) == pytest.approx(float(theirs.imag.std()), rel=0.02)
    assert float(normal.imag.mean()) == pytest.approx(float(theirs.imag.mean()), abs=0.05)


@pytest.mark.parametrize("name", ["trunc_normal_ far", "trunc_normal_ far below"])
def test_bounds_far_from_the_mean_are_kept_with_the_right_law(name):
    low, high = (5.0, 6.0) if name == "trunc_normal_ far" else (-6.0, -5.0)
    with pytest.warns(UserWarning, match="mean is more than 2 std"):
        values = init.trunc_normal_(torch.empty(COUNT), a=low, b=high, generator=generator()).double().numpy()
    law = stats.truncnorm(low, high)
    assert low <= values.min() <= values.max() <= high
    assert stats.kstest(values, law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", ["sparse_", "row_normalized_"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_structured_laws(name, dtype):
    tensor = torch.empty(SHAPE, dtype=dtype)
    if name == "sparse_":
        init.sparse_(tensor, 0.3, 0.2, generator())
        assert ((tensor == 0).sum(0) == 120).all()
        values = tensor[tensor != 0].double().numpy()
        assert stats.kstest(values, stats.norm(0, 0.2).cdf).pvalue > 1e-4 or dtype in (torch.float16, torch.bfloat16)
        assert values.std() == pytest.approx(0.2, rel=5 / math.sqrt(2 * len(values)))
        per_row = (tensor == 0).sum(1).double().numpy()
        spread = math.sqrt(IN * 0.3 * 0.7)
        assert abs(per_row - IN * 0.3).max() < 5.5 * spread
        assert per_row.std() == pytest.approx(spread, rel=5 / math.sqrt(2 * OUT))
    else:
        init.row_normalized_(tensor, 0.5, generator())
        norms = tensor.double().norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, 0.5), rtol=2 * torch.finfo(dtype).eps, atol=0)
        assert abs(float(tensor.double().mean())) < 5 * 0.5 / math.sqrt(IN * COUNT)


def test_zeros_per_column_are_as_many_as_torch_makes():
    for rows in (1, 7, 10, 30):
        for sparsity in (0.0, 0.1, 0.5, 0.99, 1.0):
            ours, theirs = init.sparse_(torch.ones(rows, 3), sparsity), torch.ones(rows, 3)
            torch.nn.init.sparse_(theirs, sparsity)
            assert torch.equal((ours == 0).sum(0), (theirs == 0).sum(0))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(48, 48), (20, 70), (70, 20), (16, 4, 3, 3), (8, 8, 3), (5, 1)])
def test_orthogonal(shape, dtype):
    tensor = torch.empty(shape, dtype=dtype)
    assert init.orthogonal_(tensor, 1.5, generator()) is tensor
    matrix = tensor.double().flatten(1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(gram, 2.25 * torch.eye(len(gram)).double(), atol=20 * torch.finfo(dtype).eps, rtol=0)


def test_orthogonal_is_haar():
    source = generator()
    draws = torch.stack([init.orthogonal_(torch.empty(3, 3), generator=source) for _ in range(4000)]).double()
    # A column of a Haar matrix is uniform on the sphere: in three dimensions each Q_ij is U(-1, 1).
    assert draws.mean(0).abs().max() < 5 / math.sqrt(3 * 4000)
    for row in range(3):
        for column in range(3):
            assert stats.kstest(draws[:, row, column].numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert abs(float(torch.linalg.det(draws).mean())) < 5 / math.sqrt(4000)


@pytest.mark.parametrize(("gain", "size"), [(-2.0, 2.0), (0.0, 0.0)])
def test_orthogonal_gain_of_any_sign(gain, size):
    matrix = init.orthogonal_(torch.empty(6, 6), gain)
    torch.testing.assert_close(matrix @ matrix.T, size**2 * torch.eye(6))


@pytest.mark.parametrize("groups", [1, 2])
def test_delta_orthogonal(groups):
    tensor = torch.empty(8, 8 // groups, 3, 5)
    assert init.delta_orthogonal_(tensor, 2.0, groups, generator()) is tensor
    for block in tensor.chunk(groups):
        centre = block[:, :, 1, 2]
        side = centre.T @ centre if groups == 1 else centre @ centre.T
        torch.testing.assert_close(side, 4 * torch.eye(len(side)))
    assert (tensor != 0).sum() == 64 // groups
