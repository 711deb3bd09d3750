"""Schemes: formulas, names, errors, and which dimensions reach the matrix initializers."""

from __future__ import annotations

from math import ceil, inf, nan, sqrt

import pytest
import torch

from fanin import schemes
from fanin.axes import Axes
from fanin.errors import ArgumentError, UnknownNameError
from fanin.initializers import DeltaOrthogonal, Dirac, Identity, Normal, Orthogonal, TruncatedNormal, Uniform

LINEAR = Axes.linear((64, 256))
GROUPED = Axes.conv((64, 4, 3, 3), groups=8)
TRANSPOSED = Axes.conv_transpose((64, 16, 4, 4), groups=2, stride=4)
CONV1D = Axes((256, 64), outputs=(1,), inputs=(0,))
EXPERTS = Axes((8, 64, 256), outputs=(1,), inputs=(2,), batch=(0,))

FANS = [(LINEAR, 256, 64), (GROUPED, 36, 72), (TRANSPOSED, 128, 256), (CONV1D, 256, 64), (EXPERTS, 256, 64)]
every_layout = pytest.mark.parametrize(("axes", "fan_in", "fan_out"), FANS)


@every_layout
@pytest.mark.parametrize("gain", [1.0, 1.7])
def test_std_of_every_variance_scheme(axes, fan_in, fan_out, gain):
    def std(law):
        assert law.moments(axes.shape)[0] == 0
        return law.moments(axes.shape)[1]

    average = (fan_in + fan_out) / 2
    for law, expected in [
        (schemes.xavier_normal(axes, gain), gain / sqrt(average)),
        (schemes.xavier_uniform(axes, gain), gain / sqrt(average)),
        (schemes.he_normal(axes, gain), gain / sqrt(fan_in)),
        (schemes.he_uniform(axes, gain), gain / sqrt(fan_in)),
        (schemes.he_normal(axes, gain, "fan_out"), gain / sqrt(fan_out)),
        (schemes.he_uniform(axes, gain, "fan_out"), gain / sqrt(fan_out)),
        (schemes.lecun_normal(axes, gain), gain / sqrt(fan_in)),
        (schemes.lecun_uniform(axes, gain), gain / sqrt(fan_in)),
        (schemes.standard(axes, gain), gain / sqrt(3 * fan_in)),
    ]:
        assert std(law) == pytest.approx(expected, rel=1e-14)
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": average, "fan_geo_avg": sqrt(fan_in * fan_out)}
    for mode, fan in fans.items():
        for distribution in ("truncated_normal", "normal", "uniform"):
            law = schemes.variance_scaling(axes, 2.5, mode, distribution)
            assert std(law) == pytest.approx(sqrt(2.5 / fan), rel=1e-14)


def test_the_laws_behind_the_names():
    assert isinstance(schemes.xavier_normal(LINEAR), Normal)
    assert isinstance(schemes.he_uniform(LINEAR), Uniform)
    assert schemes.variance_scaling(LINEAR) == TruncatedNormal(std=1 / 16)
    assert schemes.he_normal(LINEAR).std == pytest.approx(0.0883883, abs=1e-7)
    assert schemes.xavier_uniform(LINEAR).high == pytest.approx(0.136931, abs=1e-6)
    assert schemes.normalized is schemes.glorot_uniform is schemes.xavier_uniform
    assert schemes.glorot_normal is schemes.xavier_normal
    assert (schemes.kaiming_uniform, schemes.kaiming_normal) == (schemes.he_uniform, schemes.he_normal)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (schemes.xavier_uniform, torch.nn.init.xavier_uniform_),
        (schemes.he_uniform, lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="relu")),
        (schemes.standard, lambda w: torch.nn.init.kaiming_uniform_(w, a=sqrt(5))),
    ],
)
def test_bounds_are_torchs_for_a_linear_layer(ours, theirs):
    bound = theirs(torch.empty(640, 2560)).abs().max().item()
    assert bound < ours(Axes.linear((640, 2560))).high * (1 + 1e-6)
    assert bound > ours(Axes.linear((640, 2560))).high * 0.9999


def test_identities_between_the_schemes():
    assert schemes.variance_scaling(LINEAR, 1.0, "fan_avg", "uniform") == schemes.xavier_uniform(LINEAR)
    assert schemes.variance_scaling(LINEAR, 1.0, "fan_in", "normal") == schemes.lecun_normal(LINEAR)
    assert schemes.variance_scaling(LINEAR, 2.0, "fan_in", "normal").std == pytest.approx(schemes.he_normal(LINEAR).std)
    assert schemes.he_normal(LINEAR, gain=1.0) == schemes.lecun_normal(LINEAR)


def test_matrix_schemes_map_the_axes():
    assert schemes.orthogonal(LINEAR, 2.0) == Orthogonal(2.0)
    assert schemes.orthogonal(GROUPED) == Orthogonal(groups=8)
    assert schemes.orthogonal(TRANSPOSED) == Orthogonal(rows=(1,), groups=2)
    assert schemes.orthogonal(CONV1D) == Orthogonal(rows=(1,), grouped=1)
    assert schemes.orthogonal(EXPERTS) == Orthogonal(rows=(1,), batch=(0,), grouped=1)
    assert schemes.delta_orthogonal(GROUPED, 0.5) == DeltaOrthogonal(0.5, groups=8)
    assert schemes.delta_orthogonal(TRANSPOSED) == DeltaOrthogonal(rows=(1,), columns=(0,), groups=2)
    assert schemes.dirac(TRANSPOSED, 3.0) == Dirac(3.0, groups=2)
    assert schemes.dirac(CONV1D) == Dirac(channels=(1, 0))
    assert schemes.identity(EXPERTS, 0.5) == Identity(0.5, batch=(0,))
    assert schemes.row_normalized(CONV1D, 0.01).rows == (1,)


@pytest.mark.parametrize("fan", [1, 14, 15, 16, 42, 43, 76, 100, 784, 4097])
def test_sparse_keeps_fifteen_incoming_values(fan):
    law = schemes.sparse(Axes.linear((32, fan)), 2.0)
    kept = fan - ceil(law.sparsity * fan)
    assert kept == min(15, fan)
    assert law.std == 2 / sqrt(kept)
    assert law.moments((32, fan))[1] ** 2 * fan == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda: schemes.he_normal(Axes.linear((5, 0))),
            "fan_in is 0 for a tensor of shape (5, 0) (fan_in 0, fan_out 5)",
        ),
        (lambda: schemes.he_normal(Axes.linear((0, 5)), mode="fan_out"), "fan_out is 0 for a tensor of shape (0, 5)"),
        (lambda: schemes.xavier_normal(Axes.conv((3, 3, 0))), "fan_avg is 0 for a tensor of shape (3, 3, 0)"),
        (lambda: schemes.variance_scaling(Axes.linear((5, 0)), mode="fan_geo_avg"), "fan_geo_avg is 0"),
        (lambda: schemes.variance_scaling(LINEAR, -1.0), "variance_scaling: scale must not be negative, got -1.0"),
        (lambda: schemes.variance_scaling(LINEAR, nan), "variance_scaling: scale must be a finite number, got nan"),
        (lambda: schemes.xavier_uniform(LINEAR, inf), "scheme: gain must be a finite number, got inf"),
        (
            lambda: schemes.sparse(Axes.linear((5, 0))),
            "sparse needs kept ≥ 1, inputs and no groups, got kept 15, shape (5, 0)",
        ),
        (lambda: schemes.sparse(LINEAR, kept=0), "sparse needs kept ≥ 1"),
        (lambda: schemes.sparse(GROUPED), "groups 8"),
        (lambda: schemes.dirac(EXPERTS), "dirac needs one output and one input dimension and no batch"),
    ],
)
def test_impossible_arguments_are_refused(build, text):
    with pytest.raises(ArgumentError) as caught:
        build()
    assert text in str(caught.value)


def test_unknown_modes_and_distributions_are_named():
    with pytest.raises(UnknownNameError, match="unknown mode 'fan_inn'; did you mean 'fan_in'"):
        schemes.he_normal(LINEAR, mode="fan_inn")
    with pytest.raises(UnknownNameError, match="unknown distribution 'gauss'"):
        schemes.variance_scaling(LINEAR, 1.0, "fan_in", "gauss")
