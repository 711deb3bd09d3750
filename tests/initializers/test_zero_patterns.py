"""Initializers that are mostly zero: sparse, identity, dirac; and rows of one length."""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
import pytest
import torch

from fanin.errors import ArgumentError
from fanin.initializers import Dirac, Identity, RowNormalized, Sparse


@pytest.mark.parametrize("sparsity", [0.0, 0.07, 0.1, 0.5, 0.51, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("shape", [(100, 60), (7, 300), (1, 5), (257, 129)])
def test_each_column_has_exactly_its_zeros(fill, shape, sparsity):
    zeros = (fill(Sparse(sparsity), shape) == 0).sum(axis=0)
    torchs = (torch.nn.init.sparse_(torch.empty(shape), sparsity) == 0).sum(0)
    assert set(zeros) == set(torchs.tolist()) == {ceil(sparsity * shape[0])}


def test_zeros_along_the_chosen_rows_of_each_matrix(fill):
    assert set((fill(Sparse(0.25, rows=(1,)), (30, 40)) == 0).sum(axis=1)) == {10}
    assert set((fill(Sparse(0.25, rows=(2,), batch=(0,)), (3, 30, 40)) == 0).sum(axis=2).ravel()) == {10}


@pytest.mark.parametrize("sparsity", [0.2, 0.8])
def test_zeros_are_equally_likely_everywhere_and_independent(fill, sparsity):
    zero = fill(Sparse(sparsity), (10, 40_000)) == 0
    expected, error = sparsity, sqrt(sparsity * (1 - sparsity) / 40_000)
    assert np.abs(zero.mean(axis=1) - expected).max() < 5 * error
    count = ceil(sparsity * 10)
    both = (zero[:, None] & zero[None]).mean(axis=2)[~np.eye(10, dtype=bool)]
    pair = count * (count - 1) / 90
    assert np.abs(both - pair).max() < 5 * sqrt(pair * (1 - pair) / 40_000)
    neighbours = (zero[:, 1:] & zero[:, :-1]).mean(axis=1)
    assert np.abs(neighbours - sparsity**2).max() < 5 * sqrt(sparsity**2 / 39_999)


@pytest.mark.parametrize("sparsity", [0.005, 0.1, 0.5, 0.9])
def test_zeros_of_tall_columns_are_equally_likely_everywhere(fill, sparsity):
    rows, columns = 1000, 3000
    zero = fill(Sparse(sparsity), (rows, columns)) == 0
    spread = columns * sparsity * (1 - sparsity)
    chi_square = ((zero.sum(axis=1) - columns * sparsity) ** 2).sum() / spread * (rows - 1) / rows
    assert abs(chi_square - (rows - 1)) < 5 * sqrt(2 * (rows - 1))
    pair = sparsity * (rows * sparsity - 1) / (rows - 1)
    for apart in (1, 16, 500):
        both = (zero[apart:] & zero[:-apart]).sum()
        count = (rows - apart) * columns
        assert abs(both - count * pair) < 5 * sqrt(count * pair)


def test_the_kept_values_are_normal_and_not_chosen_by_size(fill):
    values = fill(Sparse(0.9, std=0.5), (1000, 600), "float64")
    kept = values[values != 0]
    assert kept.size == 100 * 600
    assert abs(kept.std() - 0.5) < 5 * 0.5 / sqrt(2 * kept.size)
    assert abs((kept**4).mean() - 3 * 0.5**4) < 5 * sqrt(96) * 0.5**4 / sqrt(kept.size)


def test_which_values_are_kept_has_nothing_to_do_with_the_values(fill):
    # In a column of two, one word chooses the row; the same word must not make the value too.
    pairs = np.stack([fill(Sparse(0.5, std=1.0), (2, 1), name=f"{i}")[:, 0] for i in range(4000)])
    kept_first, kept = pairs[:, 0] != 0, pairs.sum(axis=1)
    assert abs((kept**2).mean() - 1) < 5 * sqrt(2 / 4000)
    assert abs(np.corrcoef(kept_first, kept)[0, 1]) < 5 / sqrt(4000)
    assert abs(np.corrcoef(kept_first, kept**2)[0, 1]) < 5 / sqrt(4000)
    assert abs(np.corrcoef(kept_first, np.abs(kept))[0, 1]) < 5 / sqrt(4000)


def test_identity_returns_its_input_cut_or_padded(fill):
    x = np.arange(1.0, 6.0)
    np.testing.assert_array_equal(fill(Identity(), (3, 5)) @ x, [1, 2, 3])
    np.testing.assert_array_equal(fill(Identity(gain=2.0), (7, 5)) @ x, [2, 4, 6, 8, 10, 0, 0])
    stacked = fill(Identity(batch=(0,)), (2, 5, 5))
    np.testing.assert_array_equal(stacked @ x, [x, x])


@pytest.mark.parametrize("shape", [(3,), (3, 3, 3), ()])
def test_identity_of_something_else_is_refused(fill, shape):
    with pytest.raises(ArgumentError, match="Identity needs a matrix"):
        fill(Identity(), shape)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel", [(1,), (4,), (3, 2), (2, 5), (2, 3, 4)])
def test_a_dirac_convolution_is_the_exact_identity(fill, kernel, groups):
    conv_type = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[len(kernel) - 1]
    conv = conv_type(8, 8, kernel, padding="same", groups=groups, bias=False)
    weight = fill(Dirac(groups=groups), tuple(conv.weight.shape)).astype(np.float32)
    conv.weight.data = torch.from_numpy(weight)
    x = torch.randn(2, 8, *(7,) * len(kernel))
    assert torch.equal(conv(x), x)


def test_dirac_keeps_the_first_channels_of_each_group(fill):
    fewer = torch.nn.Conv1d(8, 4, 3, padding=1, groups=2, bias=False)
    fewer.weight.data = torch.from_numpy(fill(Dirac(groups=2), (4, 4, 3)).astype(np.float32))
    x = torch.randn(1, 8, 9)
    assert torch.equal(fewer(x), x[:, [0, 1, 4, 5]])
    turned = torch.nn.ConvTranspose1d(4, 8, 3, padding=1, groups=2, bias=False)
    turned.weight.data = torch.from_numpy(fill(Dirac(groups=2), (4, 4, 3)).astype(np.float32))
    y = torch.randn(1, 4, 9)
    assert torch.equal(turned(y)[:, [0, 1, 4, 5]], y)
    assert (turned(y)[:, [2, 3, 6, 7]] == 0).all()


@pytest.mark.parametrize(("shape", "groups"), [((8, 4, 3), 2), ((6, 6, 4), 1), ((4, 8, 2, 4), 1), ((6, 2, 1, 2, 3), 3)])
def test_the_torch_centre_is_torchs(fill, shape, groups):
    expected = torch.nn.init.dirac_(torch.empty(shape), groups).numpy()
    np.testing.assert_array_equal(fill(Dirac(groups=groups, centre="torch"), shape), expected)


@pytest.mark.parametrize(
    ("law", "shape", "text"),
    [
        (Dirac(groups=3), (4, 4, 3), "Dirac: 3 groups do not divide dimension 0 of shape (4, 4, 3)"),
        (Dirac(), (4,), "Dirac needs channel dimensions (0, 1), got shape (4,)"),
        (Dirac(channels=(0, 3)), (4, 4, 3), "Dirac needs channel dimensions (0, 3), got shape (4, 4, 3)"),
        (Sparse(0.5), (4,), "Sparse with rows (0,) and batch () needs a tensor with these dimensions"),
        (RowNormalized(), (4,), "RowNormalized with rows (0,) and batch () needs a tensor with these dimensions"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(fill, law, shape, text):
    for attempt in (fill, lambda law, shape: law.moments(shape)):
        with pytest.raises(ArgumentError) as caught:
            attempt(law, shape)
        assert text in str(caught.value)


def test_every_row_has_the_same_length(fill):
    rows = fill(RowNormalized(0.01), (30, 4, 3, 3)).reshape(30, -1)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 0.01, rtol=1e-6)
    columns = fill(RowNormalized(2.0, rows=(1,)), (40, 6), "float64")
    np.testing.assert_allclose(np.linalg.norm(columns, axis=0), 2.0, rtol=1e-14)


def test_rows_are_uniform_on_the_sphere(fill):
    rows = fill(RowNormalized(), (50_000, 5), "float64")
    assert np.abs(rows.mean(axis=0)).max() < 5 / sqrt(5 * 50_000)
    assert np.abs((rows**4).mean(axis=0) - 3 / 35).max() < 5 * (rows**4).std() / sqrt(50_000)
