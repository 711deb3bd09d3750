"""Models from the user's own code."""

import sys
import textwrap

import pytest
from torch import nn

from fanin import ArgumentError, UnknownNameError
from fanin.models import build, factory

CODE = """
    from __future__ import annotations
    from dataclasses import dataclass
    from torch import nn
    import helper_beside_it

    @dataclass
    class Config:
        width: int = helper_beside_it.WIDTH

    class Net(nn.Linear):
        def __init__(self, width: int = 3):
            super().__init__(width, 2)

    def make():
        return nn.Linear(Config().width, 2)

    def needs(width):
        return nn.Linear(width, 2)

    def lies():
        return 3

    model = nn.Linear(2, 2)
    number = 4
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "my_net.py").write_text(textwrap.dedent(CODE))
    (tmp_path / "helper_beside_it.py").write_text("WIDTH = 5")
    yield tmp_path
    sys.modules.pop("helper_beside_it", None)


def test_function_and_class(place):
    assert build(f"{place}/my_net.py:make").in_features == 5
    assert build(f"{place}/my_net.py:Net").in_features == 3


def test_search_path_stays_as_it_was(place):
    before = list(sys.path)
    build(f"{place}/my_net.py:make")
    assert sys.path == before


def test_module(place, monkeypatch):
    monkeypatch.chdir(place)
    assert build("my_net:make").in_features == 5
    sys.modules.pop("my_net")
    assert isinstance(build("torch.nn:Identity"), nn.Identity)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("gone.py:make", UnknownNameError, "model 'gone.py:make': there is no file 'gone.py'"),
        ("no_such_package.part:make", UnknownNameError,
         "model 'no_such_package.part:make': there is no importable module 'no_such_package.part'"),
        ("my_net.py:mkae", UnknownNameError,
         "unknown factory in my_net.py 'mkae'; did you mean 'make'? Known: Config, Net, lies, make, needs."),
        ("my_net.py:model", ArgumentError,
         "model 'my_net.py:model' is a Linear, not a factory: name a function or class that builds the model"),
        ("my_net.py:number", ArgumentError,
         "model 'my_net.py:number' is a int, not a factory: name a function or class that builds the model"),
        ("my_net.py:needs", ArgumentError,
         "model 'my_net.py:needs' must be callable without arguments: missing a required argument: 'width'"),
        ("my_net.py:lies", ArgumentError, "model 'my_net.py:lies' must return a torch.nn.Module, got int"),
    ],
)  # fmt: skip
def test_errors(place, monkeypatch, spec, error, message):
    monkeypatch.chdir(place)
    with pytest.raises(error) as caught:
        build(spec)
    assert str(caught.value) == message


def test_failing_file(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("1 / 0")
    modules = set(sys.modules)
    with pytest.raises(ArgumentError) as caught:
        factory(f"{path}:make")
    assert str(caught.value) == f"model '{path}:make': {path} fails with ZeroDivisionError: division by zero"
    assert set(sys.modules) == modules


def test_module_with_a_missing_import(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import no_such_dependency")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError) as caught:
        factory("half_there:make")
    assert str(caught.value) == (
        "model 'half_there:make': importing half_there fails: No module named 'no_such_dependency'"
    )
