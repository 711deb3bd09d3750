"""Inputs made from the arguments of forward and the config of a transformers model."""

import pytest
import torch

from fanin.models import factory
from fanin.models.config_fields import IMAGE, TEXT, Fields
from fanin.models.signature import Failure, signature_inputs


def built(spec):
    with torch.device("meta"):
        return factory(spec)()


def first(spec):
    return {name: tuple(value.shape) for name, value in next(signature_inputs(built(spec))).items()}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hf:gpt2,n_layer=1", {"input_ids": (2, 16)}),
        ("hf:t5,num_layers=1", {"input_ids": (2, 16), "decoder_input_ids": (2, 16)}),
        ("hf:vit,num_hidden_layers=1,image_size=32,num_channels=1", {"pixel_values": (2, 1, 32, 32)}),
        ("hf:videomae,num_hidden_layers=1", {"pixel_values": (2, 16, 3, 224, 224)}),
        ("hf:wav2vec2,num_hidden_layers=1", {"input_values": (2, 23040)}),
        ("hf:lxmert", {"input_ids": (2, 16), "visual_feats": (2, 16, 2048), "visual_pos": (2, 16, 4)}),
        ("hf:bros,num_hidden_layers=1", {"input_ids": (2, 16), "bbox": (2, 16, 4)}),
    ],
)
def test_shapes_from_the_config(spec, expected):
    assert first(spec) == expected


def test_patches_in_a_row_fit_their_grid():
    inputs = next(signature_inputs(built("hf:qwen2_5_vl_vision,depth=1")))
    grid = inputs["grid_thw"]
    assert tuple(inputs["hidden_states"].shape) == (int(grid.prod(-1).sum()), 3 * 2 * 14 * 14)


def test_as_many_placeholder_tokens_as_the_model_asks_for():
    guesses = signature_inputs(built("hf:llava"))
    before = next(guesses)["input_ids"]
    token = 32000
    assert (before == token).sum() == 0
    said = "ValueError: Image features and image tokens do not match, tokens: 0, features: 8"
    after = guesses.send(Failure(said, 10))["input_ids"]
    assert (after == token).sum(-1).tolist() == [4, 4]
    assert after.shape == (2, 20)


def test_a_signal_as_wide_as_a_layer_asks_for():
    guesses = signature_inputs(built("hf:qwen2_5_vl_vision,depth=1"))
    count, width = next(guesses)["hidden_states"].shape
    said = f"RuntimeError: a and b must have same reduction dim, but got [{count}, {width}] X [99, 8]."
    assert tuple(guesses.send(Failure(said, 3))["hidden_states"].shape) == (count, 99)


def test_a_row_as_long_as_the_sound_that_is_added_to_it():
    guesses = signature_inputs(built("hf:gpt2,n_layer=1"))
    next(guesses)
    said = (
        "RuntimeError: Attempting to broadcast a dimension of length 100 at -2! Mismatching argument at index 1 had "
        "torch.Size([2, 100, 64]); but expected shape should be broadcastable to [2, 16, 64]"
    )
    assert guesses.send(Failure(said, 10))["input_ids"].shape == (2, 100)


def test_where_a_pass_came_far_and_another_less_far_no_more_shapes_are_tried():
    guesses = signature_inputs(built("hf:vit,num_hidden_layers=1"))
    next(guesses)
    guesses.send(Failure("RuntimeError: elsewhere", 1000))
    with pytest.raises(StopIteration) as ended:
        guesses.send(Failure("RuntimeError: elsewhere", 999))
    assert ended.value.value is True


def test_a_model_without_config_has_none():
    with pytest.raises(StopIteration) as ended:
        next(signature_inputs(torch.nn.Linear(3, 2)))
    assert ended.value.value is False


def test_fields_of_the_wanted_part_come_first():
    config = built("hf:llava").config
    assert Fields(config, TEXT).number("hidden_size", default=1) == config.text_config.hidden_size
    assert Fields(config, IMAGE).number("hidden_size", default=1) == config.vision_config.hidden_size
    assert Fields(config, IMAGE).pair("image_size", default=1) == (336, 336)
    assert Fields(config).number("no_such_field", default=7) == 7
    assert not Fields(config).has("no_such_field")
