"""Where torch refuses or warns, so do we: same type, same words."""

import functools
import math
import warnings

import numpy as np
import pytest
import torch

import fanin.torch.init as init
from fanin.errors import ArgumentError, UnknownNameError

TORCH = torch.nn.init
inf, nan = math.inf, math.nan
square = functools.partial(torch.zeros, 3, 3)


def outcome(module, call):
    """(exception type, text) or None, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call(module)
            raised = None
        except Exception as error:
            raised = (type(error), str(error))
    return raised, [(w.category, str(w.message)) for w in caught]


REFUSED = {
    "uniform a > b": lambda m: m.uniform_(square(), 2, 1),
    "uniform beyond float16": lambda m: m.uniform_(square(dtype=torch.float16), 0, 1e6),
    "uniform too wide": lambda m: m.uniform_(square(), -3e38, 3e38),
    "uniform nan": lambda m: m.uniform_(square(), 0, nan),
    "uniform integers": lambda m: m.uniform_(square(dtype=torch.int64)),
    "uniform text": lambda m: m.uniform_(square(), "0"),
    "uniform expanded": lambda m: m.uniform_(torch.zeros(1).expand(3)),
    "uniform wrong generator": lambda m: m.uniform_(square(), generator=3),
    "normal negative std": lambda m: m.normal_(square(), 0, -1),
    "normal negative std, leaf": lambda m: m.normal_(square(requires_grad=True), 0, -1),
    "normal negative std, meta": lambda m: m.normal_(square(device="meta"), 0, -1),
    "normal negative std, empty": lambda m: m.normal_(torch.zeros(0), 0, -1),
    "normal nan std": lambda m: m.normal_(square(), 0, nan),
    "normal text": lambda m: m.normal_(square(), 0, "1"),
    "normal integers": lambda m: m.normal_(square(dtype=torch.int64)),
    "normal bool": lambda m: m.normal_(square(dtype=torch.bool)),
    "normal float8": lambda m: m.normal_(square(dtype=torch.float8_e4m3fn)),
    "normal expanded": lambda m: m.normal_(torch.zeros(1).expand(3)),
    "normal sparse layout": lambda m: m.normal_(torch.eye(3).to_sparse()),
    "trunc a > b": lambda m: m.trunc_normal_(square(), a=2, b=1),
    "trunc integers": lambda m: m.trunc_normal_(square(dtype=torch.int64)),
    "trunc complex": lambda m: m.trunc_normal_(square(dtype=torch.complex64)),
    "constant text": lambda m: m.constant_(square(), "a"),
    "constant None": lambda m: m.constant_(square(), None),
    "constant complex into real": lambda m: m.constant_(square(), 1j),
    "eye 1-D": lambda m: m.eye_(torch.zeros(3)),
    "dirac 2-D": lambda m: m.dirac_(square()),
    "dirac groups": lambda m: m.dirac_(torch.zeros(4, 2, 3), 3),
    "dirac no groups": lambda m: m.dirac_(torch.zeros(4, 2, 3), 0),
    "dirac meta groups": lambda m: m.dirac_(torch.zeros(4, 2, 3, device="meta"), 3),
    "xavier uniform 1-D": lambda m: m.xavier_uniform_(torch.zeros(3)),
    "xavier normal 0-D": lambda m: m.xavier_normal_(torch.zeros(())),
    "xavier uniform gain": lambda m: m.xavier_uniform_(square(), -1),
    "xavier normal gain": lambda m: m.xavier_normal_(square(), -1.0),
    "xavier no fans": lambda m: m.xavier_uniform_(torch.zeros(0, 0)),
    "kaiming uniform 1-D": lambda m: m.kaiming_uniform_(torch.zeros(3)),
    "kaiming normal 1-D": lambda m: m.kaiming_normal_(torch.zeros(3)),
    "kaiming mode": lambda m: m.kaiming_normal_(square(), mode="fan_avg"),
    "kaiming uniform mode": lambda m: m.kaiming_uniform_(square(), mode="FAN"),
    "kaiming mode before slope": lambda m: m.kaiming_uniform_(square(), a="x", mode="y"),
    "kaiming slope": lambda m: m.kaiming_normal_(square(), a="x"),
    "kaiming bool slope": lambda m: m.kaiming_uniform_(square(), a=True),
    "kaiming nonlinearity": lambda m: m.kaiming_normal_(square(), nonlinearity="no such"),
    "kaiming integers": lambda m: m.kaiming_normal_(square(dtype=torch.int64)),
    "kaiming uniform integers": lambda m: m.kaiming_uniform_(square(dtype=torch.int64)),
    "orthogonal 1-D": lambda m: m.orthogonal_(torch.zeros(3)),
    "orthogonal complex": lambda m: m.orthogonal_(square(dtype=torch.complex64)),
    "orthogonal integers": lambda m: m.orthogonal_(square(dtype=torch.int64)),
    "orthogonal expanded": lambda m: m.orthogonal_(torch.zeros(1, 3).expand(3, 3)),
    "sparse 1-D": lambda m: m.sparse_(torch.zeros(3), 0.5),
    "sparse std": lambda m: m.sparse_(square(), 0.5, -1),
    "sparse integers": lambda m: m.sparse_(square(dtype=torch.int64), 0.5),
    "gain unknown": lambda m: m.calculate_gain("no such"),
    "gain None": lambda m: m.calculate_gain(None),
    "gain number": lambda m: m.calculate_gain(3),
    "gain bool slope": lambda m: m.calculate_gain("leaky_relu", True),
    "gain text slope": lambda m: m.calculate_gain("leaky_relu", "x"),
    "missing argument": lambda m: m.constant_(square()),
    "unknown argument": lambda m: m.normal_(square(), sigma=1),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
def test_refusals_are_those_of_torch(call):
    theirs, ours = outcome(TORCH, call), outcome(init, call)
    assert theirs[0] is not None
    assert ours == theirs


ACCEPTED = {
    "uniform a = b": lambda m: m.uniform_(square(), 1, 1),
    "bool numbers": lambda m: m.normal_(square(), True, True),
    "numpy numbers": lambda m: m.normal_(square(), np.float32(1), np.int64(2)),
    "tensor numbers": lambda m: m.uniform_(square(), torch.tensor(0.0), torch.tensor(1)),
    "infinite mean": lambda m: m.normal_(square(), inf),
    "trunc infinite bounds": lambda m: m.trunc_normal_(square(), a=-inf, b=inf),
    "trunc a = b": lambda m: m.trunc_normal_(square(), a=0.5, b=0.5),
    "trunc empty": lambda m: m.trunc_normal_(torch.zeros(0)),
    "trunc far mean": lambda m: m.trunc_normal_(square(), mean=5.0),
    "trunc far mean below": lambda m: m.trunc_normal_(square(), mean=-5.0),
    "trunc near mean": lambda m: m.trunc_normal_(square(), mean=3.9),
    "trunc far mean, meta": lambda m: m.trunc_normal_(square(device="meta"), mean=5.0),
    "kaiming uniform empty": lambda m: m.kaiming_uniform_(torch.zeros(0, 3)),
    "kaiming normal empty": lambda m: m.kaiming_normal_(torch.zeros(3, 0)),
    "kaiming empty 1-D": lambda m: m.kaiming_normal_(torch.zeros(0)),
    "xavier empty": lambda m: m.xavier_uniform_(torch.zeros(0, 3)),
    "orthogonal empty": lambda m: m.orthogonal_(torch.zeros(0, 3)),
    "sparse empty": lambda m: m.sparse_(torch.zeros(0, 3), 0.5),
    "sparse no columns": lambda m: m.sparse_(torch.zeros(3, 0), 0.5),
    "orthogonal no gain": lambda m: m.orthogonal_(square(), 0),
    "orthogonal negative gain": lambda m: m.orthogonal_(square(), -2),
    "constant into integers": lambda m: m.constant_(square(dtype=torch.int64), 0.5),
    "upper-case mode": lambda m: m.kaiming_uniform_(square(), mode="FAN_OUT"),
}


@pytest.mark.parametrize("call", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_torch_accepts_is_accepted_with_its_warnings(call):
    theirs, ours = outcome(TORCH, call), outcome(init, call)
    assert theirs[0] is None
    assert ours == theirs


@pytest.mark.parametrize(
    "call",
    [
        lambda: init.trunc_normal_(torch.zeros(3), mean=9.0),
        lambda: init.kaiming_normal_(torch.zeros(0, 3)),
        lambda: init.lecun_normal_(torch.zeros(0, 3)),
        lambda: init.lecun_uniform_(torch.zeros(0, 3)),
        lambda: init.variance_scaling_(torch.zeros(0, 3)),
    ],
)
def test_warnings_point_at_the_caller(call):
    with pytest.warns(UserWarning, match="mean is more than 2 std|zero-element") as caught:
        call()
    assert caught[0].filename == __file__


# Where we differ on purpose (docs/torch-init.md)


def test_truncated_normal_without_spread_is_the_nearest_allowed_value():
    with pytest.raises(ZeroDivisionError):
        TORCH.trunc_normal_(torch.zeros(3), 1.0, 0.0)
    assert init.trunc_normal_(torch.zeros(3), 1.0, 0.0).tolist() == [1.0] * 3
    with pytest.warns(UserWarning, match="mean is more than 2 std"):
        assert init.trunc_normal_(torch.zeros(3), 5.0, 0.0).tolist() == [2.0] * 3


def test_truncated_normal_refuses_a_negative_std():
    with pytest.raises(RuntimeError, match=r"^normal expects std >= 0.0, but found std -1$"):
        init.trunc_normal_(torch.zeros(3, requires_grad=True), std=-1)


@pytest.mark.parametrize("sparsity", [-0.1, 1.5, nan])
def test_sparse_refuses_impossible_fractions(sparsity):
    with pytest.raises(ArgumentError, match=rf"^sparsity must be from 0 to 1, got {sparsity}$"):
        init.sparse_(square(), sparsity)


def test_orthogonal_takes_half_precision_and_channels_last():
    with pytest.raises(NotImplementedError):
        TORCH.orthogonal_(square(dtype=torch.bfloat16))
    init.orthogonal_(square(dtype=torch.bfloat16))
    kernel = torch.zeros(4, 3, 3, 3).to(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        TORCH.orthogonal_(kernel)
    gram = init.orthogonal_(kernel).flatten(1) @ kernel.flatten(1).T
    torch.testing.assert_close(gram, torch.eye(4))


# What torch lacks

OURS = {
    "lecun 1-D": (
        lambda: init.lecun_normal_(torch.zeros(3)),
        ValueError,
        "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions",
    ),
    "scale": (
        lambda: init.variance_scaling_(square(), -1.0),
        ArgumentError,
        "variance_scaling: scale must not be negative, got -1.0",
    ),
    "mode": (
        lambda: init.variance_scaling_(square(), mode="fan"),
        UnknownNameError,
        "unknown mode 'fan'",
    ),
    "distribution": (
        lambda: init.variance_scaling_(square(), distribution="cauchy"),
        UnknownNameError,
        "unknown distribution 'cauchy'",
    ),
    "truncated std": (
        lambda: init.truncated_normal_(square(), std=-1.0),
        ArgumentError,
        "TruncatedNormal: std must not be negative, got -1.0",
    ),
    "delta 1-D": (
        lambda: init.delta_orthogonal_(torch.zeros(3)),
        ValueError,
        "Only tensors with 2 or more dimensions are supported",
    ),
    "delta groups": (
        lambda: init.delta_orthogonal_(torch.zeros(4, 2, 3), groups=3),
        ArgumentError,
        "3 groups do not divide the 4 outputs of shape (4, 2, 3)",
    ),
    "rows 1-D": (
        lambda: init.row_normalized_(torch.zeros(3)),
        ValueError,
        "Only tensors with 2 or more dimensions are supported",
    ),
    "identity 1-D": (
        lambda: init.identity_(torch.zeros(3)),
        ValueError,
        "Only tensors with 3, 4, or 5 dimensions are supported",
    ),
}


@pytest.mark.parametrize(("call", "kind", "text"), OURS.values(), ids=OURS.keys())
def test_own_refusals(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(text)
