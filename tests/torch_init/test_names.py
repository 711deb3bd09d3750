"""Every name of torch.nn.init is there and is called the same way."""

import inspect

import pytest
import torch

import fanin.torch.init as init

TORCH = torch.nn.init
EXTRA = {"kaiming_uniform_": ["gain"], "kaiming_normal_": ["gain"]}


def parameters(function):
    return [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", TORCH.__all__)
def test_signature_is_that_of_torch(name):
    theirs, ours = parameters(getattr(TORCH, name)), parameters(getattr(init, name))
    assert ours[: len(theirs)] == theirs
    assert [p[0] for p in ours[len(theirs) :]] == EXTRA.get(name, [])
    assert all(p[2] is inspect.Parameter.KEYWORD_ONLY for p in ours[len(theirs) :])


def test_all_is_what_torch_has_and_ours():
    ours = {
        "delta_orthogonal_",
        "identity_",
        "lecun_normal_",
        "lecun_uniform_",
        "row_normalized_",
        "truncated_normal_",
        "variance_scaling_",
    }
    assert set(init.__all__) == set(TORCH.__all__) | ours
    assert all(callable(getattr(init, name)) and getattr(init, name).__name__ == name for name in init.__all__)


@pytest.mark.parametrize("name", init.__all__)
def test_every_function_is_documented(name):
    text = inspect.getdoc(getattr(init, name))
    assert text
    assert name + "_" in init.__all__ or (">>> " in text and "Source: " in text)


CALLS = {
    "uniform": (),
    "normal": (),
    "constant": (0.5,),
    "eye": (),
    "dirac": (),
    "xavier_uniform": (),
    "xavier_normal": (),
    "kaiming_uniform": (),
    "kaiming_normal": (),
    "orthogonal": (),
    "sparse": (0.5,),
}


@pytest.mark.parametrize(("name", "arguments"), CALLS.items())
def test_old_names_warn_as_torch_does_and_do_the_same(name, arguments):
    shape = (4, 4, 3) if name == "dirac" else (4, 4)
    tensor = torch.empty(shape)
    torch.manual_seed(0)
    with pytest.warns(FutureWarning) as ours:
        assert getattr(init, name)(tensor, *arguments) is tensor
    with pytest.warns(FutureWarning) as theirs:
        getattr(TORCH, name)(torch.empty(shape), *arguments)
    assert str(ours[0].message) == str(theirs[0].message)
    assert ours[0].filename == __file__
    torch.manual_seed(0)
    assert torch.equal(tensor, getattr(init, name + "_")(torch.empty(shape), *arguments))


def test_old_names_are_exactly_those_without_underscore():
    assert set(CALLS) == {name for name in TORCH.__all__ if not name.endswith("_")} - {"calculate_gain"}
