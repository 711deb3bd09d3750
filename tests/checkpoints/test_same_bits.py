"""Every value on the disk is the one that materialize gives, for every kind of model, dtype and shard size."""

from __future__ import annotations

import pytest
import torch
import transformers

import fanin

DTYPES = {None: None, "bf16": torch.bfloat16, "f16": torch.float16, "float64": torch.float64}


@pytest.mark.parametrize("dtype", DTYPES)
def test_as_materialize(sample, read, same_bits, tmp_path, dtype):
    written = fanin.write(sample.plan, tmp_path, seed=5, dtype=dtype, max_shard_size="100KB")
    expected = sample.values(5, DTYPES[dtype])
    assert same_bits(read(tmp_path), expected)
    assert written.tensors == len(expected)
    assert written.bytes == sum(tensor.nbytes for tensor in expected.values())


@pytest.mark.parametrize("name", ["gpt2", "llama", "mixtral", "resnet", "mamba"])
@pytest.mark.parametrize("size", ["60KB", "5GB"])
def test_transformers_loads_it(sample_of, same_bits, tmp_path, name, size):
    sample = sample_of(name)
    fanin.write(sample.plan, tmp_path, seed=2, max_shard_size=size)
    model = sample.build()
    model.config.save_pretrained(tmp_path)
    loaded, told = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    whole = fanin.materialize(sample.build(), sample.plan, seed=2)
    assert same_bits(loaded.state_dict(), whole.state_dict())
    assert same_bits(dict(loaded.named_buffers()), dict(whole.named_buffers()))


def tied(build):
    """A model of transformers with tied tensors."""
    return fanin.capture(build).plan


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("T5", {"d_model": 32, "d_ff": 40, "d_kv": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 99}),
        ("Bert", {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 1, "num_attention_heads": 2}),
        ("Bart", {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 99, "pad_token_id": 1}),
    ],
)
def test_tied_tensors_load_under_all_their_names(same_bits, tmp_path, kind, settings):
    config = getattr(transformers, f"{kind}Config")(**settings)
    classes = {"T5": "T5ForConditionalGeneration", "Bert": "BertForMaskedLM", "Bart": "BartForConditionalGeneration"}
    cls = getattr(transformers, classes[kind])
    plan = fanin.capture(lambda: cls(config)).plan
    assert any(step.aliases for step in plan.steps)
    fanin.write(plan, tmp_path, seed=2)
    config.save_pretrained(tmp_path)
    loaded, told = cls.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"]
    assert same_bits(loaded.state_dict(), fanin.materialize(cls(config), plan, seed=2).state_dict())
