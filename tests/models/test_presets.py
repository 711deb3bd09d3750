"""Presets: the published sizes, checked by the published counts of parameters."""

from __future__ import annotations

import pytest
import torch

from fanin import ArgumentError, UnknownNameError
from fanin.models import factory, presets, with_preset
from fanin.models.presets_table import PRESETS

EVERY = [(kind, name) for kind, sizes in PRESETS.items() for name in sizes]


@pytest.mark.parametrize(("kind", "name"), EVERY, ids=lambda part: part)
def test_a_preset_has_as_many_parameters_as_the_published_model(kind: str, name: str) -> None:
    with torch.device("meta"):
        model = factory(f"hf:{kind},preset={name}")()
    assert sum(parameter.numel() for parameter in model.parameters()) == PRESETS[kind][name].parameters


@pytest.mark.parametrize(("kind", "name"), EVERY, ids=lambda part: part)
def test_a_preset_names_only_fields_that_the_config_has(kind: str, name: str) -> None:
    from transformers import CONFIG_MAPPING

    default = CONFIG_MAPPING[kind]()
    assert [field for field in PRESETS[kind][name].fields if not hasattr(default, field)] == []


def test_llama_s_tables_of_positions_are_scaled_as_published() -> None:
    """The largest wavelengths are 8 times those of an unscaled rotation at theta 500,000 in 3.1, 32 times in 3.2."""
    for size, factor, head in (("8b", 8, 128), ("1b", 32, 64)):
        model = factory(f"hf:llama,preset={size},num_hidden_layers=1,vocab_size=8,intermediate_size=8")()
        plain = 500000.0 ** -(torch.arange(0, head, 2).double() / head)
        ratio = plain / model.model.rotary_emb.inv_freq.double()
        assert ratio[0] == pytest.approx(1, rel=1e-6)
        assert ratio[-1] == pytest.approx(factor, rel=1e-6)


def test_options_replace_fields_of_a_preset() -> None:
    with torch.device("meta"):
        model = factory("hf:llama,num_hidden_layers=2,preset=8b")()
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (2, 4096)


def test_names() -> None:
    assert presets("llama") == ("1b", "3b", "8b", "70b", "405b")
    assert presets("t5") == ()
    assert set(presets()) == {"llama", "qwen3", "mistral", "mixtral", "gpt2", "mamba", "bert", "vit"}


def test_unknown_size() -> None:
    with pytest.raises(UnknownNameError) as caught:
        factory("hf:llama,preset=9b")
    assert str(caught.value) == "hf:llama has no preset '9b'. Known: 1b, 3b, 8b, 70b, 405b."


def test_the_size_of_another_type() -> None:
    with pytest.raises(UnknownNameError) as caught:
        factory("hf:llama,preset=14b")
    assert str(caught.value) == "hf:llama has no preset '14b' (hf:qwen3 has one). Known: 1b, 3b, 8b, 70b, 405b."


def test_a_type_without_presets() -> None:
    with pytest.raises(UnknownNameError) as caught:
        factory("hf:t5,preset=small")
    assert str(caught.value) == (
        "hf:t5 has no presets (asked for 'small'): types that have are hf:llama, hf:qwen3, hf:mistral, hf:mixtral, "
        "hf:gpt2, hf:mamba, hf:bert, hf:vit; give the fields of its config instead, as in hf:t5,field=value"
    )


def test_the_spec_of_a_size() -> None:
    assert with_preset("hf:gpt2", "xl") == "hf:gpt2,preset=xl"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "mnist-fc",
            "mnist-fc has no presets: they are published sizes of transformers' models, hf:llama, hf:qwen3, "
            "hf:mistral, hf:mixtral, hf:gpt2, hf:mamba, hf:bert, hf:vit",
        ),
        ("hf:llama,preset=1b", "hf:llama,preset=1b names its preset already: leave out the second one, '8b'"),
    ],
)
def test_a_size_for_what_has_none(spec: str, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        with_preset(spec, "8b")
    assert str(caught.value) == message
