"""Transformers models by type and by config.json: local, without code from outside, random weights."""

import json
import sys

import pytest
import torch

from fanin import ArgumentError, MissingExtraError, UnknownNameError
from fanin.models import build, factory

GPT2 = {"model_type": "gpt2", "n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 11, "n_positions": 16}


@pytest.fixture
def config(tmp_path):
    def write(**fields):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(fields))
        return str(path)

    return write


def test_type_with_fields_replaced():
    model = build("hf:gpt2,n_layer=1,n_embd=8,n_head=2,vocab_size=11")
    assert type(model).__name__ == "GPT2LMHeadModel"
    assert model.transformer.wte.weight.shape == (11, 8)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("hf:bert,num_hidden_layers=1,vocab_size=20", "BertForMaskedLM"),
        ("hf:t5,num_layers=1,d_model=16,vocab_size=20", "T5ForConditionalGeneration"),
        ("hf:vit,num_hidden_layers=1", "ViTForImageClassification"),
        ("hf:clip_vision_model,num_hidden_layers=1", "CLIPVisionModel"),
        ("hf:dpr,num_hidden_layers=1", "DPRQuestionEncoder"),
        # several classes are registered: the first
        ("hf:deit,num_hidden_layers=1", "DeiTForImageClassification"),
        ("hf:levit", "LevitForImageClassification"),
        ("hf:funnel", "FunnelForMaskedLM"),
        # none is registered: the class made from the config, with a head where there is one
        ("hf:siglip_text_model,num_hidden_layers=1", "SiglipTextModel"),
        ("hf:depth_anything", "DepthAnythingForDepthEstimation"),
        ("hf:rt_detr_resnet", "RTDetrResNetBackbone"),
        # the head is registered for the whole, but made from its text part
        ("hf:qwen3_5", "Qwen3_5Model"),
    ],
)
def test_the_head_a_type_is_pretrained_with(spec, kind):
    with torch.device("meta"):
        assert type(build(spec)).__name__ == kind


def test_config_of_the_architecture_it_names(config):
    model = build(config(**GPT2, architectures=["GPT2ForSequenceClassification"], dtype="bfloat16"))
    assert type(model).__name__ == "GPT2ForSequenceClassification"
    assert model.score.weight.dtype == torch.bfloat16


def test_config_without_architecture(config):
    assert type(build(config(**GPT2))).__name__ == "GPT2LMHeadModel"


def test_default_dtype_stays_as_it_was(config):
    build(config(**GPT2, dtype="bfloat16"))
    assert torch.get_default_dtype() == torch.float32


def test_code_of_its_own_is_refused_before_anything_runs(config):
    path = config(**GPT2, auto_map={"AutoModelForCausalLM": "evil--modeling.Evil"})
    with pytest.raises(ArgumentError) as caught:
        factory(path)
    assert str(caught.value) == (
        f"{path}: the config asks for code of its own (auto_map: {{'AutoModelForCausalLM': 'evil--modeling.Evil'}}), "
        "and fanin runs no code that comes with a checkpoint: remove 'auto_map' to build transformers' own 'gpt2'"
    )


def test_the_hub_is_out_of_reach_while_building(config, monkeypatch):
    import huggingface_hub
    import transformers

    def fetches(config):
        return huggingface_hub.HfApi().model_info("gpt2")

    before = huggingface_hub.constants.HF_HUB_OFFLINE
    monkeypatch.setattr(transformers.GPT2LMHeadModel, "_from_config", fetches)
    path = config(**GPT2)
    with pytest.raises(ArgumentError) as caught:
        build(path)
    assert str(caught.value).startswith(f"{path}: building needs files that are not here: Cannot reach ")
    assert "offline mode is enabled" in str(caught.value)
    assert before == huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("heads", [3, 0])
def test_failing_constructor(heads: int):
    spec = f"hf:gpt2,n_layer=1,n_embd=8,n_head={heads},vocab_size=11"
    for make in (lambda: build(spec), factory(spec)):
        with pytest.raises(ArgumentError, match=r"^hf:gpt2: transformers refuses this config: "):
            make()


def test_unknown_type():
    with pytest.raises(UnknownNameError) as caught:
        build("hf:gpt22")
    assert str(caught.value).startswith("transformers has no model type 'gpt22'; did you mean 'gpt2'")
    with pytest.raises(UnknownNameError) as caught:
        build("hf:qqqqqq")
    assert str(caught.value) == "transformers has no model type 'qqqqqq'."


def test_unknown_field():
    with pytest.raises(UnknownNameError, match="unknown option of hf:gpt2 'n_layers'; did you mean 'n_layer'"):
        build("hf:gpt2,n_layers=2")


def test_refused_value():
    with pytest.raises(ArgumentError, match="hf:gpt2: transformers refuses this config: "):
        build("hf:gpt2,n_layer=many")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a readable JSON file: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "not the config of a transformers model: expected a JSON object"),
        ("{}", "not the config of a transformers model: it has no 'model_type'"),
    ],
)
def test_not_a_config(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ArgumentError) as caught:
        build(str(path))
    assert str(caught.value) == f"{path}: {message}"


def test_missing_file():
    with pytest.raises(UnknownNameError) as caught:
        build("gone/config.json")
    assert str(caught.value) == "model 'gone/config.json': there is no such file"


def test_unknown_architecture(config):
    path = config(**GPT2, architectures=["GPT2ForNothing"])
    with pytest.raises(UnknownNameError) as caught:
        build(path)
    assert str(caught.value) == f"{path}: transformers has no class 'GPT2ForNothing'"


def test_missing_transformers_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError) as caught:
        build("hf:gpt2")
    assert str(caught.value) == (
        "models of transformers, as 'gpt2', need the package 'transformers', which is not installed: "
        "pip install 'fanin[transformers]'"
    )


def test_a_part_without_a_model_of_its_own():
    with pytest.raises(ArgumentError) as caught:
        build("hf:sam_mask_decoder")
    assert str(caught.value) == (
        "hf:sam_mask_decoder: transformers has no model of its own for SamMaskDecoderConfig, which describes a part of "
        "another model: build that model"
    )
