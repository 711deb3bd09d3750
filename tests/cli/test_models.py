"""`fanin models`."""

from __future__ import annotations

import json

import pytest

import fanin as library


def test_lists_every_family_with_an_example(fanin) -> None:
    done = fanin("models")
    assert done.code == 0
    for name, family in library.models.FAMILIES.items():
        line = next(line for line in done.out.splitlines() if line.split()[:1] == [name])
        assert family.example in line
        assert family.summary in line
    assert all(name in done.out for name in library.models.SHORTHANDS)
    assert max(map(len, done.out.splitlines())) <= 100


@pytest.mark.parametrize("family", library.models.FAMILIES)
def test_shows_every_option_of_a_family(fanin, family: str) -> None:
    shown = fanin("models", family).out
    for option in library.models.FAMILIES[family].options:
        assert any(line.split()[:1] == [option.name] and option.kind in line for line in shown.splitlines()), option
    assert f"Example: {library.models.FAMILIES[family].example}" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_defaults_are_said_as_a_spec_says_them(fanin) -> None:
    lines = {
        line.split()[0]: line.split()[1] for line in fanin("models", "cnn").out.splitlines() if len(line.split()) > 1
    }
    expected = {"shape": "1x28x28", "channels": "none", "bias": "true", "stride_at": "none", "dropout": "0"}
    assert {name: lines[name] for name in expected} == expected
    assert "1000-500-250-30" in fanin("models", "autoencoder").out


def test_a_shorthand_shows_its_family(fanin) -> None:
    shown = fanin("models", "resnet18").out
    assert shown == fanin("models", "resnet").out
    assert ["resnet18", "depth=18"] in [line.split() for line in shown.splitlines()]


def test_json(fanin) -> None:
    every = json.loads(fanin("models", "--json").out)
    assert [family["name"] for family in every["families"]] == list(library.models.FAMILIES)
    assert every["shorthands"]["resnet18"] == "resnet:depth=18"
    assert every["shorthands"]["mnist-cnn"] == "cnn:shape=1x28x28,channels=8-16,classes=10"
    one = json.loads(fanin("models", "resnet", "--json").out)
    depth = {"name": "depth", "default": 20, "is": "integer"}
    assert depth.items() <= one["options"][0].items()


def test_shorthands_are_the_specs_that_they_say(fanin) -> None:
    shorthands = json.loads(fanin("models", "--json").out)["shorthands"]
    for name in ("mnist-fc", "mnist-cnn", "resnet20"):
        shapes = [
            [tuple(each.shape) for each in library.models.build(spec).parameters()] for spec in (name, shorthands[name])
        ]
        assert shapes[0] == shapes[1]


def test_an_unknown_family(fanin) -> None:
    done = fanin("models", "resnt")
    assert done.code == 2
    assert done.error.startswith("unknown family of models 'resnt'; did you mean 'resnet'")


def test_count_of_a_family(fanin) -> None:
    done = fanin("count", "resnet:depth=18,shape=3x224x224,classes=1000", "--json")
    counted = json.loads(done.out)
    assert (counted["parameters"], counted["macs"]) == (11_689_512, 1_814_073_344)
