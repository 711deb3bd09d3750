"""Example inputs fit the model and are the same every time."""

import pytest
import torch
from torch import nn

from fanin import ArgumentError
from fanin.models import build, example_inputs


@pytest.mark.parametrize(
    ("spec", "shape"),
    [("mnist-fc", (3, 784)), ("mnist-cnn", (3, 1, 28, 28)), ("mlp:6-2", (3, 6)), ("cnn:2x8x8-3-4", (3, 2, 8, 8))],
)
def test_built_in(spec, shape):
    inputs = example_inputs(spec, 3)
    assert inputs.shape == shape
    assert inputs.device.type == "cpu"
    assert build(spec)(inputs).isfinite().all()
    assert torch.equal(inputs, example_inputs(build(spec), 3))


@pytest.mark.parametrize(
    "spec",
    [
        "hf:gpt2,n_layer=1,n_embd=8,n_head=2,vocab_size=11",
        "hf:t5,num_layers=1,d_model=16,vocab_size=20",
        "hf:vit,num_hidden_layers=1,hidden_size=16,num_attention_heads=2,image_size=32",
    ],
)
def test_transformers(spec):
    model = build(spec).eval()
    assert model(**example_inputs(model, 2)).logits.shape[0] == 2


def test_on_the_device_of_the_model():
    with torch.device("meta"):
        model = build("mnist-fc")
    assert example_inputs(model).is_meta


def test_global_random_state_stays_as_it_was():
    model, state = build("mnist-cnn"), torch.get_rng_state()
    example_inputs("mnist-cnn")
    example_inputs(model)
    assert torch.equal(state, torch.get_rng_state())


def test_unknown():
    assert example_inputs(nn.Linear(3, 2)) is None
    assert example_inputs(nn.Sequential(nn.Flatten())) is None


def test_bad_batch():
    with pytest.raises(ArgumentError, match="batch must be at least 1, got 0"):
        example_inputs("mnist-fc", 0)
