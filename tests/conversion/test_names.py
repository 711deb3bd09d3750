"""Conversions between the names of transformers and of llama.cpp."""

import gguf
import numpy as np
import pytest
import torch

from fanin import ArgumentError, FaninError, WeightsError, convert, open_weights
from fanin.weights import read_gguf, write_gguf, write_safetensors

transformers = pytest.importorskip("transformers")


@pytest.fixture
def llama(tmp_path):
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=40, max_position_embeddings=16,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(tmp_path / "llama")
    return model


def test_there_and_back(tmp_path, llama):
    done = convert(tmp_path / "llama", tmp_path / "m.gguf", rename="gguf")
    names = {tensor.name for tensor in done.tensors}
    assert {"token_embd.weight", "blk.1.attn_q.weight", "output.weight", "output_norm.weight"} <= names
    assert done.notes == ("the new file has no vocabulary (tokenizer.ggml.…), which llama.cpp needs to read text",)
    fields = gguf.GGUFReader(tmp_path / "m.gguf").fields
    assert fields["llama.attention.head_count_kv"].types == [gguf.GGUFValueType.UINT32]
    convert(tmp_path / "m.gguf", tmp_path / "back/", rename="transformers")
    found = open_weights(tmp_path / "back")
    expected = llama.state_dict()
    assert found.keys() == expected.keys()
    assert all(found[name].equal(tensor) for name, tensor in expected.items())


def test_queries_are_laid_out_as_llama_cpp_has_them(tmp_path, llama):
    convert(tmp_path / "llama", tmp_path / "m.gguf", rename="gguf")
    weight = llama.state_dict()["model.layers.0.self_attn.q_proj.weight"].numpy()
    expected = weight.reshape(4, 2, 4, 32).swapaxes(1, 2).reshape(weight.shape)  # llama.cpp, convert_hf_to_gguf.py
    assert np.array_equal(read_gguf(tmp_path / "m.gguf")["blk.0.attn_q.weight"].data, expected)


def test_quantised_on_the_way_norms_in_float32(tmp_path, llama):
    llama.to(torch.bfloat16).save_pretrained(tmp_path / "llama")
    done = convert(tmp_path / "llama", tmp_path / "m.gguf", rename="gguf", quantise="Q8_0")
    assert {tensor.target for tensor in done.tensors if len(tensor.shape) > 1} == {"Q8_0"}
    assert {tensor.target for tensor in done.tensors if len(tensor.shape) == 1} == {"float32"}
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    weight = llama.state_dict()["model.layers.1.mlp.up_proj.weight"].float().numpy()
    found = gguf.quants.dequantize(read["blk.1.ffn_up.weight"].data, gguf.GGMLQuantizationType.Q8_0)
    assert np.abs(found - weight).max() <= np.abs(weight).max() / 127


def test_a_gguf_model_computes_the_same_in_transformers(tmp_path, llama):
    convert(tmp_path / "llama", tmp_path / "m.gguf", rename="gguf")
    convert(tmp_path / "m.gguf", tmp_path / "llama", rename="transformers", overwrite=True)
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "llama")
    ids = torch.arange(12).reshape(1, 12)
    with torch.no_grad():
        assert again(ids).logits.equal(llama(ids).logits)


def test_rules(tmp_path):
    write_safetensors(
        tmp_path / "a.safetensors", {"module.w": np.ones((2, 3), np.float32), "n": np.ones(1, np.float32)}
    )
    done = convert(tmp_path / "a.safetensors", tmp_path / "b.pt", rename=[{r"^module\.": ""}, {"n": None, "zz": "y"}])
    assert list(open_weights(tmp_path / "b.pt")) == ["w"]
    assert done.unused == {"n": "left out by a rule"}
    assert done.notes == ("the rule 'zz' met no tensor",)
    with pytest.raises(ArgumentError, match=r"rename: 'module\.w' and 'n' of the file both become 'one'"):
        convert(tmp_path / "a.safetensors", tmp_path / "c.pt", rename={r"^.*$": "one"})


def test_names_need_a_config(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"w": np.ones((2, 3), np.float32)})
    with pytest.raises(ArgumentError, match=r"follow from the model's config\.json, and .* has none: put it beside"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.gguf", rename="gguf")
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(ArgumentError, match=r"config\.json cannot be read"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.gguf", rename="gguf")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ArgumentError, match=r"config\.json is not a JSON object"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.gguf", rename="gguf")
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    with pytest.raises(ArgumentError, match="model type 'resnet' is not one that goes to GGUF here"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.gguf", rename="gguf")
    assert not (tmp_path / "b.gguf").exists()


def test_what_a_gguf_model_lacks(tmp_path, llama):
    convert(tmp_path / "llama", tmp_path / "m.gguf", rename="gguf")
    file = read_gguf(tmp_path / "m.gguf")
    told = {key: np.uint32(value) if isinstance(value, int) else value for key, value in file.metadata.items()
            if key != "general.architecture"}  # fmt: skip
    write_gguf(tmp_path / "n.gguf", {name: file[name] for name in file if name != "output_norm.weight"}, "llama", told)
    with pytest.raises(WeightsError, match=r"has no tensor for 'model\.norm\.weight' of the llama model"):
        convert(tmp_path / "n.gguf", tmp_path / "b.safetensors", rename="transformers")
    write_gguf(tmp_path / "o.gguf", {"w": np.ones((2, 3), np.float32)}, "mine")
    with pytest.raises(WeightsError, match="its architecture is 'mine'"):
        convert(tmp_path / "o.gguf", tmp_path / "b.safetensors", rename="transformers")


@pytest.mark.parametrize(
    ("architecture", "told", "why"),
    [
        ("phi2", {"attention.head_count": 64}, "the metadata say 64 heads for an embedding that is shorter"),
        ("llama", {"block_count": 1 << 30}, "1,073,741,824 blocks, more than the file has tensors (2)"),
        ("gpt2", {"attention.head_count": 5}, "gpt2: transformers refuses this config: `embed_dim` must be divisible"),
        ("llama", {"rope.dimension_count": 0}, "llama: transformers refuses this config: "),
    ],
)
def test_metadata_that_describe_no_model(tmp_path, architecture, told, why):
    sizes = {"block_count": 1, "context_length": 16, "embedding_length": 32, "attention.head_count": 4}
    metadata = {f"{architecture}.{key}": np.uint32(value) for key, value in (sizes | told).items()}
    tensors = {"token_embd.weight": np.zeros((100, 32)), "blk.0.ffn_up.weight": np.zeros((64, 32))}
    write_gguf(tmp_path / "a.gguf", {key: value.astype("f4") for key, value in tensors.items()}, architecture, metadata)
    with pytest.raises(FaninError) as caught:
        convert(tmp_path / "a.gguf", tmp_path / "b.safetensors", rename="transformers")
    assert why in str(caught.value)
