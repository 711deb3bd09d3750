"""Orthogonal matrices: the Haar law, orthonormality, and the layouts they are put into."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch

from fanin import random
from fanin.errors import ArgumentError
from fanin.initializers import DeltaOrthogonal, Orthogonal
from fanin.initializers.haar_kernels import reflect
from fanin.random import Region, Stream

SAMPLES = 8_000


def standard_errors(samples, expected):
    """How many standard errors the mean of `samples` is away from `expected`."""
    return abs(samples.mean() - expected) / (samples.std() / sqrt(samples.size))


@pytest.fixture(scope="module")
def haar():
    """Many Haar matrices of O(n)."""

    def draw(rows, columns, seed=0):
        shape = (SAMPLES, rows, columns)
        out = np.empty(shape)
        Orthogonal(batch=(0,), rows=(1,)).fill(out, Stream.named(seed, "haar"), Region.whole(shape))
        return out

    return draw


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_moments_of_the_haar_law(haar, n):
    q = haar(n, n)
    trace = np.trace(q, axis1=1, axis2=2)
    assert standard_errors(trace, 0.0) < 5
    assert np.abs((trace**2).mean() - 1) <= 5 * (trace**2).std() / sqrt(SAMPLES) + 1e-12
    assert np.abs(np.trace(q @ q, axis1=1, axis2=2).mean() - 1) <= 5 * n / sqrt(SAMPLES) * (n > 1) + 1e-12
    means = q.mean(axis=0)
    assert np.abs(means).max() < 5 / sqrt(n * SAMPLES)
    fourth = (q**4).mean(axis=0)
    assert np.abs(fourth - 3 / (n * (n + 2))).max() <= 5 * (q**4).std() / sqrt(SAMPLES) + 1e-12


def test_second_order_correlations_of_the_haar_law(haar):
    n, q = 5, haar(5, 5, seed=1)
    corner = (q[:, 0, 0] * q[:, 4, 4]) ** 2
    assert standard_errors(corner, (n + 1) / (n * (n - 1) * (n + 2))) < 5
    assert standard_errors((q[:, 0, 0] * q[:, 0, 4]) ** 2, 1 / (n * (n + 2))) < 5
    assert standard_errors(q[:, 0, 0] * q[:, 1, 1] * q[:, 0, 1] * q[:, 1, 0], -1 / (n * (n - 1) * (n + 2))) < 5
    assert standard_errors(np.linalg.det(q), 0.0) < 5


def test_eigenangles_of_the_haar_law(haar):
    # Diaconis & Shahshahani 1994: traces of powers of O(n) matrices are nearly N(η, j), η = 1 for even j.
    q, power = haar(8, 8, seed=2), np.eye(8)
    for j in (1, 2, 3):
        power = power @ q
        trace = np.trace(power, axis1=1, axis2=2)
        assert standard_errors(trace, 1 - j % 2) < 5
        assert standard_errors((trace - (1 - j % 2)) ** 2, j) < 5


def test_multiplying_by_a_fixed_rotation_changes_nothing(haar):
    q = haar(4, 4, seed=3)
    fixed, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))
    for turned in (q @ fixed, fixed @ q):
        assert np.abs(turned.mean(axis=0)).max() < 5 / sqrt(4 * SAMPLES)
        assert np.abs((turned**4).mean(axis=0) - 3 / 24).max() < 5 * (q**4).std() / sqrt(SAMPLES)


@pytest.mark.parametrize(("rows", "columns"), [(6, 2), (2, 6)])
def test_moments_of_rectangular_frames(haar, rows, columns):
    q = haar(rows, columns)
    assert np.abs(q.mean(axis=0)).max() < 5 / sqrt(6 * SAMPLES)
    assert np.abs((q**4).mean(axis=0) - 3 / (6 * 8)).max() < 5 * (q**4).std() / sqrt(SAMPLES)


def test_without_the_sign_per_column_the_law_would_be_wrong(haar):
    # H₁ … H_p alone have the first column −sign(x₀)·x/‖x‖, and the sign of x₀ is that of the Haar entry.
    q = haar(6, 6)
    unsigned = -np.sign(q[:, 0, 0]) * q[:, 0, 0]
    assert standard_errors(unsigned, 0.0) > 100


@pytest.mark.parametrize(("n", "p"), [(1, 1), (7, 3), (64, 64), (65, 65), (129, 128), (200, 70), (71, 70)])
def test_it_is_the_q_of_the_streams_gaussian_reflections(n, p, fill):
    shape = (1, p, n)
    x = np.empty(shape)
    random.normal(x, Stream.named(0, "w"), Region.whole(shape), 0.0, 1.0)
    expected = np.eye(n, p)
    for j in reversed(range(p)):
        v = np.concatenate([np.zeros(j), x[0, j, j:]])
        sign = np.sign(v[j])
        v[j] += sign * np.linalg.norm(v)
        expected -= 2 * np.outer(v, v @ expected) / (v @ v)
        expected[:, j] *= -sign
    np.testing.assert_allclose(fill(Orthogonal(), (n, p), "float64"), expected, atol=1e-13)
    if p < n:
        np.testing.assert_allclose(fill(Orthogonal(), (p, n), "float64"), expected.T, atol=1e-13)
    np.testing.assert_allclose(fill(Orthogonal(gain=3.0), (n, p), "float32"), 3 * expected, atol=2e-2)


def test_a_gaussian_vector_of_zeros_still_gives_a_reflection():
    v, minus_vt, signs = np.zeros((64, 8)), np.zeros((8, 64)), np.zeros(1)
    reflect(np.zeros((1, 1)), v, minus_vt, signs)
    assert v[0, 0] ** 2 == pytest.approx(2)
    assert minus_vt[0, 0] == -v[0, 0]


@pytest.mark.parametrize(
    ("dtype", "error"), [("float64", 2e-14), ("float32", 2e-6), ("float16", 2e-3), ("bfloat16", 2e-2)]
)
@pytest.mark.parametrize("shape", [(300, 300), (1, 10), (10, 1), (513, 130), (3, 700)])
def test_the_shorter_side_is_orthonormal(fill, shape, dtype, error):
    w = fill(Orthogonal(gain=1.5), shape, dtype)
    gram = w @ w.T if shape[0] <= shape[1] else w.T @ w
    assert np.abs(gram - 2.25 * np.eye(min(shape))).max() < 2.25 * error


def test_gram_error_of_a_big_matrix(fill):
    w = fill(Orthogonal(), (1500, 1500), "float32")
    assert np.abs(w.T @ w - np.eye(1500)).max() < 1e-5


def test_each_gate_of_a_stack_is_orthogonal(fill):
    w = fill(Orthogonal(groups=4), (4 * 30, 30)).reshape(4, 30, 30)
    np.testing.assert_allclose(w @ w.transpose(0, 2, 1), np.broadcast_to(np.eye(30), (4, 30, 30)), atol=2e-6)
    assert np.abs(w[0] @ w[1].T - np.eye(30)).max() > 0.1


def test_each_expert_and_group_is_orthogonal_in_its_own_layout(fill):
    experts = fill(Orthogonal(rows=(2,), batch=(0,)), (5, 12, 20))  # stored [expert, in, out]
    np.testing.assert_allclose(experts @ experts.transpose(0, 2, 1), np.tile(np.eye(12), (5, 1, 1)), atol=2e-6)
    transposed = fill(Orthogonal(rows=(1,), groups=2), (8, 3, 2, 2))  # ConvTranspose2d 8 → 6, two groups
    for group in transposed.reshape(2, 4, 3, 2, 2):
        flat = group.transpose(1, 0, 2, 3).reshape(3, 16)
        np.testing.assert_allclose(flat @ flat.T, np.eye(3), atol=2e-6)


def test_torchs_flattening_is_the_default(fill):
    w = fill(Orthogonal(), (6, 2, 3, 3)).reshape(6, 18)
    np.testing.assert_allclose(w @ w.T, np.eye(6), atol=2e-6)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(6, 6, 1), (6, 10, 1), (8, 8, 4), (4, 12, 2)])
def test_a_delta_orthogonal_convolution_keeps_every_norm(fill, kernel, inputs, outputs, groups):
    conv = torch.nn.Conv2d(inputs, outputs, kernel, padding="same", groups=groups, bias=False, dtype=torch.float64)
    law = DeltaOrthogonal(gain=0.5, groups=groups)
    conv.weight.data = torch.from_numpy(fill(law, tuple(conv.weight.shape), "float64"))
    x = torch.randn(3, inputs, 7, 8, dtype=torch.float64)
    ratio = conv(x).square().sum((1, 2, 3)) / x.square().sum((1, 2, 3))
    torch.testing.assert_close(ratio, torch.full((3,), 0.25, dtype=torch.float64))


def test_with_fewer_outputs_the_gradient_keeps_its_norm(fill):
    conv = torch.nn.Conv2d(12, 5, 3, padding="same", bias=False, dtype=torch.float64)
    conv.weight.data = torch.from_numpy(fill(DeltaOrthogonal(), (5, 12, 3, 3), "float64"))
    x = torch.randn(400, 12, 6, 6, dtype=torch.float64, requires_grad=True)
    y = conv(x)
    assert abs(y.square().mean().item() * 5 / (x.square().mean().item() * 12) - 5 / 12) < 0.02
    sent = torch.randn_like(y)
    (back,) = torch.autograd.grad(y, x, sent)
    torch.testing.assert_close(back.square().sum((1, 2, 3)), sent.square().sum((1, 2, 3)))


def test_a_delta_orthogonal_transposed_convolution_keeps_every_norm(fill):
    conv = torch.nn.ConvTranspose2d(8, 8, 3, padding=1, groups=2, bias=False, dtype=torch.float64)
    law = DeltaOrthogonal(rows=(1,), columns=(0,), groups=2)
    conv.weight.data = torch.from_numpy(fill(law, tuple(conv.weight.shape), "float64"))
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(conv(x).norm(), x.norm())


@pytest.mark.parametrize(
    ("law", "shape", "text"),
    [
        (
            Orthogonal(),
            (5,),
            "Orthogonal with rows (0,) and batch () needs a tensor with these dimensions and at least one",
        ),
        (Orthogonal(rows=(3,)), (5, 5), "got shape (5, 5)"),
        (Orthogonal(rows=()), (5, 5), "Orthogonal with rows ()"),
        (Orthogonal(groups=3), (5, 5), "Orthogonal: 3 groups do not divide dimension 0 of shape (5, 5)"),
        (Orthogonal(groups=2, batch=(0,), rows=(1,)), (4, 4, 4), "dimension 0 of shape (4, 4, 4) cannot be split"),
        (DeltaOrthogonal(), (5,), "DeltaOrthogonal with rows (0,), columns (1,) and batch () needs a tensor"),
        (DeltaOrthogonal(groups=2), (5, 2, 3), "2 groups do not divide dimension 0 of shape (5, 2)"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(fill, law, shape, text):
    for attempt in (fill, lambda law, shape: law.moments(shape)):
        with pytest.raises(ArgumentError) as caught:
            attempt(law, shape)
        assert text in str(caught.value)
