"""The registry of families: every builder is named, described, fits data, and works with every verb."""

import inspect
import pickle

import pytest
import torch

import fanin
from fanin import ArgumentError
from fanin.models import FAMILIES, SHORTHANDS, build, describe, example_inputs, factory, names

# Small ones, so that all verbs run on all of them in a few seconds.
SMALL = {
    "mlp": "mlp:depth=4,width=8,shape=1x4x4,norm=layer,dropout=0.1",
    "cnn": "cnn:depth=5,width=4,shape=1x8x8,stride_at=1,head=average",
    "resnet": "resnet:depth=8,width=4,shape=1x8x8",
    "vit": "vit:depth=2,width=8,heads=2,shape=1x8x8,classes=3",
    "autoencoder": "autoencoder:widths=6-3,channels=4,shape=1x8x8,norm=batch",
    "dcgan": "dcgan:shape=1x28x28,width=4,latent=6",
    "siren": "siren:width=8",
    "rnn": "rnn:inputs=4,width=8",
    "lstm": "lstm:inputs=4,width=8",
    "gru": "gru:inputs=4,width=8,bidirectional=true",
    "seq2seq": "seq2seq:vocabulary=11,width=8",
    "transformer": "transformer:vocabulary=11,width=8,heads=2,depth=2,context=8",
    "forecaster": "forecaster:lookback=24,horizon=3,width=8,heads=2",
}
OTHERS = (
    "resnet:depth=8,width=4,shape=1x8x8,norm=none",
    "resnet:depth=8,width=4,shape=1x8x8,norm=none,fixup=true",
    "resnet:depth=11,width=4,shape=1x8x8,block=bottleneck,shortcut=projection",
    "resnet:depth=18,width=4,shape=1x8x8,classes=3,norm=none,fixup=true",
    "vit:depth=2,width=8,heads=2,shape=1x8x8,classes=3,norm=none,reads=average,activation=swiglu",
    "autoencoder:widths=6-3,shape=1x4x4",
    "mnist-cnn",
)
IMAGES = {"shape": (1, 28, 28), "classes": 10, "inputs": 28}


def test_every_family_is_tested_here():
    assert set(SMALL) == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_builders_have_defaults_and_describe_every_argument(name):
    family = FAMILIES[name]
    assert family.summary.endswith(".")
    for parameter in inspect.signature(family.builder).parameters.values():
        assert parameter.default is not inspect.Parameter.empty, parameter
        assert parameter.kind is not inspect.Parameter.VAR_KEYWORD
    for option in family.options:
        assert option.kind, option
    undescribed = [option.name for option in family.options if not option.meaning]
    assert undescribed == []


@pytest.mark.parametrize("spec", [*(family.example for family in FAMILIES.values()), *SMALL.values(), *OTHERS])
def test_examples_build_and_take_their_inputs(spec):
    inputs = example_inputs(spec, 3)
    model = build(spec)
    outputs = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    assert outputs.shape[0] == 3
    assert outputs.isfinite().all()
    again = example_inputs(model, 3)
    for each, same in zip(*(x.values() if isinstance(x, dict) else (x,) for x in (inputs, again)), strict=True):
        assert torch.equal(each, same)


def known(plan):
    """Every tensor was seen at its work."""
    roles = {step.name: step.role for step in plan.values() if step.kind == "parameter"}
    return roles and all(roles.values()) and "unknown" not in roles.values()


@pytest.mark.parametrize("spec", [*SMALL.values(), *OTHERS])
def test_every_verb_works_and_no_role_is_unknown(spec):
    inputs = example_inputs(spec, 4)
    captured = fanin.capture(factory(spec))
    assert known(fanin.plan(captured, "native", inputs))
    counted = fanin.count(captured, inputs)
    assert counted.parameters == sum(each.numel() for each in build(spec).parameters())
    assert counted.macs > 0
    model = build(spec)
    for recipe in ("auto", "he", "fixup", "native"):
        plan = fanin.plan(model, recipe, inputs)
        assert known(plan), recipe
    fanin.materialize(model, fanin.plan(model, "auto", inputs), seed=1)
    assert fanin.check(model, inputs).verdict


@pytest.mark.parametrize("name", names())
def test_factories_are_functions_that_can_be_sent_to_another_process(name):
    assert callable(pickle.loads(pickle.dumps(factory(name))))


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("resnet:depth=8,width=4", (1, 28, 28)),
        ("resnet18:width=4", (1, 28, 28)),
        ("vit:depth=1,width=8,heads=2", (1, 28, 28)),
        ("cnn:depth=4,width=4", (1, 28, 28)),
        ("mlp:depth=3", (1, 28, 28)),
        ("autoencoder:widths=8", (1, 28, 28)),
        ("dcgan:width=4", (1, 28, 28)),
        ("lstm:width=8", (1, 28, 28)),
    ],
)
def test_sizes_of_the_data_fill_in(spec, shape):
    model = factory(spec, IMAGES)()
    images = torch.rand(2, *shape)
    if spec.startswith("dcgan"):
        assert model.generator(torch.rand(2, 100)).shape == (2, *shape)
    elif spec.startswith("auto"):
        assert model(images).shape == images.shape
    else:
        assert model(images).shape == (2, 10)


def test_what_the_spec_says_wins_over_the_data():
    model = factory("resnet:depth=8,width=4,classes=3", IMAGES)()
    assert (model.fc.out_features, model.conv1.in_channels) == (3, 1)
    assert factory("cnn:3x8x8-4-2", IMAGES)().dense.out_features == 2
    assert factory("mnist-cnn", {"shape": (3, 32, 32), "classes": 2})().conv1.in_channels == 1


def test_sizes_of_other_data_are_left_aside():
    assert factory("siren:width=8", {"vocabulary": 5, "context": 8})().fc1.in_features == 2


def test_data_that_does_not_fit_is_said():
    make = factory("mnist-fc", {"shape": (1, 14, 14), "classes": 10})
    with pytest.raises(
        ArgumentError, match=r"a sample has 196 features \(1×14×14\), but the first of the widths is 784"
    ):
        make()


def test_shorthands_take_options():
    assert build("resnet20:width=4,norm=none").conv1.bias is not None
    assert build("mnist-fc:activation=gelu").act1.__class__.__name__ == "GELU"
    assert all(family in FAMILIES for family, _ in SHORTHANDS.values())
    for family, given in SHORTHANDS.values():
        assert set(given) <= {option.name for option in FAMILIES[family].options}


def test_a_builder_is_imported_when_it_is_asked_for():
    assert FAMILIES["resnet"].builder is fanin.models.resnet


@pytest.mark.parametrize(("suffix", "written"), [(".toml", "to_toml"), (".arch.json", "to_json")])
def test_a_description_is_a_model_name(tmp_path, suffix, written):
    model = build("mlp:6-4-2,activation=gelu")
    path = tmp_path / f"mine{suffix}"
    path.write_text(getattr(describe(model, example_inputs(model)), written)(), encoding="utf-8")
    again = factory(str(path), {"shape": (9,), "classes": 5})()
    again.load_state_dict(dict(zip(again.state_dict(), model.state_dict().values(), strict=True)))
    inputs = torch.rand(3, 6)
    assert torch.equal(again(inputs), model(inputs))
