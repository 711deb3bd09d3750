"""calculate_gain: torch's table where torch has one, exact gains elsewhere."""

import math

import pytest
import torch
import torch.nn.functional as F

import fanin.torch.init as init

TORCH = torch.nn.init
NAMES = ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
NAMES += ["sigmoid", "tanh", "relu", "leaky_relu", "selu"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("param", [None, 0, 0.2, 3])
def test_table_is_that_of_torch(name, param):
    ours, theirs = init.calculate_gain(name, param), TORCH.calculate_gain(name, param)
    assert ours == theirs
    assert type(ours) is type(theirs)


@pytest.mark.parametrize(
    ("name", "forward"), [("gelu", 1.533530), ("silu", 1.676532), ("mish", 1.486848), ("softsign", 2.337533)]
)
def test_names_torch_does_not_know(name, forward):
    assert init.calculate_gain(name) == pytest.approx(forward, abs=1e-5)


def test_functions():
    assert init.calculate_gain(F.gelu) == pytest.approx(1.533530, abs=1e-5)
    assert init.calculate_gain(torch.sin) == pytest.approx(1.520867, abs=1e-5)
    assert init.calculate_gain("elu", 0.5) != init.calculate_gain("elu", 1.0)


def std_of(**arguments):
    torch.manual_seed(0)
    return float(init.kaiming_normal_(torch.empty(500, 400), **arguments).double().std())


def test_kaiming_takes_any_activation_and_either_gain():
    error = 5 / math.sqrt(2 * 500 * 400)
    assert std_of(nonlinearity="gelu") == pytest.approx(1.533530 / 20, rel=error)
    assert std_of(nonlinearity=F.silu, mode="fan_out") == pytest.approx(1.623320 / math.sqrt(500), rel=error)
    assert std_of(nonlinearity="elu", a=0.3) == std_of(nonlinearity="elu")  # `a` is leaky_relu's slope alone


@pytest.mark.parametrize("function", [init.kaiming_normal_, init.kaiming_uniform_])
def test_gain_overrides_the_nonlinearity(function):
    torch.manual_seed(0)
    given = function(torch.empty(40, 30), 0.5, nonlinearity="relu", gain=math.sqrt(2 / 1.25))
    torch.manual_seed(0)
    assert torch.equal(given, function(torch.empty(40, 30), 0.5))


def test_unknown_names_keep_their_suggestion_as_cause():
    with pytest.raises(ValueError, match=r"^Unsupported nonlinearity gellu$") as caught:
        init.calculate_gain("gellu")
    assert "did you mean 'gelu'" in str(caught.value.__cause__)
